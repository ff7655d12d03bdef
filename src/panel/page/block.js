// The elements of one block of a card: a value with its label, a section's heading, or a table.

import { element, write } from "./dom.js";
import { ems } from "./measure.js";
import { draw, extremes, spark } from "./spark.js";
import { instantForms, sayInstant } from "./times.js";
import { language, words } from "./words.js";

const NUMBER = new Intl.NumberFormat(language, { maximumSignificantDigits: 8 });
/** Smallest type of a value, and type of a unit, in rem. */
export const SMALLEST = 1.05;
const UNIT = 0.9;
/** Widths in rem of a table: of its first column where there is place and beside one other, and most of the others' texts. */
const FIRST = 5.5;
const FIRST_OF_TWO = 4;
const CELL = 9;
/** Width in rem of the longest word for which a label may be cut. */
const LONGEST_WORD = 10;
const LINK = /^https?:\/\//;
const IMAGE = /^(https?:\/\/|data:image\/)/;
/** A label whose last word is short: it stays when the label is cut, since labels often differ only there. */
const ENDING = /^(.*[\s›])(\S{1,3}|\(\S{1,5}\))$/u;
const COLOUR = /^(#[0-9a-f]{3,8}|[a-z]+|(rgb|hsl)a?\([\d\s.,%/deg]+\))$/i;

/** One value of a source. */
export class Row {
  #widest = 0;
  #room = 0;

  constructor() {
    this.label = element("dt");
    this.mark = element("span", "mark");
    this.head = element("span", "head");
    this.unit = element("span", "unit");
    this.value = element("dd", "", this.mark, this.head, this.unit);
    this.spark = spark();
    this.element = element("div", "row", this.label, this.value);
    this.label.dir = "auto";
  }

  /** Shows a block in its longest form that `room` (in rem) has place for. */
  show(block, { room, now, size }) {
    this.block = block;
    this.#room = room;
    writeLabel(this.label, block.label);
    const form = fitting(block, room);
    const isWords = block.kind === "text" || block.kind === "list";
    this.element.className = isWords ? "row words" : "row";
    this.value.className = block.level ? `${block.kind} ${block.level}` : block.kind;
    this.value.dir = isWords ? "auto" : "";
    setMark(this.mark, block);
    if (!block.parts) fill(this.head, block, form);
    this.value.title = block.exact !== undefined && (block.exact !== form || block.unit) ? block.exact.slice(0, 2000) : "";
    write(this.unit, block.kind === "list" ? `(${block.count})` : block.unit);
    // The place of a value only grows, so that a digit less does not move it.
    if (!isWords) this.#widest = Math.min(room, Math.max(this.#widest, widthOf(block, room, size)));
    this.value.style.minWidth = isWords ? "" : `${this.#widest.toFixed(2)}rem`;
    // A word is broken only if the label cannot leave it enough place.
    const word = block.kind === "text" ? longestWord(form) : 0;
    if (word > 0 && word <= Math.min(room, LONGEST_WORD)) this.value.style.minWidth = `${word.toFixed(2)}rem`;
    this.tick(now);
  }

  /** Updates the texts of instants. */
  tick(now) {
    if (this.block?.parts) writeParts(this.head, this.block.parts.map((part) => sayPart(part, now)));
    if (this.block?.kind !== "time") return;
    write(this.head, fitting({ ...this.block, forms: instantForms(this.block.at, now) }, this.#room));
  }

  /** Draws the chart of the value's points; null for no chart. */
  draw(points) {
    if (points === null || this.block.kind !== "number" || this.block.isName) {
      this.spark.remove();
      return;
    }
    if (this.spark.parentElement !== this.element) this.element.append(this.spark);
    draw(this.spark, points, points.length > 1 ? words.range(...extremes(points).map((n) => NUMBER.format(n))) : "");
  }
}

/** The heading of a nested object. */
export class Section {
  constructor() {
    this.element = element("div", "section", element("dt"));
    this.element.firstElementChild.dir = "auto";
  }

  show(block) {
    write(this.element.firstElementChild, block.label);
  }

  tick() {}
  draw() {}
}

/** A list of objects: a header and the first rows. */
export class Table {
  #shown = "";
  #times = [];

  constructor() {
    this.table = element("table");
    this.element = element("div", "block", element("dt"), element("dd", "", this.table));
  }

  /** Shows the first `rows` rows and as many columns as `width` (in rem) has place for. */
  show(block, { rows, width, now }) {
    const cells = cutRows(block.rows, rows);
    const widths = columnWidths(block, cells, width);
    const header = block.header.slice(0, widths.length);
    const shown = JSON.stringify([widths, header, cells]);
    if (shown !== this.#shown) this.#fill(block, header, cells.map((row) => row.slice(0, widths.length)), widths);
    this.#shown = shown;
    this.tick(now);
  }

  tick(now) {
    for (const { node, at } of this.#times) write(node, sayInstant(at, now));
  }

  draw() {}

  #fill(block, header, rows, widths) {
    this.#times = [];
    const title = (label, at) => (at === 0 ? [block.label, label].filter(Boolean).join(" › ") : label);
    const head = header.map(({ label, kind }, at) => sized(named(element("th", kind, title(label, at)), title(label, at)), widths[at]));
    const body = rows.map((row) => element("tr", "", ...row.map((cell) => this.#cell(cell))));
    this.table.replaceChildren(element("thead", "", element("tr", "", ...head)), element("tbody", "", ...body));
  }

  #cell(cell) {
    if (cell === null) return element("td");
    const mark = element("span", "mark");
    setMark(mark, cell);
    const node = element("span");
    fill(node, cell, fitting(cell, CELL) + (cell.unit && ` ${cell.unit}`));
    if (cell.kind === "time") this.#times.push({ node, at: cell.at });
    const made = element("td", cell.level ? `${cell.kind} ${cell.level}` : cell.kind, mark, node);
    // Of the element that is cut: the cut must be at the end of a text from right to left, too.
    made.dir = cell.kind === "text" ? "auto" : "";
    return named(made, cell.exact ?? "");
  }
}

function writeLabel(node, label) {
  if (node.title === label) return;
  node.title = label;
  const [, start, end] = ENDING.exec(label) ?? [label, label, ""];
  node.replaceChildren(...[start, end].filter(Boolean).map((text) => element("span", "", text)));
}

/** Shows a state as full or hollow, and a colour as itself. */
function setMark(mark, { kind, on, as, exact }) {
  mark.hidden = kind !== "switch" && as !== "color";
  mark.className = kind === "switch" ? (on ? "mark on" : "mark") : "mark colour";
  mark.style.backgroundColor = as === "color" && COLOUR.test(exact) ? exact : "";
}

/** Writes a value; as a link or an image only where the configuration says so. */
function fill(node, block, text) {
  const { as, exact } = block;
  const isLink = as === "link" && LINK.test(exact);
  if (!isLink && !(as === "image" && IMAGE.test(exact))) return write(node, marked(block, text));
  if (node.dataset.shown === exact) return;
  node.dataset.shown = exact;
  node.replaceChildren(
    isLink
      ? Object.assign(element("a", "", exact.replace(LINK, "")), { href: exact, rel: "noopener noreferrer", target: "_blank" })
      : Object.assign(element("img"), { src: exact, alt: "" }),
  );
}

/** Writes the parts of a list. A line has whole parts only, so that no number is read without its last digits. */
function writeParts(node, parts) {
  if (node.textContent === parts.join(" · ")) return;
  node.replaceChildren(...parts.flatMap((part, at) => [" ", element("span", "part", at > 0 ? `· ${part}` : part)]).slice(1));
}

/** A part of a list as text: an instant in its shortest form, because it is one of many or stands beside a name. */
function sayPart(part, now) {
  return typeof part === "string" ? part : instantForms(part.at, now).at(-1);
}

/** How bad the worst number of a block or of a table's row is, by its thresholds: 0, 1 for `warn`, 2 for `crit`. */
export function rank(part) {
  if (Array.isArray(part)) return Math.max(0, ...part.map(rank));
  return part?.rows ? rank(part.rows) : ["warn", "crit"].indexOf(part?.level) + 1;
}

/** The first `count` rows. The last place is that of the worst of the others, if it is worse. */
export function cutRows(rows, count) {
  const cut = rows.slice(0, count);
  const worst = rows.slice(count).reduce((found, row) => (rank(row) > rank(found) ? row : found), cut.at(-1));
  return [...cut.slice(0, -1), worst];
}

/** A table in one line: one row and the number of rows. */
export function summaryOf({ path, label, rows, count }) {
  const cells = cutRows(rows, 1)[0].filter((cell) => cell !== null);
  const parts = cells.map((cell) => (cell.kind === "time" ? { at: cell.at } : [cell.forms[0], cell.unit].filter(Boolean).join(" ")));
  return { kind: "list", path, label, unit: "", forms: [""], parts, count };
}

/** The longest form that fits into `room`, in rem. A shorter one of a number has fewer decimals, the last ones are powers. */
export function fitting(block, room) {
  if (block.forms.length === 1) return block.forms[0];
  return block.forms.find((form) => ems(marked(block, form)) * SMALLEST + unitWidth(block) <= room) ?? block.forms.at(-1);
}

/** A value beyond a threshold has a mark, too: not everyone sees its colour. */
function marked({ level }, text) {
  return level ? `▲ ${text}` : text;
}

/** The largest type size, in rem, with which a value fits into `room`, in rem. */
export function sizeFor(block, room) {
  return (room - unitWidth(block)) / Math.max(0.5, emsOf(block, room));
}

/** The least width in rem of a value in its longest form with the whole label. */
export function leastWidth(block) {
  return ems(block.label) + widthOf(block, Infinity, SMALLEST);
}

/** The width of a value at a type size, in rem. */
function widthOf(block, room, size) {
  return emsOf(block, room) * size + unitWidth(block);
}

/** The width of a value and its mark in em. A state has the width of the wider one, so that a change moves nothing. */
function emsOf(block, room) {
  if (block.kind === "switch") return Math.max(ems(words.yes), ems(words.no)) + 1.1;
  return ems(marked(block, fitting(block, room)));
}

/** The width of the unit in rem, whose type size does not depend on the number's. */
function unitWidth(block) {
  return block.unit ? 0.4 + ems(block.unit) * UNIT : 0;
}

/** Widths in rem of the columns that fit; the first one, without a width of its own, takes what is left. */
function columnWidths(block, rows, width) {
  const widths = [null];
  let left = width - Math.min(FIRST, width * 0.4);
  for (const at of block.header.keys()) {
    if (at === 0) continue;
    const texts = rows.map((row) => (row[at] ? emsOf(row[at], CELL) + (row[at].unit ? ems(row[at].unit) + 0.4 : 0) : 0));
    const wanted = Math.min(CELL, Math.max(2, ...texts)) + 1;
    const { isLong } = block.header[at];
    const most = isLong ? left - FIRST : widths.length === 1 ? width - FIRST_OF_TWO : left;
    if (wanted > most) break;
    widths.push(wanted);
    left -= wanted;
  }
  return widths;
}

/** The width in rem of the longest word of a text. */
function longestWord(text) {
  return Math.max(...text.split(/\s/).map(ems)) * SMALLEST + 0.1;
}

function sized(node, width) {
  if (width !== null) node.style.width = `${width.toFixed(2)}rem`;
  return node;
}

function named(node, title) {
  node.title = title.slice(0, 2000);
  return node;
}
