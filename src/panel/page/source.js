// The page of one source: its state, all its data with exact values, its history, and its providers.

import { address } from "./address.js";
import { failing, freshness, instant, readAnswer, trouble } from "./answer.js";
import { badge } from "./card.js";
import { Chart } from "./chart.js";
import { ServerClock } from "./clock.js";
import { arrange, element, write } from "./dom.js";
import { Feed } from "./feed.js";
import { showFooter } from "./footer.js";
import { Digits } from "./json.js";
import { spaced, unitOf } from "./keys.js";
import { Leaf, leavesOf } from "./leaf.js";
import { Appearances } from "./appearances.js";
import { Plan, hiddenFailure } from "./plan.js";
import { Providers } from "./providers.js";
import { startByButton } from "./round.js";
import { History } from "./spark.js";
import { Trouble } from "./trouble.js";
import { Upgrade } from "./upgrade.js";
import { shape } from "./values.js";
import { clockTime, language, latency, span, words } from "./words.js";

/** Maximum number of values shown, because a provider may send a megabyte; and of charts, as many as the server keeps. */
const VALUES = 1000;
const CHARTS = 12;
const EXACT = new Intl.NumberFormat(language, { maximumSignificantDigits: 15 });

const name = location.pathname.split("/").at(-1);
const byId = (id) => document.getElementById(id);
const clock = new ServerClock();
const history = new History();
const upgrade = new Upgrade();
const failure = new Trouble();
const providers = new Providers();
const appearances = new Appearances(() => {}, () => show());
const plan = new Plan(onCheck, () => {});
const feed = new Feed(clock, onSnapshot, onLinkState, `?sources=${name}`);
const title = element("h1", "", name);
const state = element("p", "state");
const age = element("p", "age");
const facts = element("p", "facts");
const credit = element("p", "facts");
const list = element("div", "leaves");
const more = element("p", "facts");
const figures = element("div", "figures");
const leaves = new Map();
const charts = new Map();
const shown = { source: null, hidden: null, next: null, lost: false };

function onSnapshot(text) {
  const answer = readAnswer(text);
  clock.sample(answer.generatedAt);
  shown.source = answer.sources.get(name);
  show();
  plan.changed();
}

function show() {
  const { source } = shown;
  if (!source) return;
  const now = clock.now();
  const appearance = appearances.get(name) ?? { paths: {} };
  source.hidden = shown.hidden;
  byId("source").removeAttribute("aria-busy");
  write(title, appearance.title ?? name);
  document.title = `${appearance.title ?? name} — resumen`;
  state.replaceChildren(...(source.has && failing(source) ? [badge("failing")] : []), badge(freshness(source)));
  byId("source").dataset.state = freshness(source);
  failure.show(trouble(source));
  const found = (source.has ? leavesOf(source.data) : []).filter(({ path }) => !isHidden(path, appearance));
  showLeaves(found, appearance, now);
  showCharts(source, found, appearance, now);
  write(credit, source.attribution ?? "");
  tickTexts();
}

function isHidden(path, appearance) {
  return path.some((_, at) => appearance.paths[path.slice(0, at + 1).join(".")]?.hidden);
}

function showLeaves(found, appearance, now) {
  const parts = found.slice(0, VALUES).map(({ path, value }) => {
    const key = JSON.stringify(path);
    const leaf = leaves.get(key) ?? new Leaf(name, path);
    leaf.show(value, appearance, now);
    return [key, leaf];
  });
  keepOnly(leaves, parts);
  arrange(list, parts.map(([, leaf]) => leaf.element));
  byId("values").hidden = found.length === 0;
  write(more, found.length > VALUES ? words.more(found.length - VALUES) : "");
}

