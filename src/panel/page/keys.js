// What a key's name says about its number: a unit, an instant, a duration or an identifier. Only names that leave no
// doubt count: `temp_c` is in degrees, `voltage_phase_c` is not.

import { visible } from "./dom.js";

const ALWAYS = new Map(Object.entries({
  pct: "%", percent: "%", porcentaje: "%", ms: "ms", kmh: "km/h", hpa: "hPa", mm: "mm", cm: "cm", km: "km", kg: "kg",
  kw: "kW", kwh: "kWh", hz: "Hz", mhz: "MHz", ghz: "GHz", bytes: "B", kb: "kB", gb: "GB", tb: "TB", ppm: "ppm", lux: "lx", dbm: "dBm",
}));

/** Units of short names: only if the rest of the path has one of the words. */
const AFTER = new Map(Object.entries({
  c: ["°C", "temp temps temperature temperatures temperatura temperaturas dew dewpoint feels apparent chill heat rocio sensacion termica"],
  s: ["s", "uptime duration elapsed age timeout latency delay interval ttl remaining eta time duracion tiempo edad latencia"],
  mb: ["MB", "memory mem ram disk disco memoria size heap cache used free total swap file download upload"],
  db: ["dB", "rssi snr noise signal gain volume ruido senal volumen sound"],
  w: ["W", "power potencia consumption consumo load solar grid"],
  v: ["V", "voltage voltaje tension battery bateria volt"],
  a: ["A", "current corriente amps"],
  mps: ["m/s", "wind viento speed velocidad gust"],
}).map(([end, [unit, after]]) => [end, { unit, after: new Set(after.split(" ")) }]));
AFTER.set("f", { unit: "°F", after: AFTER.get("c").after });
AFTER.set("seconds", { unit: "s", after: null });
AFTER.set("secs", { unit: "s", after: null });
AFTER.set("segundos", { unit: "s", after: null });
/** `current_phase_a` is the name of a phase. */
const NAMES = new Set("phase fase line linea l leg channel canal port puerto zone zona".split(" "));

const CURRENCIES = new Set(
  "usd eur ars brl clp uyu pyg bob pen cop mxn gbp jpy cny chf cad aud nzd inr krw sek nok dkk pln btc eth".split(" "),
);

const INSTANTS = new Set("time timestamp ts epoch unix at date datetime updated created modified expires expiry sunrise sunset since until fecha dt".split(" "));
/** Words behind that of an instant: `created_ms`, `created_utc`. */
const PRECISIONS = new Set("ms millis milliseconds s sec secs seconds utc".split(" "));
const DURATIONS = AFTER.get("s").after;
const IDENTIFIERS = new Set("id ids uuid guid zip postal code codigo phone tel telefono year anio año port puerto version serial serie isbn ean sku pid number numero nro order orden pedido account cuenta mobile movil celular fax dni cuit cuil nif rut cpf ssn imei imsi iccid asn".split(" "));

/** The words of a key, in lower case: `feelsLike_c` has three. */
export function wordsOf(key) {
  return key.split(/[_\s.\-/]+|(?<=[\p{Ll}\d])(?=\p{Lu})/u).filter(Boolean).map((word) => word.toLowerCase());
}

/** A height or a period at the end of a key: `temperature_2m`, `load_5m`. */
const QUALIFIER = / (\d+(?:m|cm|km|s|min|h|d))$/;

/** A key as a label. A height or a period at its end is in parentheses: it is neither a part of the name nor the value. */
export function spaced(key) {
  return visible(key.replaceAll("_", " ").trim().replace(QUALIFIER, " ($1)") || key);
}

/** The unit at the end of a path's key, and the rest of the key; null without one. `alone`: the data's only value. */
export function unitOf(path, alone) {
  const key = path.at(-1) ?? "";
  const parts = key.split("_");
  for (const length of [2, 1]) {
    const end = parts.slice(-length).join("").toLowerCase();
    const own = parts.slice(0, -length).join("_");
    const unit = parts.length >= length ? unitNamed(end, own, [...path.slice(0, -1), own], alone) : null;
    if (unit) return { own, unit };
  }
  return null;
}

function unitNamed(end, own, rest, alone) {
  if (CURRENCIES.has(end)) return own || alone ? end.toUpperCase() : null;
  if (ALWAYS.has(end)) return ALWAYS.get(end);
  const { unit, after } = AFTER.get(end) ?? {};
  if (!unit || after === null) return unit ?? null;
  const words = rest.flatMap(wordsOf);
  return words.some((word) => after.has(word)) && !NAMES.has(words.at(-1)) ? unit : null;
}

/** Milliseconds since the epoch of a number under a key that says so; null if it is none. */
export function epochOf(key, number) {
  const words = wordsOf(key);
  if (words.length > 1 && PRECISIONS.has(words.at(-1))) words.pop();
  if (!INSTANTS.has(words.at(-1))) return null;
  // Between 2001 and 2099, in seconds or in milliseconds.
  if (number >= 1e9 && number < 4.1e9) return number * 1000;
  return number >= 1e12 && number < 4.1e12 ? number : null;
}

/** Whether the key of a number of seconds or milliseconds is that of a duration, as opposed to a plain measurement. */
export function isDuration(key) {
  return wordsOf(key).some((word) => DURATIONS.has(word));
}

/** Whether the key's numbers are names, which are written without groups. */
export function isIdentifier(key) {
  return wordsOf(key).slice(-1).some((word) => IDENTIFIERS.has(word));
}
