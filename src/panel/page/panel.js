// The panel: receives snapshots and updates the cards. Text from a provider is only set as text, never as markup.

import { readAnswer } from "./answer.js";
import { Card, cardId } from "./card.js";
import { ServerClock } from "./clock.js";
import { Detail } from "./detail.js";
import { arrange, element, write } from "./dom.js";
import { Feed } from "./feed.js";
import { Fit } from "./fit.js";
import { Looks } from "./looks.js";
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
const looks = new Looks((name, look) => cards.get(name)?.dress(look, history, clock.now()), () => {
  sources = looks.sorted(sources);
  placeCards();
  showVerdict();
});
const cards = new Map();
const hidden = new Map();
const plan = new Plan((name, next, failure) => {
  cards.get(name)?.plan(next);
  hidden.set(name, failure);
  if (sources.has(name)) show(name, sources.get(name));
}, showVerdict);
const feed = new Feed(clock, onSnapshot, onLinkState);
const link = { state: null, since: null, snapshotAt: null };
const byId = (id) => document.getElementById(id);
const fit = new Fit(byId("cards"), (geometry) => {
  for (const card of cards.values()) card.lay(geometry, history, clock.now());
});
const detail = new Detail();
let sources = new Map();

/** Number of sources from which the page has a search field. */
const SEARCHED = 12;

function onSnapshot(text) {
  const answer = readAnswer(text);
  clock.sample(answer.generatedAt);
  link.snapshotAt = clock.now();
  sources = looks.sorted(answer.sources);
  for (const name of cards.keys()) if (!sources.has(name)) cards.delete(name);
  history.keep(sources);
  for (const name of hidden.keys()) if (!sources.has(name)) hidden.delete(name);
  for (const [name, source] of sources) show(name, source);
  placeCards();
  byId("search").hidden = sources.size < SEARCHED;
  byId("cards").removeAttribute("aria-busy");
  showVerdict();
  detail.show(sources, clock.now());
  plan.changed();
  tickCards();
}

function placeCards() {
  arrange(byId("cards"), [...sources.keys()].map((name) => cards.get(name).element));
}

function show(name, source) {
  if (!cards.has(name)) {
    cards.set(name, new Card(name, open));
    cards.get(name).dress(looks.get(name), history, clock.now());
  }
  source.hidden = hidden.get(name) ?? null;
  cards.get(name).show(source, history, clock.now());
}

function open(name) {
  detail.open(name, cards.get(name).title.textContent);
  detail.show(sources, clock.now());
}

/** Hides the cards whose name or title does not have the text of the search field. */
function search() {
  const wanted = byId("search").value.trim().toLowerCase();
  for (const [name, card] of cards) card.element.hidden = !`${name} ${card.title.textContent}`.toLowerCase().includes(wanted);
}

function onLinkState(state) {
  const before = link.state;
  if (state === before) return;
  if (state === "lost") {
    link.since = clock.now();
    verdict.announce(words.news.lost);
  } else if (before === "lost") {
    verdict.announce(words.news.regained);
  }
  if (before !== null && state === "stream") upgrade.check();
  link.state = state;
  document.body.dataset.link = state;
  write(byId("link"), state === "lost" ? words.lost(clockTime(link.since, clock.now())) : words[state]);
  if (link.snapshotAt !== null) showVerdict();
}

function showVerdict() {
  verdict.show(sources, cards, clock.now(), link.state === "lost" ? link.snapshotAt : null);
}

async function ask() {
  const button = byId("ask");
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  write(button, words.asking);
  const names = [...cards.keys()];
  const { live, held } = await round(names, (name, step, source) => {
    const card = cards.get(name);
    if (step === "live" && newer(name, source)) {
      sources.set(name, source);
      show(name, source);
    }
    card?.asked(step);
  });
  verdict.announce(words.news.round(live, names.length, held));
  showVerdict();
  button.removeAttribute("aria-disabled");
  write(button, words.ask);
}

/** Whether the reading of a live answer is newer than the one shown. */
function newer(name, source) {
  return sources.has(name) && source.fetchedAt > (sources.get(name).fetchedAt ?? 0);
}

function tickCards() {
  const now = clock.now();
  for (const card of cards.values()) card.tick(now);
  write(byId("time"), clockTime(now, now));
  looks.tick(sources.size);
  fit.check([...byId("cards").children].map(({ id }) => cards.get(id.slice(cardId("").length))));
  plan.tick();
}

async function loadHistory() {
  const answer = await fetch("panel/history.json", { cache: "no-store" });
  if (!answer.ok) return;
  history.load(await answer.json());
  for (const card of cards.values()) card.redraw(history);
}

function tick() {
  feed.tick();
  tickCards();
  // Scheduled just after a full second, so that all ages change together.
  setTimeout(tick, 1000 - (clock.now() % 1000) + 5);
}

document.documentElement.lang = language;
byId("cards").setAttribute("aria-busy", "true");
byId("verdict").append(element("li", "", words.loading));
write(byId("link"), words.connecting);
write(byId("ask"), words.ask);
byId("ask").addEventListener("click", ask);
byId("search").placeholder = words.search;
byId("search").setAttribute("aria-label", words.search);
byId("search").addEventListener("input", search);
addEventListener("resize", tickCards);
document.body.append(detail.element);
// Without the history, charts begin empty; nothing else depends on it.
loadHistory().catch(() => {});
tick();
