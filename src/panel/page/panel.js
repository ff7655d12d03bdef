// The panel: receives snapshots and updates the cards. Text from a provider is only set as text, never as markup.

import { address } from "./address.js";
import { instant, readAnswer } from "./answer.js";
import { Card } from "./card.js";
import { ServerClock } from "./clock.js";
import { element, write } from "./dom.js";
import { Feed } from "./feed.js";
import { Fit } from "./fit.js";
import { showFooter } from "./footer.js";
import { Groups } from "./groups.js";
import { Appearances } from "./appearances.js";
import { Plan, hiddenFailure } from "./plan.js";
import { startByButton } from "./round.js";
import { History } from "./spark.js";
import { Upgrade } from "./upgrade.js";
import { Verdict } from "./verdict.js";
import { clockTime, language, words } from "./words.js";

const clock = new ServerClock();
const history = new History();
const verdict = new Verdict();
const upgrade = new Upgrade();
const appearances = new Appearances((name, appearance) => cards.get(name)?.setAppearance(appearance, history, clock.now()), () => {
  placeCards();
  showVerdict();
});
const cards = new Map();
const hidden = new Map();
const plan = new Plan((name, check, time) => {
  cards.get(name)?.plan(instant(check.next_attempt));
  hidden.set(name, hiddenFailure(check, time));
  if (sources.has(name)) show(name, sources.get(name));
}, showVerdict);
const feed = new Feed(clock, onSnapshot, onLinkState);
const link = { state: null, since: null, snapshotAt: null };
const byId = (id) => document.getElementById(id);
const groups = new Groups(byId("cards"));
const fit = new Fit(byId("cards"), (geometry) => {
  for (const card of cards.values()) card.lay(geometry, history, clock.now());
});
let sources = new Map();

/** Number of sources from which the page has a search field. */
const SEARCHED = 12;

function onSnapshot(text) {
  const answer = readAnswer(text);
  clock.sample(answer.generatedAt);
  link.snapshotAt = clock.now();
  sources = answer.sources;
  for (const name of cards.keys()) if (!sources.has(name)) cards.delete(name);
  history.keep(sources);
  for (const name of hidden.keys()) if (!sources.has(name)) hidden.delete(name);
  for (const [name, source] of sources) show(name, source);
  placeCards();
  byId("search").hidden = sources.size < SEARCHED;
  byId("cards").removeAttribute("aria-busy");
  showVerdict();
  plan.changed();
  tickCards();
}

function placeCards() {
  groups.place(appearances.grouped(sources.keys()), cards);
}

function show(name, source) {
  if (!cards.has(name)) {
    cards.set(name, new Card(name));
    cards.get(name).setAppearance(appearances.get(name), history, clock.now());
  }
  source.hidden = hidden.get(name) ?? null;
  cards.get(name).show(source, history, clock.now());
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

/** Shows what a live round has found about a source. */
function onStep(name, step, source) {
  if (step === "live" && newer(name, source)) {
    sources.set(name, source);
    show(name, source);
  }
  cards.get(name)?.asked(step);
}

function onRoundDone(text) {
  verdict.announce(text);
  showVerdict();
}

/** Whether the reading of a live answer is newer than the one shown. */
function newer(name, source) {
  return sources.has(name) && source.fetchedAt > (sources.get(name).fetchedAt ?? 0);
}

function tickCards() {
  const now = clock.now();
  for (const card of cards.values()) card.tick(now);
  write(byId("time"), clockTime(now, now));
  appearances.tick(sources.size);
  fit.check(groups.placed);
  plan.tick();
}

async function loadHistory() {
  const answer = await fetch(address("panel/history.json"), { cache: "no-store" });
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
startByButton(byId("ask"), () => [...sources.keys()], onStep, onRoundDone);
byId("search").placeholder = words.search;
byId("search").setAttribute("aria-label", words.search);
byId("search").addEventListener("input", search);
addEventListener("resize", tickCards);
showFooter();
// Without the history, charts begin empty; nothing else depends on it.
loadHistory().catch(() => {});
tick();
