// The card of one source. Its parts keep their places whatever the source tells: only texts and shapes change.

import { failing, freshness, trouble } from "./answer.js";
import { arrange, element, write } from "./dom.js";
import { icon } from "./icons.js";
import { ems } from "./measure.js";
import { draw, extremes, spark } from "./spark.js";
import { rows } from "./values.js";
import { clockTime, language, span, words } from "./words.js";

const NUMBER = new Intl.NumberFormat(language, { maximumSignificantDigits: 8 });

/** The width, in em, below which a value is not set larger; above which it gets a line of its own; or is broken. */
const NARROWEST = 3.3;
const WIDE = 7.5;
const WIDEST = 20;
/** How many digits of a tail are reckoned with; where there is no room for more the rest is cut off in sight. */
const TAIL = 3;

/** Where the card of this source is to be found in the page. */
export function place(name) {
  return `card-${name}`;
}

export class Card {
  #source = null;
  #next = null;
  #asked = null;
  #rows = new Map();
  #widest = NARROWEST;

  constructor(name) {
    this.name = name;
    this.title = element("h2", "", name);
    this.title.id = `source-${name}`;
    this.state = element("p", "state");
    this.values = element("dl", "values");
    this.more = element("p", "more");
    this.trouble = new Trouble();
    this.age = element("p", "age");
    this.provider = element("span", "provider");
    this.latency = element("span", "latency");
    this.next = element("p", "next");
    this.credit = element("p", "credit");
    this.element = element(
      "article", "card",
      element("header", "", this.title, this.state),
      element("div", "body", this.values, this.more),
      this.trouble.element,
      element("footer", "", this.age, element("p", "from", this.provider, this.latency), this.next, this.credit),
    );
    this.element.id = place(name);
    // The verdict's links lead here.
    this.element.tabIndex = -1;
    this.element.setAttribute("aria-labelledby", this.title.id);
  }

  /** Shows what is known of the source, and the line of its recent numbers. */
  show(source, history) {
    const known = this.#source;
    this.#source = source;
    this.#badge(source);
    if (source.has && known?.fetchedAt !== source.fetchedAt) this.#fill(source, history);
    if (!source.has) this.#clear();
    this.trouble.show(trouble(source));
    // A computed source answers for itself.
    const provider = source.provider === this.name ? "" : (source.provider ?? "");
    write(this.provider, provider);
    this.provider.title = provider;
    write(this.latency, latency(source.ms));
    write(this.credit, source.attribution ?? "");
  }

