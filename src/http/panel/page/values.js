// A source's data as rows that people read: a label, a value with every digit it came with, and a unit where the name of
// the key gives one away.

import { Digits } from "./json.js";
import { language, words } from "./words.js";

/** The most rows of one card; a provider may send a megabyte. */
const ROWS = 12;
/** The most characters of one text. */
const TEXT = 400;

const UNITS = new Map(Object.entries({
  c: "°C", f: "°F", pct: "%", percent: "%", ms: "ms", s: "s", kmh: "km/h", mps: "m/s", hpa: "hPa", mm: "mm", cm: "cm",
  km: "km", kg: "kg", kw: "kW", kwh: "kWh", hz: "Hz", db: "dB", bytes: "B", kb: "kB", mb: "MB", gb: "GB", ppm: "ppm",
}));

const CURRENCIES = new Set(
  "usd eur ars brl clp uyu pyg bob pen cop mxn gbp jpy cny chf cad aud nzd inr krw sek nok dkk pln btc eth".split(" "),
);

const SEPARATORS = separators();

/** The rows of `data`, and how many more there would be. */
export function rows(data) {
  const found = [];
  collect(data, [], found);
  const shown = found.slice(0, ROWS).map((leaf) => row(leaf, found.length === 1));
  return { shown, more: found.length - shown.length };
}

function collect(value, path, found) {
  const members = value instanceof Map ? [...value] : Array.isArray(value) ? value.map((v, i) => [String(i), v]) : [];
  if (members.length === 0) found.push({ path, value });
  for (const [key, member] of members) collect(member, [...path, key], found);
}

function row({ path, value }, alone) {
  const named = name(path, value instanceof Digits, alone);
  return { path: path.join("."), ...named, tail: "", ...shape(value) };
}

/** Label and unit of a key such as `temperatura_c`, `usd` or `humidity_pct`. */
function name(path, numeric, alone) {
  const key = path.at(-1) ?? "";
  const cut = key.lastIndexOf("_");
  const suffix = key.slice(cut + 1).toLowerCase();
  const under = path.slice(0, -1).map((part) => part.replaceAll("_", " "));
  if (CURRENCIES.has(key.toLowerCase()) && numeric && alone) return { label: under.join(" › "), unit: key.toUpperCase() };
  const unit = cut > 0 && numeric ? (UNITS.get(suffix) ?? (CURRENCIES.has(suffix) ? suffix.toUpperCase() : "")) : "";
  const own = (unit ? key.slice(0, cut) : key).replaceAll("_", " ");
  return { label: [...under, own].join(" › "), unit };
}

function shape(value) {
  if (value instanceof Digits) return { kind: "number", ...number(value.text), value: Number(value) };
  if (typeof value === "boolean") return { kind: "word", text: value ? words.yes : words.no };
  if (value === null) return { kind: "empty", text: words.nothing };
  if (typeof value === "string" && value.length > 0) return { kind: "text", text: cut(value) };
  return { kind: "empty", text: words.empty };
}

/** The digits as they came, grouped as the reader's language does; `tail` is what may be set smaller. */
function number(text) {
  const [, sign, whole, fraction, exponent] = /^(-?)(\d+)(?:\.(\d+))?(.*)$/.exec(text);
  const grouped = whole.length < 5 ? whole : whole.replace(/\B(?=(\d{3})+$)/g, SEPARATORS.group);
  const decimals = fraction ? SEPARATORS.decimal + fraction : "";
  const small = decimals.length > 5;
  return {
    text: (sign && "−") + grouped + (small ? decimals.slice(0, 3) : decimals + exponent),
    tail: small ? decimals.slice(3) + exponent : "",
  };
}

function cut(text) {
  return text.length > TEXT ? `${text.slice(0, TEXT)}…` : text;
}

function separators() {
  const parts = new Intl.NumberFormat(language).formatToParts(1234567.8);
  const part = (type, otherwise) => parts.find((p) => p.type === type)?.value ?? otherwise;
  return { group: part("group", " "), decimal: part("decimal", ".") };
}
