// Converts a source's data into blocks of a card: values with a label and a unit, tables and sections.

import { visible } from "./dom.js";
import { Digits } from "./json.js";
import { epochOf, isDuration, isIdentifier, spaced, unitOf } from "./keys.js";
import { numberForms, scaled, signsOf } from "./numbers.js";
import { instantForms, instantOf, isoDuration, sayDuration } from "./times.js";
import { language, words } from "./words.js";

/** Maximum number of blocks, and of rows and columns of a table; a provider may send a megabyte. */
const BLOCKS = 40;
const TABLE_ROWS = 20;
const COLUMNS = 8;
/** Maximum number of characters of one text. */
const TEXT = 400;
/** Number of members from which objects of the same keys are a table. */
const ALIKE = 3;
/** Weight of the columns that come last: long texts, links and identifiers. */
const LONG = 3;
/** Keys of a table that say what a row is about. */
const TITLES = /^(name|title|nombre|titulo|título|label|summary|subject|symbol|device|mount|host|station|key|description)$/i;
const MILLISECONDS = { ms: 1, s: 1000 };
const NO_APPEARANCE = { paths: {} };

const SIGNS = signsOf(language);

/**
 * The blocks of `data` in its order, at most `BLOCKS`, and the number of values that they and those left out hold.
 * `appearance` is the operator's choice of units, labels and so on.
 */
export function blocksOf(data, now, appearance = NO_APPEARANCE) {
  const found = { blocks: [], values: 0, appearance, now };
  collect(data, [], [], found);
  if (found.values === 1 && found.blocks.length === 1 && found.blocks[0].kind !== "table") {
    found.blocks = [];
    found.alone = true;
    collect(data, [], [], { ...found, values: 0 });
  }
  return { blocks: found.blocks, values: found.values };
}

/** The value at `path`: its kind, forms from the most exact to the shortest, exact text, and number if it is one. */
export function shape(value, path, { appearance, now, alone = false }) {
  const own = appearance.paths[path.join(".")] ?? {};
  const key = own.label ?? path.at(-1) ?? "";
  if (own.as === "text") return { key, unit: "", ...textShape(String(value), now, "text") };
  if (value instanceof Digits) return numberShape(value, path, { ...appearance, ...own }, { own, now, alone });
  if (typeof value === "boolean") return { key, unit: "", kind: "switch", forms: [value ? words.yes : words.no], on: value };
  if (value === null) return { key, unit: "", kind: "empty", forms: [words.nothing] };
  if (typeof value === "string" && value.trim() !== "") return { key, unit: own.unit ?? "", ...textShape(value, now, own.as) };
  return { key, unit: "", kind: "empty", forms: [words.empty] };
}

function collect(value, path, section, found) {
  const { blocks, appearance } = found;
  if (appearance.paths[path.join(".")]?.hidden) return;
  const rows = tableRows(value);
  if (rows) {
    found.values += rows.length;
    if (blocks.length < BLOCKS) blocks.push(table(rows, path, section.length, found));
    return;
  }
  if (Array.isArray(value) && value.length > 1 && value.every(isScalar)) {
    found.values += 1;
    if (blocks.length < BLOCKS) blocks.push(list(value, path, section.length, found));
    return;
  }
  const members = membersOf(value);
  if (members.length === 0) {
    found.values += 1;
    if (blocks.length < BLOCKS) blocks.push(leaf(value, path, section.length, found));
    return;
  }
  const isSection = path.length > section.length && members.filter(([, member]) => isScalar(member)).length > 1;
  if (isSection && blocks.length < BLOCKS) blocks.push({ kind: "section", path: path.join("."), label: labelOf(path, 0, appearance) });
  for (const [key, member] of members) collect(member, [...path, key], isSection ? path : section, found);
}

function membersOf(value) {
  if (value instanceof Map) return [...value];
  return Array.isArray(value) ? value.map((member, at) => [String(at), member]) : [];
}

function isScalar(value) {
  return !(value instanceof Map) && !Array.isArray(value);
}

/** The rows of a list of objects, or of an object of objects with the same keys; null if the value is neither. */
function tableRows(value) {
  const isObject = (member) => member instanceof Map && [...member.values()].some(isScalar);
  if (Array.isArray(value) && value.length > 1) {
    if (value.every(isObject)) return value.map((member, at) => ({ at: String(at), cells: member }));
    const isTuple = (member) => Array.isArray(member) && member.length > 1 && member.every(isScalar);
    return value.every(isTuple) ? value.map((member, at) => ({ at: String(at), cells: new Map(membersOf(member)), isTuple: true })) : null;
  }
  if (!(value instanceof Map) || value.size < ALIKE) return null;
  const keys = [...value.values()].map((member) => (isObject(member) ? [...member.keys()].join("\n") : null));
  return keys.every((key) => key !== null && key === keys[0])
    ? [...value].map(([key, cells]) => ({ at: key, cells, name: key }))
    : null;
}

