// The card of one source. Its elements keep their places in every state: only texts and shapes change.

import { failing, freshness, trouble } from "./answer.js";
import { arrange, element, write } from "./dom.js";
import { icon } from "./icons.js";
import { ems } from "./measure.js";
import { draw, extremes, spark } from "./spark.js";
import { rows } from "./values.js";
import { clockTime, language, span, words } from "./words.js";

const NUMBER = new Intl.NumberFormat(language, { maximumSignificantDigits: 8 });

/** Widths of a value, in em: a narrower value is not set larger, a wider one gets a separate line, the widest wraps. */
const NARROWEST = 3.3;
const WIDE = 7.5;
const WIDEST = 20;
/** Number of digits of a tail that the width counts. If there is less space, the rest is cut off with an ellipsis. */
const TAIL = 3;

/** The `id` of the card of a source. */
export function cardId(name) {
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
    this.element.id = cardId(name);
    // The links of the summary line focus the card.
    this.element.tabIndex = -1;
    this.element.setAttribute("aria-labelledby", this.title.id);
  }

  /** Shows the state of the source and the chart of its recent numbers. */
  show(source, history) {
    const previous = this.#source;
    this.#source = source;
    this.#badge(source);
    if (source.has && previous?.fetchedAt !== source.fetchedAt) this.#fill(source, history);
    if (!source.has) this.#clear();
    this.trouble.show(trouble(source));
    // The provider of a derived source is the source itself.
    const provider = source.provider === this.name ? "" : (source.provider ?? "");
    write(this.provider, provider);
    this.provider.title = provider;
    write(this.latency, latency(source.ms));
    write(this.credit, source.attribution ?? "");
  }

  /** Draws the charts again, after older points were added to the history. */
  redraw(history) {
    for (const row of this.#rows.values()) row.draw(history.points(this.name, row.path));
  }

  /** Updates the texts that depend on the current time. */
  tick(now) {
    const source = this.#source;
    if (!source) return;
    write(this.age, source.has ? words.ago(span(now - source.fetchedAt)) : words.none);
    this.trouble.tick(trouble(source), now);
    write(this.next, this.#asked ?? this.#countdown(now));
  }

  /** Sets the time of the next attempt; null if it is not known. */
  plan(next) {
    this.#next = next;
  }

  /** Shows the source's progress in a live round; null after the round. */
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
    // The width only grows, so that a number that loses a digit does not resize all others.
    this.#widest = Math.max(this.#widest, ...numbers.map(width));
    this.element.style.setProperty("--width", Math.min(WIDEST, this.#widest).toFixed(2));
    const previous = this.#rows;
    this.#rows = new Map(shown.map((row) => [row.path, previous.get(row.path) ?? new Row(row.path)]));
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

/** The failure of the source or of a provider that another provider replaces. Opens to its full length. */
class Trouble {
  constructor() {
    this.code = element("span", "code");
    this.since = element("span", "since");
    this.message = element("span", "message");
    this.element = element("details", "trouble", element("summary", "", this.code, " ", this.since, this.message));
  }

  show(failure) {
    this.element.hidden = failure === null;
    if (failure === null) this.element.open = false;
    const provider = failure?.failingProvider;
    this.element.classList.toggle("failing", Boolean(provider));
    write(this.code, provider ? `${provider}: ${failure.code}` : (failure?.code ?? ""));
    write(this.message, failure?.error ?? "");
    if (!failure?.since) write(this.since, "");
  }

  tick(failure, now) {
    if (failure?.since) write(this.since, words.since(clockTime(failure.since, now), span(now - failure.since)));
  }
}

/** The width of a value in em, from which CSS computes the largest type that fits. */
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
