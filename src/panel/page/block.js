// The elements of one block of a card: a value with its label, a section's heading, or a table.

import { element, write } from "./dom.js";
import { ems } from "./measure.js";
import { draw, extremes, spark } from "./spark.js";
import { sayInstant } from "./times.js";
import { language, words } from "./words.js";

const NUMBER = new Intl.NumberFormat(language, { maximumSignificantDigits: 8 });
/** Smallest type of a value, and type of a unit, in rem. */
export const SMALLEST = 1.05;
const UNIT = 0.9;
/** Minimum width of a table's first column where there is place, and maximum width of the text in the others, in rem. */
const FIRST = 5.5;
const CELL = 9;
const LINK = /^https?:\/\//;
const COLOUR = /^(#[0-9a-f]{3,8}|[a-z]+|(rgb|hsl)a?\([\d\s.,%/deg]+\))$/i;

/** One value of a source. */
export class Row {
  #widest = 0;

  constructor() {
    this.label = element("dt");
    this.mark = element("span", "mark");
    this.head = element("span", "head");
    this.unit = element("span", "unit");
    this.value = element("dd", "", this.mark, this.head, this.unit);
    this.spark = spark();
    this.element = element("div", "row", this.label, this.value);
    this.label.dir = "auto";
    this.head.dir = "auto";
  }

  /** Shows a block in its longest form that `room` (in rem) has place for. */
  show(block, { room, now, size }) {
    this.block = block;
    write(this.label, block.label);
    this.label.title = block.label;
    const form = fitting(block, room);
    const isWords = block.kind === "text" || block.kind === "list";
    this.element.className = isWords ? "row words" : "row";
    this.value.className = block.level ? `${block.kind} ${block.level}` : block.kind;
    this.value.dir = isWords ? "auto" : "";
    this.mark.hidden = block.kind !== "switch" && block.as !== "color";
    this.mark.className = block.kind === "switch" ? (block.on ? "mark on" : "mark") : "mark colour";
    if (block.as === "color") this.mark.style.backgroundColor = COLOUR.test(block.exact) ? block.exact : "";
    if (block.as === "link" && LINK.test(block.exact)) this.#link(block.exact);
    else write(this.head, form);
    this.value.title = block.exact !== undefined && (block.exact !== form || block.unit) ? block.exact.slice(0, 2000) : "";
    write(this.unit, block.kind === "list" ? `· ${block.count}` : block.unit);
    // The place of a value only grows, so that a digit less does not move it.
    if (!isWords) this.#widest = Math.min(room, Math.max(this.#widest, widthOf(block, room, size)));
    this.value.style.minWidth = isWords ? "" : `${this.#widest.toFixed(2)}rem`;
    this.tick(now);
  }

  /** Updates the text of an instant. */
  tick(now) {
    if (this.block?.kind === "time") write(this.head, sayInstant(this.block.at, now));
  }

  /** Draws the chart of the value's points; null for no chart. */
  draw(points) {
    if (points === null || this.block.kind !== "number") {
      this.spark.remove();
      return;
    }
    if (this.spark.parentElement !== this.element) this.element.append(this.spark);
    draw(this.spark, points, points.length > 1 ? words.range(...extremes(points).map((n) => NUMBER.format(n))) : "");
  }

  #link(address) {
    const link = element("a", "", address.replace(LINK, ""));
    Object.assign(link, { href: address, rel: "noopener noreferrer", target: "_blank" });
    if (this.head.firstElementChild?.href !== link.href) this.head.replaceChildren(link);
  }
}

/** The heading of a nested object. */
export class Section {
  constructor() {
    this.element = element("div", "section", element("dt"));
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
    const cells = block.rows.slice(0, rows);
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
    const mark = cell.kind === "switch" ? [element("span", cell.on ? "mark on" : "mark")] : [];
    const node = element("span", "", fitting(cell, CELL) + (cell.unit && ` ${cell.unit}`));
    node.dir = "auto";
    if (cell.kind === "time") this.#times.push({ node, at: cell.at });
    return named(element("td", cell.level ? `${cell.kind} ${cell.level}` : cell.kind, ...mark, node), cell.exact ?? "");
  }
}

/** A table in one line: its first row and the number of rows. */
export function summaryOf({ path, label, rows, count }) {
  const cells = rows[0].filter((cell) => cell !== null).map((cell) => [cell.forms[0], cell.unit].filter(Boolean).join(" "));
  return { kind: "list", path, label, unit: "", forms: [cells.join(" · ")], count };
}

/** The longest form of a number that fits into `room`, in rem; a shorter one has fewer decimals, the last ones are powers. */
export function fitting(block, room) {
  if (block.kind !== "number") return block.forms[0];
  return block.forms.find((form) => ems(form) * SMALLEST + unitWidth(block) <= room) ?? block.forms.at(-1);
}

/** The largest type size, in rem, with which a value fits into `room`, in rem. */
export function sizeFor(block, room) {
  const mark = block.kind === "switch" ? 1.1 : 0;
  return (room - unitWidth(block)) / Math.max(0.5, ems(fitting(block, room)) + mark);
}

/** The width of a value at a type size, in rem. */
function widthOf(block, room, size) {
  return (ems(fitting(block, room)) + (block.kind === "switch" ? 1.1 : 0)) * size + unitWidth(block);
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
    const texts = rows.map((row) => (row[at] ? ems(fitting(row[at], CELL)) + (row[at].unit ? ems(row[at].unit) + 0.4 : 0) + (row[at].kind === "switch" ? 1.1 : 0) : 0));
    const wanted = Math.min(CELL, Math.max(2, ...texts)) + 1;
    if (wanted > left) break;
    widths.push(wanted);
    left -= wanted;
  }
  return widths;
}

function sized(node, width) {
  if (width !== null) node.style.width = `${width.toFixed(2)}rem`;
  return node;
}

function named(node, title) {
  node.title = title.slice(0, 2000);
  return node;
}
