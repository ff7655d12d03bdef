// How things stand as a whole: a sentence in the head, the title and the icon of the tab, and news for those who listen.

import { failing, freshness, trouble } from "./answer.js";
import { place } from "./card.js";
import { element, write } from "./dom.js";
import { SHAPES, icon } from "./icons.js";
import { clockTime, words } from "./words.js";

const ORDER = ["missing", "stale", "failing", "covered", "pending"];
const COLOURS = { fresh: "#2f9e63", stale: "#d98e04", failing: "#d98e04", covered: "#2f9e63", missing: "#d6453d", pending: "#8b8b86" };
/** Of each kind so many are named, and up to so many with their reason. */
const NAMED = 6;
const EXPLAINED = 2;
/** News are gathered for this long, so that a reader is not interrupted for each source. */
const GATHER = 2000;

export class Verdict {
  #shown = "";
  #states = new Map();
  #news = [];
  #timer = 0;

  /** Shows how all `sources` stand. While the connection is lost, last heard at `lost`, nobody knows. */
  show(sources, now, lost) {
    const groups = lost === null ? grouped(sources) : [];
    const worst = lost === null ? (groups[0]?.state ?? "fresh") : "missing";
    const calm = lost === null ? (sources.size > 0 ? words.allFresh : words.nobody) : words.asOf(clockTime(lost, now));
    const items = groups.length > 0 ? groups.map((group) => told(group, now)) : [[calm]];
    this.#watch(sources);
    const key = JSON.stringify([worst, items]);
    if (this.#shown === key) return;
    this.#shown = key;
    replace(items.map((item, at) => line(groups[at]?.state ?? worst, item)));
    const text = lost === null ? title(groups) : words.news.lost;
    document.title = text ? `${text} — resumen` : "resumen";
    document.querySelector('link[rel="icon"]').href = favicon(worst);
  }

  /** Tells one piece of news, politely. */
  tell(text) {
    this.#news.push(text);
    this.#timer ||= setTimeout(() => this.#speak(), GATHER);
  }

  #speak() {
    this.#timer = 0;
    const news = this.#news.splice(0);
    write(document.getElementById("news"), news.length > 3 ? words.news.many(news.length) : news.join(". "));
  }

  #watch(sources) {
    const before = this.#states;
    this.#states = new Map([...sources].map(([name, source]) => [name, standing(source)]));
    for (const [name, state] of this.#states) {
      const known = before.get(name);
      if (known === undefined || known === state || known === "pending") continue;
      this.tell(state === "fresh" ? words.news.recovered(name) : words.news[state](name));
    }
  }
}

function standing(source) {
  const state = freshness(source);
  if (state !== "fresh" || !trouble(source)) return state;
  return failing(source) ? "failing" : "covered";
}

/** The sources that are not well, each once, worst first. */
function grouped(sources) {
  const groups = ORDER.map((state) => ({ state, found: [] }));
  for (const [name, source] of sources) {
    groups.find((group) => group.state === standing(source))?.found.push({ name, source });
  }
  return groups.filter((group) => group.found.length > 0);
}

/** A group as texts and links: how many, and of the first ones who, why and since when. */
function told({ state, found }, now) {
  const parts = [`${tally(state, found.length)}:`];
  for (const { name, source } of found.slice(0, NAMED)) {
    parts.push({ name, why: found.length <= EXPLAINED ? why(source, now) : "" });
  }
  if (found.length > NAMED) parts.push(words.more(found.length - NAMED));
  return parts;
}

function why(source, now) {
  const told = trouble(source);
  if (!told) return "";
  const who = told.who ? `${told.who} ${told.code}` : told.code;
  return told.since ? `${who} ${words.from(clockTime(told.since, now))}` : who;
}

function line(state, parts) {
  const made = element("li", "", icon(state));
  made.dataset.state = state;
  for (const part of parts) {
    if (typeof part === "string") made.append(element("span", "", part));
    else made.append(element("span", "who", link(part.name), ...(part.why ? [element("span", "why", part.why)] : [])));
  }
  return made;
}

/** Shows other lines; whoever stood on a link stays on it. */
function replace(lines) {
  const list = document.getElementById("verdict");
  const held = list.contains(document.activeElement) ? document.activeElement.hash : null;
  list.replaceChildren(...lines);
  if (held) list.querySelector(`[href="${held}"]`)?.focus();
}

function link(name) {
  const made = element("a", "", name);
  made.href = `#${place(name)}`;
  return made;
}

function tally(state, count) {
  return `${count} ${words.counts[state][count === 1 ? 0 : 1]}`;
}

function title(groups) {
  const found = groups.flatMap((group) => group.found);
  if (found.length === 1) return `${found[0].name}: ${words[groups[0].state]}`;
  return groups.map((group) => tally(group.state, group.found.length)).join(" · ");
}

function favicon(state) {
  const path = `<path fill="${COLOURS[state]}" fill-rule="evenodd" d="${SHAPES[state]}"/>`;
  return `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">${path}</svg>`)}`;
}
