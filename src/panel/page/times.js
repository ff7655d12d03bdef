// Instants and durations as people say them.

import { language, span, words } from "./words.js";

const RFC3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|z|[+-]\d\d:?\d\d)$/;
/** The dates of HTTP and RSS. */
const RFC2822 = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d(:\d\d)? ([A-Z]{1,4}|[+-]\d{4})$/;
const ISO_DURATION = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/;
const HOUR = 3600e3;
const DAY = 24 * HOUR;

const CLOCK = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DATE = new Intl.DateTimeFormat(language, { weekday: "short", day: "numeric", month: "short" });
const YEAR = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", year: "numeric" });

/** Milliseconds since the epoch of a text that is an instant with a zone; null if it is none. */
export function instantOf(text) {
  if (!RFC3339.test(text) && !RFC2822.test(text)) return null;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : at;
}

/** Milliseconds of an ISO 8601 duration of days and less, such as `PT5M30S`; null if the text is none. */
export function isoDuration(text) {
  const found = ISO_DURATION.exec(text);
  if (!found || text.length < 3 || text.endsWith("T")) return null;
  const [days, hours, minutes, seconds] = found.slice(1).map((part) => Number(part ?? 0));
  return ((days * 24 + hours) * 60 + minutes) * 60e3 + seconds * 1000;
}

/** An instant relative to `now`: "in 5 min", "yesterday 21:14", "Tue, Nov 24, 09:00". */
export function sayInstant(at, now) {
  const ahead = at - now;
  if (Math.abs(ahead) < 5000) return words.now;
  if (Math.abs(ahead) < HOUR) return ahead > 0 ? words.in(span(ahead)) : words.ago(span(-ahead));
  const days = Math.round((midnight(at) - midnight(now)) / DAY);
  const day = words.days[days] ?? (Math.abs(days) < 300 ? DATE : YEAR).format(at);
  return `${day} ${CLOCK.format(at)}`;
}

/** The ways to say an instant, the longest first: an instant of today may be a time alone. */
export function instantForms(at, now) {
  const said = sayInstant(at, now);
  const time = CLOCK.format(at);
  return said === `${words.days[0]} ${time}` ? [said, time] : [said];
}

/** A duration in at most two units, with decimals below a minute: "14 d 6 h", "3 min 35 s", "2.5 s". */
export function sayDuration(ms, decimal = ".") {
  const sign = ms < 0 ? "−" : "";
  const size = Math.abs(ms);
  if (size < 1000) return `${sign}${tenths(size, decimal)} ms`;
  if (size < 60e3) return `${sign}${tenths(size / 1000, decimal)} s`;
  const seconds = Math.floor(size / 1000) % 60;
  if (size < HOUR && seconds > 0) return `${sign}${Math.floor(size / 60e3)} min ${seconds} s`;
  return sign + span(size);
}

function tenths(number, decimal) {
  return String(Math.round(number * 10) / 10).replace(".", decimal);
}

/** The local date of an instant, as milliseconds of a calendar without changes of the clock. */
function midnight(at) {
  const date = new Date(at);
  return Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
}