function showCharts(source, found, appearance, now) {
  const numbers = found.filter(({ value }) => value instanceof Digits).slice(0, CHARTS);
  history.add(name, source.fetchedAt, numbers.map(({ path, value }) => ({ kind: "number", path: path.join("."), value: Number(value) })));
  const parts = numbers.map(({ path, value }) => {
    const dotted = path.join(".");
    const points = history.points(name, dotted);
    const shaped = (digits) => shape(digits, path.map(String), { appearance, now });
    const { key, kind, isName } = shaped(value);
    // The number of an instant or an identifier is no quantity.
    if (points.length < 2 || kind === "time" || isName) return null;
    const say = (number) => {
      const { forms, unit } = shaped(new Digits(String(number)));
      // The history holds doubles: the last digits of a larger number are not those that came.
      const form = Math.abs(number) > Number.MAX_SAFE_INTEGER ? forms.at(-1) : forms[0];
      return [form, unit].filter(Boolean).join(" ");
    };
    const sayExactly = (number) => [EXACT.format(number), appearance.unit ?? unitOf(path.map(String), false)?.unit].filter(Boolean).join(" ");
    const chart = charts.get(dotted) ?? new Chart();
    chart.show([...path.slice(0, -1), key].map((part) => spaced(String(part))).join(" › "), points, say, sayExactly);
    return [dotted, chart];
  });
  keepOnly(charts, parts.filter(Boolean));
  arrange(figures, [...charts.values()].map((chart) => chart.element));
  byId("history").hidden = charts.size === 0;
}

/** Makes `entries` the content of a map. */
function keepOnly(map, entries) {
  map.clear();
  for (const [key, value] of entries) map.set(key, value);
}

function onCheck(checked, check, time) {
  if (checked !== name) return;
  shown.hidden = hiddenFailure(check, time);
  shown.next = instant(check.next_attempt);
  providers.check(check);
  show();
}

/** Updates the texts that depend on the current time. */
function tickTexts() {
  const { source } = shown;
  const now = clock.now();
  write(byId("time"), clockTime(now, now));
  if (!source) return;
  write(age, source.has ? words.ago(span(now - source.fetchedAt)) : words.none);
  const provider = source.provider === name ? null : source.provider;
  const next = shown.next === null || shown.lost ? null : shown.next - now < 1000 ? words.soon : words.next(span(shown.next - now));
  write(facts, [source.has && new Date(source.fetchedAt).toISOString(), provider, latency(source.ms), next].filter(Boolean).join(" · "));
  failure.tick(trouble(source), now);
  providers.tick(now);
}

function onLinkState(link) {
  const now = clock.now();
  if (link === "lost" && !shown.lost) write(byId("link"), words.lost(clockTime(now, now)));
  if (link !== "lost") write(byId("link"), words[link]);
  if (shown.lost && link !== "lost") upgrade.check();
  shown.lost = link === "lost";
  document.body.dataset.link = link;
}

function onStep(_, step, source) {
  document.body.dataset.round = step ?? "";
  if (step !== "live") return;
  shown.source = source;
  show();
}

async function load() {
  const answer = await fetch(address(`panel/fuente/${name}`), { cache: "no-store" });
  if (!answer.ok) return;
  const definition = await answer.json();
  providers.define(definition);
  if (definition.history) history.load({ [name]: definition.history });
  show();
}

function section(id, ...children) {
  const made = element("section", "", element("h2", "", words.sections[id]), ...children);
  made.id = id;
  return made;
}

function tick() {
  feed.tick();
  appearances.tick(1);
  plan.tick();
  tickTexts();
  setTimeout(tick, 1000 - (clock.now() % 1000) + 5);
}

document.documentElement.lang = language;
write(byId("link"), words.connecting);
byId("source").append(
  element("header", "", title, state, age),
  facts,
  failure.element,
  section("values", list, more),
  section("history", figures),
  section("providers", providers.element),
  credit,
);
startByButton(byId("ask"), () => [name], onStep, (text) => write(byId("news"), text));
showFooter();
// Without the definition and the history, the page has no filters and begins without charts; the rest does not depend on them.
load().catch(() => {});
tick();
