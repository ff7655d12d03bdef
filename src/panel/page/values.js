// Converts a source's data into rows: a label, a value with all its digits, and a unit if the key's name contains one.

import { Digits } from "./json.js";
import { language, words } from "./words.js";

/** Maximum number of rows of one card; a provider may send a megabyte. */
const ROWS = 12;
/** Maximum number of characters of one text. */
const TEXT = 400;

const UNITS = new Map(Object.entries({
  c: "°C", f: "°F", pct: "%", percent: "%", ms: "ms", s: "s", kmh: "km/h", mps: "m/s", hpa: "hPa", mm: "mm", cm: "cm",
  km: "km", kg: "kg", kw: "kW", kwh: "kWh", hz: "Hz", db: "dB", bytes: "B", kb: "kB", mb: "MB", gb: "GB", ppm: "ppm",
}));

const CURRENCIES = new Set(
  "usd eur ars brl clp uyu pyg bob pen cop mxn gbp jpy cny chf cad aud nzd inr krw sek nok dkk pln btc eth".split(" "),
);

const SEPARATORS = separators();

/** The rows of `data`, and the number of rows left out. */
export function rows(data) {
  const leaves = [];
  collect(data, [], leaves);
  const shown = leaves.slice(0, ROWS).map((leaf) => row(leaf, leaves.length === 1));
  return { shown, more: leaves.length - shown.length };
}

function collect(value, path, leaves) {
  const members = value instanceof Map ? [...value] : Array.isArray(value) ? value.map((v, i) => [String(i), v]) : [];
  if (members.length === 0) leaves.push({ path, value });
  for (const [key, member] of members) collect(member, [...path, key], leaves);
}

function row({ path, value }, alone) {
  const named = name(path, value instanceof Digits, alone);
  return { path: path.join("."), ...named, tail: "", power: "", ...shape(value) };
}

/** Label and unit of a key such as `temperatura_c`, `km_h` or `usd`. */
function name(path, numeric, alone) {
  const key = path.at(-1) ?? "";
  const under = path.slice(0, -1).map(spaced);
  const { own, unit } = (numeric && unitOf(key, alone)) || { own: key, unit: "" };
  return { label: [...under, ...(own ? [spaced(own)] : [])].join(" › "), unit };
}

/** The unit at the end of a key, and the rest of the key. A currency alone is a unit for a single value, else a label. */
function unitOf(key, alone) {
  const parts = key.split("_");
  for (const length of [2, 1]) {
    const end = parts.slice(-length).join("").toLowerCase();
    const own = parts.slice(0, -length).join("_");
    const unit = UNITS.get(end) ?? (CURRENCIES.has(end) && (own || alone) ? end.toUpperCase() : null);
    if (unit && parts.length >= length && (own || end.length > 1)) return { own, unit };
  }
  return null;
}

function spaced(key) {
  return key.replaceAll("_", " ");
}

function shape(value) {
  if (value instanceof Digits) return { kind: "number", ...number(value.text), value: Number(value) };
  if (typeof value === "boolean") return { kind: "word", text: value ? words.yes : words.no };
  if (value === null) return { kind: "empty", text: words.nothing };
  if (typeof value === "string" && value.length > 0) return { kind: "text", text: cut(value) };
  return { kind: "empty", text: words.empty };
}

/**
 * The digits of the text, grouped as usual in the reader's language. `tail` are decimals that may be set smaller or cut
 * off; `power` is an exponent, which must stay visible.
 */
function number(text) {
  const [, sign, whole, fraction, exponent] = /^(-?)(\d+)(?:\.(\d+))?(.*)$/.exec(text);
  const grouped = whole.length < 5 ? whole : whole.replace(/\B(?=(\d{3})+$)/g, SEPARATORS.group);
  // Decimals beyond six significant digits go into the tail.
  const loud = Math.max(2, 6 - whole.length);
  const decimals = fraction ? SEPARATORS.decimal + fraction.slice(0, loud) : "";
  const tail = (fraction ?? "").slice(loud);
  const power = tail ? exponent : "";
  return { text: (sign && "−") + grouped + decimals + (tail ? "" : exponent), tail, power };
}

function cut(text) {
  return text.length > TEXT ? `${text.slice(0, TEXT)}…` : text;
}

function separators() {
  const parts = new Intl.NumberFormat(language).formatToParts(1234567.8);
  const part = (type, otherwise) => parts.find((p) => p.type === type)?.value ?? otherwise;
  return { group: part("group", " "), decimal: part("decimal", ".") };
}
