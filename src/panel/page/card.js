// The card of one source. Its place and size do not depend on what a refresh brings: what is too long is cut with a count.

import { address } from "./address.js";
import { failing, freshness, trouble } from "./answer.js";
import { Row, SMALLEST, Section, Table, leastWidth, rank, sizeFor, summaryOf } from "./block.js";
import { arrange, element, write } from "./dom.js";
import { icon } from "./icons.js";
import { ems } from "./measure.js";
import { Trouble } from "./trouble.js";
import { blocksOf } from "./values.js";
import { latency, span, words } from "./words.js";

/** Heights in rem of what surrounds the values, by density, and of a failure. styles: card.css. */
const AROUND = { roomy: 8.3, tight: 5.5, dense: 2.4 };
const PADDING = { roomy: 3, tight: 2, dense: 1.6 };
const TROUBLE = { roomy: 3.3, tight: 1.75, dense: 0 };
/** Height below which a failure has one line only. */
const SHORT = 2.7;
/** Heights of one line of values: minimum by density, and maximum. */
const LINE = { roomy: 1.6, tight: 1.55, dense: 1.44 };
const LARGEST_LINE = 3.4;
/** Height of the line with the count of what is left. */
const MORE = { roomy: 1.6, tight: 1.3, dense: 0 };
/** Its width where it stands beside the values. */
const MORE_WIDTH = 2.4;
/** Heights of the lines of a failure: of its code, and of its message. Maximum number of lines of the message. */
const CODE = 1.4;
const MESSAGE = 1.3;
const MESSAGE_LINES = 6;
/** Height of a line of a text that is the only value. */
const ALONE_LINE = 1.365;
/** Number of lines from which a card takes two places, if there are enough. */
const LARGE = 8;
/** Maximum height of a card in one column. */
const TALLEST = 22;
/** Height of a line from which values have charts, and maximum number of values with charts. */
const CHARTS = { line: 1.6, count: 6 };
/** Largest type sizes of the values, and the largest one as a fraction of a line. */
const LARGEST = 2.4;
const LARGEST_ALONE = 4.8;
const OF_LINE = 0.72;
/** Type size up to which a value may cost its label the end. */
const BEFORE_LABEL = 1.4;
/** Width that a value and a word of a text leave to their label, and the space between them. */
const LABEL = 4.2;
const TEXT_LABEL = 2;
const BETWEEN = 0.75;
/** Maximum number of rows of a table that a card is sized for. */
const SIZED_ROWS = 8;
const NO_APPEARANCE = { paths: {} };
const CLASSES = { section: Section, table: Table };

/** The `id` of the card of a source. */
export function cardId(name) {
  return `card-${name}`;
}

export class Card {
  #source = null;
  #appearance = NO_APPEARANCE;
  #next = null;
  #asked = null;
  #content = { blocks: [], values: 0 };
  #shown = new Map();
  #size = LARGEST_ALONE;
  #lines = null;
  /**
   * Height of a line, number of lines of each text, and whether charts have a place: set by the first data after a layout,
   * so that none moves.
   */
  #line = null;
  #textLines = new Map();
  #hasPlace = null;
  #geometry = null;
  #charts = false;

  /** Number of columns that the card takes; set by the layout. */
  stretch = 1;

  constructor(name) {
    this.name = name;
    this.title = link("title", name, name);
    this.title.dir = "auto";
    this.title.id = `source-${name}`;
    this.state = element("p", "state");
    this.values = element("dl", "values");
    this.more = link("more", name, "");
    this.trouble = new Trouble();
    this.age = element("p", "age");
    this.provider = element("span", "provider");
    this.latency = element("span", "latency");
    this.next = element("p", "next");
    this.credit = element("p", "credit");
    this.element = element(
      "article", "card",
      element("header", "", element("h2", "", this.title), this.state),
      element("div", "body", this.values, this.more),
      this.trouble.element,
      element("footer", "", this.age, element("p", "from", this.provider, this.latency), this.next, this.credit),
    );
    this.element.id = cardId(name);
    // The links of the summary line focus the card.
    this.element.tabIndex = -1;
    this.element.setAttribute("aria-labelledby", this.title.id);
  }

