// The panel: snapshots in, cards out. Whatever a provider wrote is only ever set as text.

import { readAnswer } from "./answer.js";
import { Card } from "./card.js";
import { ServerClock } from "./clock.js";
import { arrange, element, write } from "./dom.js";
import { Feed } from "./feed.js";
import { Fit } from "./fit.js";
import { Plan } from "./plan.js";
import { round } from "./round.js";
import { History } from "./spark.js";
import { Upgrade } from "./upgrade.js";
import { Verdict } from "./verdict.js";
import { clockTime, language, words } from "./words.js";

const clock = new ServerClock();
const history = new History();
const verdict = new Verdict();
const upgrade = new Upgrade();
const cards = new Map();
const hidden = new Map();
const plan = new Plan((name, next, broken) => {
  cards.get(name)?.plan(next);
  hidden.set(name, broken);
  if (sources.has(name)) show(name, sources.get(name));
}, judge);
const feed = new Feed(clock, take, tell);
const link = { state: null, since: null, heard: null };
const place = (id) => document.getElementById(id);
const fit = new Fit(place("cards"));
let sources = new Map();

function take(text) {
  const answer = readAnswer(text);
  clock.sample(answer.generatedAt);
  link.heard = clock.now();
  sources = answer.sources;
  for (const name of cards.keys()) if (!sources.has(name)) cards.delete(name);
  history.keep(sources);
  for (const name of hidden.keys()) if (!sources.has(name)) hidden.delete(name);
  for (const [name, source] of sources) show(name, source);
  arrange(place("cards"), [...sources.keys()].map((name) => cards.get(name).element));
  place("cards").removeAttribute("aria-busy");
  judge();
  plan.changed();
  tickCards();
}

function show(name, source) {
  if (!cards.has(name)) cards.set(name, new Card(name));
  source.hidden = hidden.get(name) ?? null;
  cards.get(name).show(source, history);
}

function tell(state) {
  const before = link.state;
  if (state === before) return;
  if (state === "lost") {
    link.since = clock.now();
    verdict.tell(words.news.lost);
  } else if (before === "lost") {
    verdict.tell(words.news.regained);
  }
  if (before !== null && state === "stream") upgrade.check();
  link.state = state;
  document.body.dataset.link = state;
  write(place("link"), state === "lost" ? words.lost(clockTime(link.since, clock.now())) : words[state]);
  if (link.heard !== null) judge();
}

function judge() {
  verdict.show(sources, clock.now(), link.state === "lost" ? link.heard : null);
}

async function ask() {
  const button = place("ask");
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  write(button, words.asking);
  const names = [...cards.keys()];
  const { live, held } = await round(names, (name, how, source) => {
    const card = cards.get(name);
    if (how === "live" && newer(name, source)) {
      sources.set(name, source);
      show(name, source);
    }
    card?.asked(how);
  });
  verdict.tell(words.news.round(live, names.length, held));
  judge();
  button.removeAttribute("aria-disabled");
  write(button, words.ask);
}

/** Whether a live answer brought what no snapshot has shown yet. */
function newer(name, source) {
  return sources.has(name) && source.fetchedAt > (sources.get(name).fetchedAt ?? 0);
}

function tickCards() {
  const now = clock.now();
  for (const card of cards.values()) card.tick(now);
  write(place("time"), clockTime(now, now));
  fit.check();
  plan.tick();
}

async function remember() {
  const answer = await fetch("panel/history.json", { cache: "no-store" });
  if (!answer.ok) return;
  history.load(await answer.json());
  for (const card of cards.values()) card.redraw(history);
}

function tick() {
  feed.tick();
  tickCards();
  // Just after the second turns, so that all ages step together.
  setTimeout(tick, 1000 - (clock.now() % 1000) + 5);
}

document.documentElement.lang = language;
place("cards").setAttribute("aria-busy", "true");
place("verdict").append(element("li", "", words.loading));
write(place("link"), words.connecting);
write(place("ask"), words.ask);
place("ask").addEventListener("click", ask);
// Lines begin empty without it, and nothing else is missing.
remember().catch(() => {});
tick();