/** A table whose first columns say the most: names, then numbers, states and short texts; long texts and links last. */
function table(rows, path, from, { appearance, now }) {
  const keys = new Map();
  const shown = rows.slice(0, TABLE_ROWS).map(({ at, cells, name }) => {
    const shapes = new Map();
    if (name !== undefined) shapes.set("", { key: "", unit: "", ...textShape(name, now, "text") });
    for (const [key, value] of cells) {
      const cellPath = [...path, at, key];
      if (!isScalar(value) || appearance.paths[cellPath.join(".")]?.hidden) continue;
      shapes.set(key, shape(value, cellPath, { appearance, now }));
    }
    for (const [key, cell] of shapes) keys.set(key, Math.max(keys.get(key) ?? 0, weight(key, cell)));
    return shapes;
  });
  const columns = [...keys].sort(([, a], [, b]) => a - b).slice(0, COLUMNS).map(([key]) => key);
  const header = columns.map((key) => {
    const cell = shown.find((cells) => cells.has(key)).get(key);
    // The indices of a tuple would look like a row of numbers.
    const label = rows[0].isTuple && cell.key === key ? "" : spaced(cell.key);
    return { label, kind: cell.kind, isLong: keys.get(key) === LONG };
  });
  const cells = shown.map((shapes) => columns.map((key) => shapes.get(key) ?? null));
  const section = sectionOf(path, from, appearance);
  return { kind: "table", path: path.join("."), label: labelOf(path, from, appearance), section, header, rows: cells, count: rows.length };
}

function weight(key, cell) {
  if (key === "" || TITLES.test(key)) return 0;
  if (cell.kind === "text") return cell.exact.length > 40 || /^https?:/.test(cell.exact) || isIdentifier(key) ? LONG : 1;
  return isIdentifier(key) ? LONG : cell.kind === "empty" ? 2 : 1;
}

function list(members, path, from, { appearance, now }) {
  const parts = members.slice(0, 40).map((member, at) => {
    const { kind, forms, unit, at: instant } = shape(member, [...path, String(at)], { appearance, now });
    // The text of an instant depends on the current time.
    if (kind === "time") return { at: instant };
    return unit && !appearance.unit ? `${forms[0]} ${unit}` : forms[0];
  });
  const label = labelOf(path, from, appearance);
  const section = sectionOf(path, from, appearance);
  return { kind: "list", path: path.join("."), label, section, unit: "", forms: [""], parts, count: members.length, exact: members.join(", ") };
}

function leaf(value, path, from, found) {
  const shaped = shape(value, path, found);
  const under = path.slice(from, -1).map(spaced);
  const own = path.at(-1) === "" ? words.unnamed : spaced(shaped.key);
  const label = [...under, ...(own ? [own] : [])].join(" › ");
  return { path: path.join("."), ...shaped, label, section: sectionOf(path, from, found.appearance) };
}

function labelOf(path, from, appearance) {
  return appearance.paths[path.join(".")]?.label ?? path.slice(from).map(spaced).join(" › ");
}

/** The heading above a value at `path`, whose label begins at the key `from`. */
function sectionOf(path, from, appearance) {
  return labelOf(path.slice(0, from), 0, appearance);
}

function numberShape(value, path, appearance, { own, now, alone }) {
  const exact = value.text;
  const number = Number(exact);
  const key = path.at(-1) ?? "";
  const found = appearance.unit === undefined || own.label === undefined ? unitOf(path, alone) : null;
  const unit = appearance.unit ?? found?.unit ?? "";
  const shaped = { key: own.label ?? (appearance.unit === undefined ? found?.own : undefined) ?? key, exact, value: number, level: levelOf(number, appearance.thresholds) };
  const at = own.as === "time" ? (Math.abs(number) < 1e11 ? number * 1000 : number) : appearance.unit ? null : epochOf(key, number);
  if (at !== null) return { ...shaped, kind: "time", unit: "", forms: instantForms(at, now), at };
  const duration = MILLISECONDS[unit] ?? (own.as === "duration" ? 1000 : 0);
  const isSaid = own.as === "duration" || (appearance.unit === undefined && (isDuration(key) || found?.own === "") && number * duration >= 60e3);
  if (duration && isSaid && Number.isFinite(number)) {
    return { ...shaped, kind: "duration", unit: "", forms: [sayDuration(number * duration, SIGNS.decimal)] };
  }
  const size = unit === "B" && appearance.decimals === undefined ? scaled(exact, unit) : { text: exact, unit };
  const isName = isIdentifier(key);
  const forms = numberForms(size.text, SIGNS, { decimals: appearance.decimals, grouped: !isName });
  return { ...shaped, kind: "number", unit: size.unit, forms, isName };
}

function textShape(text, now, as) {
  const at = as === "text" ? null : instantOf(text);
  if (at !== null) return { kind: "time", forms: instantForms(at, now), exact: text, at };
  const duration = as === "text" ? null : isoDuration(text);
  if (duration !== null) return { kind: "duration", forms: [sayDuration(duration, SIGNS.decimal)], exact: text };
  const line = visible(text.length > TEXT ? `${text.slice(0, TEXT)}…` : text).trim().replace(/\s*\n\s*/g, " ↵ ");
  // A decimal number may lose its last zeros.
  const short = line.replace(/^(-?\d+\.\d*?)0{3,}$/, "$1").replace(/\.$/, "");
  return { kind: "text", forms: short === line || as === "text" ? [line] : [line, short], exact: text, as };
}

/** `warn` or `crit` if the number is at or beyond a threshold, else null. `crit` below `warn`: low is bad. */
function levelOf(number, thresholds) {
  const { warn, crit } = thresholds ?? {};
  const isLow = warn !== undefined && crit !== undefined && crit < warn;
  const beyond = (limit) => limit !== undefined && (isLow ? number <= limit : number >= limit);
  if (beyond(crit)) return "crit";
  return beyond(warn) ? "warn" : null;
}
