// How things stand as a whole: a sentence in the head, the title and the icon of the tab, and news for those who listen.

import { failing, freshness } from "./answer.js";
import { write } from "./dom.js";
import { SHAPES, icon } from "./icons.js";
import { words } from "./words.js";

const ORDER = ["missing", "stale", "failing", "pending"];
const COLOURS = { fresh: "#2f9e63", stale: "#d98e04", failing: "#d98e04", missing: "#d6453d", pending: "#8b8b86" };
/** News are gathered for this long, so that a reader is not interrupted for each source. */
const GATHER = 2000;

export class Verdict {
  #shown = "";
  #states = new Map();
  #news = [];
  #timer = 0;

  /** Shows how all `sources` stand. While the connection is lost, since `lost`, nobody knows. */
  show(sources, lost) {
    const counts = count(sources);
    const worst = lost ? "missing" : (ORDER.find((state) => counts[state] > 0) ?? "fresh");
    const text = lost ? words.asOf(lost) : sentence(sources.size, counts);
    this.#watch(sources);
    const key = `${worst} ${text}`;
    if (this.#shown === key) return;
    this.#shown = key;
    const verdict = document.getElementById("verdict");
    verdict.dataset.state = worst;
    verdict.replaceChildren(icon(worst), document.createTextNode(text));
    document.title = worst === "fresh" ? "resumen" : `${lost ? words.news.lost : text} — resumen`;
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
  return state === "fresh" && failing(source) ? "failing" : state;
}

function count(sources) {
  const counts = { missing: 0, stale: 0, failing: 0, pending: 0 };
  for (const source of sources.values()) {
    const state = freshness(source);
    if (state !== "fresh") counts[state] += 1;
    if (failing(source) && source.has) counts.failing += 1;
  }
  return counts;
}

function sentence(size, counts) {
  if (size === 0) return words.nobody;
  const told = ORDER.filter((state) => counts[state] > 0);
  if (told.length === 0) return words.allFresh;
  return told.map((state) => `${counts[state]} ${words.counts[state][counts[state] === 1 ? 0 : 1]}`).join(" · ");
}

function favicon(state) {
  const path = `<path fill="${COLOURS[state]}" fill-rule="evenodd" d="${SHAPES[state]}"/>`;
  return `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">${path}</svg>`)}`;
}