  /** Draws the lines again, from a history that has grown backwards. */
  redraw(history) {
    for (const row of this.#rows.values()) row.draw(history.points(this.name, row.path));
  }

  /** Moves what depends on the time alone. */
  tick(now) {
    const source = this.#source;
    if (!source) return;
    write(this.age, source.has ? words.ago(span(now - source.fetchedAt)) : words.none);
    this.trouble.tick(trouble(source), now);
    write(this.next, this.#asked ?? this.#countdown(now));
  }

  /** When the source will be asked next; null where that is not known. */
  plan(next) {
    this.#next = next;
  }

  /** Tells how this source fares in a live round; null when the round is over. */
  asked(step) {
    this.#asked = step && words.round[step];
    this.element.dataset.round = step ?? "";
    write(this.next, this.#asked ?? "");
  }

  #badge(source) {
    const state = freshness(source);
    const failed = failing(source) && source.has;
    const key = `${state} ${failed}`;
    if (this.element.dataset.key === key) return;
    Object.assign(this.element.dataset, { key, state, failing: String(failed) });
    this.state.replaceChildren(...(failed ? [badge("failing")] : []), badge(state));
  }

  #fill(source, history) {
    const { shown, more } = rows(source.data);
    const wide = (row) => shown.length > 1 && row.kind === "number" && width(row) > WIDE;
    const numbers = shown.filter((row) => row.kind === "number" && !wide(row));
    history.add(this.name, source.fetchedAt, shown);
    this.element.classList.toggle("alone", shown.length === 1);
    // It only grows, so that a number that loses a digit does not make all others jump.
    this.#widest = Math.max(this.#widest, ...numbers.map(width));
    this.element.style.setProperty("--width", Math.min(WIDEST, this.#widest).toFixed(2));
    const known = this.#rows;
    this.#rows = new Map(shown.map((row) => [row.path, known.get(row.path) ?? new Row(row.path)]));
    for (const row of shown) this.#rows.get(row.path).show(row, history.points(this.name, row.path), wide(row));
    arrange(this.values, [...this.#rows.values()].map((row) => row.element));
    write(this.more, more > 0 ? words.more(more) : "");
  }

  #clear() {
    this.#rows.clear();
    this.element.classList.add("alone");
    this.values.replaceChildren(element("div", "row", element("dt"), element("dd", "empty", "—")));
    write(this.more, "");
  }

  #countdown(now) {
    if (this.#next === null) return "";
    return this.#next - now < 1000 ? words.soon : words.next(span(this.#next - now));
  }
}

/** One value of a source. */
class Row {
  constructor(path) {
    this.path = path;
    this.label = element("dt");
    this.head = element("span", "head");
    this.tail = element("span", "tail");
    this.power = element("span", "power");
    this.unit = element("span", "unit");
    this.value = element("dd", "", element("span", "number", this.head, this.tail, this.power), this.unit);
    this.spark = spark();
    this.element = element("div", "row", this.label, this.value);
  }

  show(row, points, wide) {
    write(this.label, row.label);
    this.label.title = row.label;
    write(this.head, row.text);
    write(this.tail, row.tail);
    write(this.power, row.power);
    this.value.title = row.tail.length > TAIL ? row.text + row.tail + row.power : "";
    write(this.unit, row.unit);
    this.value.className = row.kind;
    this.element.classList.toggle("wide", wide);
    this.element.style.setProperty("--width", wide ? Math.min(WIDEST, width(row)).toFixed(2) : "");
    if (row.kind === "number") this.element.append(this.spark);
    else this.spark.remove();
    this.draw(points);
  }

  draw(points) {
    draw(this.spark, points, points.length > 1 ? words.range(...extremes(points).map((n) => NUMBER.format(n))) : "");
  }
}

/** Why the latest attempt failed, or a provider that another one hides, and since when; opens to its full length. */
class Trouble {
  constructor() {
    this.code = element("span", "code");
    this.since = element("span", "since");
    this.message = element("span", "message");
    this.element = element("details", "trouble", element("summary", "", this.code, " ", this.since, this.message));
  }

  show(told) {
    this.element.hidden = told === null;
    if (told === null) this.element.open = false;
    this.element.classList.toggle("failing", Boolean(told?.who));
    write(this.code, told?.who ? `${told.who}: ${told.code}` : (told?.code ?? ""));
    write(this.message, told?.error ?? "");
    if (!told?.since) write(this.since, "");
  }

  tick(told, now) {
    if (told?.since) write(this.since, words.since(clockTime(told.since, now), span(now - told.since)));
  }
}

/** How many em a value takes, so that the largest type that fits can be chosen. */
function width(row) {
  const unit = row.unit ? 0.35 + ems(row.unit) * 0.4 : 0;
  return ems(row.text + row.power) + ems(row.tail.slice(0, TAIL)) * 0.6 + (row.tail.length > TAIL ? 0.5 : 0) + unit;
}

function badge(state) {
  return element("span", `badge ${state}`, icon(state), element("span", "", words[state]));
}

function latency(ms) {
  if (ms === null) return "";
  if (ms < 1) return "< 1 ms";
  return ms < 1000 ? `${Math.round(ms)} ms` : `${NUMBER.format(Math.round(ms / 10) / 100)} s`;
}
