// The summary line of the page: text in the header, title and icon of the tab, and announcements for screen readers.

import { failing, freshness, trouble } from "./answer.js";
import { cardId } from "./card.js";
import { element, write } from "./dom.js";
import { SHAPES, icon } from "./icons.js";
import { clockTime, words } from "./words.js";

const ORDER = ["missing", "crit", "stale", "failing", "warn", "covered", "pending"];
const COLOURS = { fresh: "#2f9e63", stale: "#d98e04", failing: "#d98e04", covered: "#2f9e63", missing: "#d6453d", crit: "#d6453d", warn: "#d98e04", pending: "#8b8b86" };
/** Maximum number of sources named per state, and maximum number with a reason. */
const NAMED = 6;
const EXPLAINED = 2;
/** Announcements are collected for this long, in milliseconds, so that each source does not interrupt the reader. */
const GATHER = 2000;

export class Verdict {
  #shown = "";
  #states = new Map();
  #news = [];
  #timer = 0;

  /** Shows the state of all `sources`. `lost` is the time of the last snapshot if the connection is lost, else null. */
  show(sources, cards, now, lost) {
    const groups = lost === null ? grouped(sources, cards) : [];
    const worst = lost === null ? (groups[0]?.state ?? "fresh") : "missing";
    const calm = lost === null ? (sources.size > 0 ? words.allFresh : words.noSources) : words.asOf(clockTime(lost, now));
    const items = groups.length > 0 ? groups.map((group) => describe(group, now)) : [[calm]];
    this.#watch(sources, cards);
    const key = JSON.stringify([worst, items]);
    if (this.#shown === key) return;
    this.#shown = key;
    replace(items.map((item, at) => line(groups[at]?.state ?? worst, item)));
    const text = lost === null ? title(groups) : words.news.lost;
    document.title = text ? `${text} — resumen` : "resumen";
    document.querySelector('link[rel="icon"]').href = favicon(worst);
  }

  /** Announces a text to screen readers. */
  announce(text) {
    this.#news.push(text);
    this.#timer ||= setTimeout(() => this.#flush(), GATHER);
  }

  #flush() {
    this.#timer = 0;
    const news = this.#news.splice(0);
    write(document.getElementById("news"), news.length > 3 ? words.news.many(news.length) : news.join(". "));
  }

  #watch(sources, cards) {
    const before = this.#states;
    this.#states = new Map([...sources].map(([name, source]) => [name, stateOf(source, cards.get(name))]));
    for (const [name, state] of this.#states) {
      const previous = before.get(name);
      if (previous === undefined || previous === state || previous === "pending") continue;
      this.announce(state === "fresh" ? words.news.recovered(name) : words.news[state](name));
    }
  }
}

/** The worst of what is said of a source; `crit` and `warn` are values beyond a threshold. */
function stateOf(source, card) {
  const state = freshness(source);
  const states = [state === "fresh" && failing(source) ? "failing" : state, card?.level, trouble(source) ? "covered" : null];
  return ORDER.find((worst) => states.includes(worst)) ?? "fresh";
}

/** The sources that are not fresh or have a failure, by state, worst first. */
function grouped(sources, cards) {
  const groups = ORDER.map((state) => ({ state, members: [] }));
  for (const [name, source] of sources) {
    groups.find((group) => group.state === stateOf(source, cards.get(name)))?.members.push({ name, source, title: cards.get(name).title.textContent });
  }
  return groups.filter((group) => group.members.length > 0);
}

/** A group as texts and links: its size, its first sources, and for a small group their failures. */
function describe({ state, members }, now) {
  const parts = [`${tally(state, members.length)}:`];
  for (const { name, source, title } of members.slice(0, NAMED)) {
    parts.push({ name, title, why: members.length <= EXPLAINED ? reason(source, now) : "" });
  }
  if (members.length > NAMED) parts.push(words.more(members.length - NAMED));
  return parts;
}

function reason(source, now) {
  const failure = trouble(source);
  if (!failure) return "";
  const { failingProvider: provider, code, since } = failure;
  const text = provider ? `${provider} ${code}` : code;
  return since ? `${text} ${words.from(clockTime(since, now))}` : text;
}

function line(state, parts) {
  const made = element("li", "", icon(state));
  made.dataset.state = state;
  for (const part of parts) {
    if (typeof part === "string") made.append(element("span", "", part));
    else made.append(element("span", "who", link(part), ...(part.why ? [element("span", "why", part.why)] : [])));
  }
  return made;
}

/** Replaces the lines. Keyboard focus on a link is kept if the new lines contain the link. */
function replace(lines) {
  const list = document.getElementById("verdict");
  const focused = list.contains(document.activeElement) ? document.activeElement.hash : null;
  list.replaceChildren(...lines);
  if (focused) list.querySelector(`[href="${focused}"]`)?.focus();
}

function link({ name, title }) {
  const made = element("a", "", title);
  made.dir = "auto";
  made.href = `#${cardId(name)}`;
  return made;
}

function tally(state, count) {
  return `${count} ${words.counts[state][count === 1 ? 0 : 1]}`;
}

function title(groups) {
  const members = groups.flatMap((group) => group.members);
  if (members.length === 1) return `${members[0].title}: ${words[groups[0].state]}`;
  return groups.map((group) => tally(group.state, group.members.length)).join(" · ");
}

function favicon(state) {
  const path = `<path fill="${COLOURS[state]}" fill-rule="evenodd" d="${SHAPES[state]}"/>`;
  return `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">${path}</svg>`)}`;
}