  /** Whether the source's first data was too much for one place. A refresh does not change it. */
  get isLarge() {
    return (this.#lines ?? 0) >= LARGE;
  }

  /** Shows the state of the source and the chart of its recent numbers. */
  show(source, history, now) {
    const previous = this.#source;
    this.#source = source;
    const troubled = this.trouble.show(trouble(source));
    if (source.has && previous?.fetchedAt !== source.fetchedAt) this.#read(source, history, now);
    if (source.has && (troubled || previous?.fetchedAt !== source.fetchedAt)) this.#fill(history, now);
    if (!source.has) this.#clear();
    this.#badge(source);
    // The provider of a derived source is the source itself.
    const provider = source.provider === this.name ? "" : (source.provider ?? "");
    write(this.provider, provider);
    this.provider.title = provider;
    write(this.latency, latency(source.ms));
    write(this.credit, source.attribution ?? "");
  }

  /** Sets the operator's choice of title, units and so on. */
  setAppearance(appearance, history, now) {
    this.#appearance = appearance ?? NO_APPEARANCE;
    write(this.title, this.#appearance.title ?? this.name);
    if (!this.#source?.has) return;
    this.#lines = null;
    this.#settle();
    this.#read(this.#source, history, now);
    this.#badge(this.#source);
    this.#fill(history, now);
  }

  /** Sets the size of the card's place, and fills it. */
  lay(geometry, history, now) {
    this.#geometry = geometry;
    this.#settle();
    this.element.classList.toggle("short", geometry.density === "dense" && geometry.height - AROUND.dense < SHORT);
    this.element.style.height = geometry.height === null ? `${this.#height()}rem` : "";
    const free = this.#whole() - AROUND[geometry.density];
    const lines = Math.floor((free - CODE) / MESSAGE);
    this.element.style.setProperty("--message", Math.min(MESSAGE_LINES, Math.max(1, lines)));
    if (this.#source?.has) this.#fill(history, now);
  }

  /** Draws the charts again, after older points were added to the history. */
  redraw(history) {
    for (const [path, part] of this.#shown) part.draw(this.#charts ? history.points(this.name, path) : null);
  }

  /** Updates the texts that depend on the current time. */
  tick(now) {
    const source = this.#source;
    if (!source) return;
    write(this.age, source.has ? words.ago(span(now - source.fetchedAt)) : words.none);
    this.trouble.tick(trouble(source), now);
    for (const part of this.#shown.values()) part.tick(now);
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

  /** The worst level of the values by their thresholds: `crit`, `warn` or null. */
  get level() {
    if (!this.#source?.has) return null;
    return [null, "warn", "crit"][rank(this.#content.blocks)];
  }

  #badge(source) {
    const state = freshness(source);
    const failed = failing(source) && source.has;
    const level = state === "fresh" ? this.level : null;
    const key = `${state} ${failed} ${level}`;
    if (this.element.dataset.key === key) return;
    Object.assign(this.element.dataset, { key, state, failing: String(failed) });
    this.state.replaceChildren(...(failed ? [badge("failing")] : []), badge(level ?? state));
  }

  #read(source, history, now) {
    this.#content = blocksOf(source.data, now, this.#appearance);
    history.add(this.name, source.fetchedAt, this.#content.blocks);
    this.#lines ??= sum(this.#content.blocks.map((block) => Math.min(SIZED_ROWS + 1, linesOf(block, 20))));
    this.element.dataset.level = this.level ?? "";
  }

  #settle() {
    this.#size = LARGEST_ALONE;
    this.#line = null;
    this.#hasPlace = null;
    this.#textLines.clear();
  }

  #height() {
    const lines = Math.max(2.7, this.#lines ?? 0);
    return Math.min(TALLEST, AROUND.tight + lines * LINE.tight + (this.#lines > LARGE ? MORE.tight : 0));
  }

  /** The height of the card. */
  #whole() {
    const { gap, height, large } = this.#geometry;
    const places = large && this.isLarge ? 2 : 1;
    return height === null ? this.#height() : height * places + gap * (places - 1);
  }

  /** Shows the blocks that there is place for. */
  #fill(history, now) {
    if (!this.#geometry) return;
    const { density, gap } = this.#geometry;
    const body = Math.max(LINE[density], this.#whole() - AROUND[density]);
    const { blocks } = this.#content;
    const inner = this.#geometry.width * this.stretch + gap * (this.stretch - 1) - PADDING[density];
    const alone = blocks.length === 1 && !CLASSES[blocks[0].kind] && blocks[0].kind !== "list";
    const needed = sum(blocks.map((block) => this.#linesOf(block, inner)));
    this.#line ??= lineHeight(needed, body, density);
    const line = this.#line;
    const below = this.trouble.isShown ? TROUBLE[density] : 0;
    // The count of what is left comes before the message of a failure.
    const isCrowded = density === "roomy" && below > 0 && line * needed > body - below && body - below - MORE.roomy < line;
    const free = body - below + (isCrowded ? MESSAGE : 0);
    this.element.classList.toggle("crowded", isCrowded);
    const isHiding = line * needed > free + 0.01;
    const width = isHiding && density === "dense" ? inner - MORE_WIDTH : inner;
    // A failure may leave place for one line only.
    const forMore = isHiding && free - MORE[density] >= line ? MORE[density] : 0;
    const cut = choose(blocks, (free - forMore) / line, (block) => this.#linesOf(block, inner));
    const withChart = width - inner * 0.24 - BETWEEN;
    const roomIn = (place, block) => {
      const most = block.kind === "text" && block.forms.length === 1 ? TEXT_LABEL : LABEL;
      return alone ? place : place - Math.min(ems(block.label) + 0.1, most) - BETWEEN;
    };
    // A chart must cost neither a number its digits nor a label its end.
    this.#hasPlace ??= cut.shown.every(({ block }) => !WIDE.has(block.kind) || leastWidth(block) + BETWEEN <= withChart);
    this.#charts = density !== "dense" && (alone ? free > 5.4 : this.#hasPlace && line >= CHARTS.line && cut.shown.length <= CHARTS.count);
    const place = this.#charts && !alone ? withChart : width;
    // Texts have no chart.
    const room = (block) => roomIn(block.kind === "text" ? width : place, block);
    const style = this.element.style;
    style.setProperty("--line", line.toFixed(3));
    style.setProperty("--body", free.toFixed(2));
    this.element.classList.toggle("alone", alone);
    this.element.classList.toggle("charts", this.#charts);
    // The size only shrinks, so that a number that loses a digit does not resize all others.
    const sizes = cut.shown.filter(({ block }) => WIDE.has(block.kind)).map(({ block }) => sizeOf(block, place, alone));
    this.#size = Math.min(this.#size, ...sizes);
    const size = Math.max(SMALLEST, alone ? this.#size : Math.min(this.#size, LARGEST, line * OF_LINE));
    style.setProperty("--size", size.toFixed(3));
    const before = this.#shown;
    this.#shown = new Map();
    for (const { block, rows, lines } of cut.shown) {
      const key = `${block.path}${CLASSES[block.kind] ? ` ${block.kind}` : ""}`;
      const part = before.get(key) ?? new (CLASSES[block.kind] ?? Row)();
      part.show(block, { room: CLASSES[block.kind] ? 0 : room(block), rows, width, now, size });
      const isText = alone && block.kind === "text" && block.as !== "image";
      part.element.style.setProperty("--lines", isText ? Math.min(3, Math.max(1, Math.floor(free / ALONE_LINE))) : lines);
      part.draw(this.#charts ? history.points(this.name, block.path) : null);
      this.#shown.set(key, part);
    }
    arrange(this.values, [...this.#shown.values()].map((part) => part.element));
    const left = this.#content.values - cut.values;
    write(this.more, left > 0 ? (density === "dense" ? `+${left}` : words.more(left)) : "");
    this.more.hidden = left <= 0 || forMore < MORE[density];
  }

  #linesOf(block, width) {
    if (block.kind !== "text") return linesOf(block, width);
    if (!this.#textLines.has(block.path)) this.#textLines.set(block.path, linesOf(block, width));
    return this.#textLines.get(block.path);
  }

  #clear() {
    this.#shown.clear();
    this.element.dataset.level = "";
    this.element.classList.add("alone");
    this.values.replaceChildren(element("div", "row", element("dt"), element("dd", "empty", "—")));
    this.more.hidden = true;
  }

  #countdown(now) {
    if (this.#next === null) return "";
    return this.#next - now < 1000 ? words.soon : words.next(span(this.#next - now));
  }
}

/** The kinds whose values share one type size. */
const WIDE = new Set(["number", "time", "duration", "switch"]);

/** The height of a line with which `needed` lines fill `body`, or with which as many as possible do. */
function lineHeight(needed, body, density) {
  const least = LINE[density];
  // A failure takes its place from the lines below the first one.
  const most = Math.max(least, Math.min(LARGEST_LINE, body - TROUBLE[density]));
  const free = body - MORE[density];
  const isCut = needed * least > body + 0.01;
  return Math.min(most, isCut ? free / Math.max(1, Math.floor(free / least)) : body / needed);
}

/** The type size with which a value and its label fit into `place`, all in rem. A long label is cut for a readable value. */
function sizeOf(block, place, alone) {
  if (alone || !block.label) return sizeFor(block, place);
  const beside = (label) => sizeFor(block, place - label - BETWEEN);
  const label = ems(block.label);
  return Math.max(beside(label), Math.min(BEFORE_LABEL, beside(Math.min(label, place / 2))));
}

/** The number of lines of a block in a card of this width, in rem. */
function linesOf(block, width) {
  if (block.kind === "table") return block.count + 1;
  if (block.kind !== "text") return 1;
  if (block.as === "image") return 3;
  const label = block.label ? Math.min(ems(block.label) + BETWEEN, width * 0.48) : 0;
  return Math.min(3, Math.max(1, Math.ceil(ems(block.forms.at(-1).slice(0, 200)) / (width - label))));
}

/** The first blocks that fit into `lines`, and the number of values that they hold. A table is cut to its first rows. */
function choose(blocks, lines, linesOfBlock) {
  const shown = [];
  let left = Math.max(1, lines) + 0.01;
  let values = 0;
  let heading = "";
  for (const one of blocks) {
    if (left < 1) break;
    // A heading needs a line below it, and a table one row; else the table is one line about its first row.
    if (one.kind === "section") heading = left < 2 ? "" : one.label;
    if (one.kind === "section" && left < 2) continue;
    // Without its heading, a value says itself where it belongs.
    const block = one.section && one.section !== heading ? { ...one, label: `${one.section} › ${one.label}` } : one;
    const isTable = block.kind === "table" && left >= 2;
    const rows = isTable ? Math.min(block.rows.length, Math.floor(left - 1)) : 0;
    const taken = isTable ? rows + 1 : Math.min(linesOfBlock(block), Math.floor(left));
    shown.push({ block: isTable || block.kind !== "table" ? block : summaryOf(block), rows, lines: block.kind === "table" && !isTable ? 1 : taken });
    values += block.kind === "table" ? Math.max(1, rows) : block.kind === "section" ? 0 : 1;
    left -= shown.at(-1).lines;
  }
  showWorst(blocks, shown);
  return { shown, values };
}

/** Puts the worst number that was left out into the last line that shows one value, if that is not as bad. */
function showWorst(blocks, shown) {
  const left = blocks.filter((block) => !block.rows && !shown.some((one) => one.block.path === block.path));
  const worst = left.reduce((found, block) => (rank(block) > rank(found) ? block : found), null);
  const at = shown.findLastIndex(({ block, lines }) => block.kind !== "section" && !block.count && lines === 1);
  if (worst && at >= 0 && rank(worst) > rank(shown[at].block)) shown[at] = { block: worst, rows: 0, lines: 1 };
}

/** A link to the page of the source. */
function link(className, name, text) {
  return Object.assign(element("a", className, text), { href: address(`fuente/${name}`) });
}

/** A state as a shape and a text. */
export function badge(state) {
  return element("span", `badge ${state}`, icon(state), element("span", "", words[state]));
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}
