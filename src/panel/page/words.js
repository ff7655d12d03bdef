// The texts of the page in Spanish and English, and the formats of times.

const WORDS = {
  es: {
    fresh: "al día", stale: "viejo", missing: "sin datos", pending: "esperando", failing: "falla",
    covered: "con suplente",
    yes: "sí", no: "no", nothing: "sin valor", empty: "vacío",
    ask: "Consultar ahora", asking: "Consultando…",
    stream: "en directo", polling: "cada 5 s", connecting: "conectando",
    lost: (since) => `sin conexión desde ${since}`,
    asOf: (at) => `Como estaba a las ${at}`,
    allFresh: "Todo al día", noSources: "Sin fuentes", loading: "Cargando",
    crit: "crítico", warn: "en aviso",
    counts: { crit: ["crítico", "críticos"], warn: ["en aviso", "en aviso"], missing: ["sin datos", "sin datos"], stale: ["viejo", "viejos"], failing: ["falla", "fallan"],
      covered: ["con suplente", "con suplente"], pending: ["esperando", "esperando"] },
    ago: (span) => `hace ${span}`, none: "sin lectura",
    now: "ahora", in: (span) => `en ${span}`, days: { "-1": "ayer", 0: "hoy", 1: "mañana" },
    from: (at) => `desde ${at}`,
    next: (span) => `próx. en ${span}`, soon: "próxima ya",
    round: { asking: "consultando…", live: "recién llegado", held: "consultado hace poco", late: "no llegó a tiempo",
      failed: "falló", lost: "sin respuesta" },
    more: (n) => `y ${n} más`,
    links: { data: "datos", health: "salud", metrics: "métricas", api: "API" },
    search: "Buscar", copy: "Copiar", copied: "Copiado", range: (from, to) => `entre ${from} y ${to}`,
    sections: { values: "Valores", history: "Historia", providers: "Proveedores", from: "Se calcula de" },
    facts: { attempt: "último intento", latency: "demora", since: "falla desde", failures: "fallas seguidas", next: "próximo intento",
      held: "en pausa hasta", calls: "llamadas por día", filter: "filtro", provider: "proveedor", fetched: "leído", maxStale: "se descarta a los" },
    attempts: { pass: "responde", fail: "falla", warn: "relevado por otro", unknown: "sin intentos" }, unnamed: "dato", standIn: "solo si fallan los anteriores",
    news: { crit: (n) => `${n} está en valor crítico`, warn: (n) => `${n} está en aviso`, failing: (n) => `${n} falla`, covered: (n) => `por ${n} responde un suplente`, recovered: (n) => `${n} se recuperó`, stale: (n) => `${n} quedó viejo`,
      missing: (n) => `${n} sin datos`, many: (n) => `${n} fuentes cambiaron de estado`,
      lost: "Se perdió la conexión", regained: "Volvió la conexión",
      round: (n, of, held) => `Llegaron ${n} de ${of}${held ? `; ${held} consultados hace poco` : ""}` },
  },
  en: {
    fresh: "fresh", stale: "stale", missing: "missing", pending: "waiting", failing: "failing",
    covered: "on a fallback",
    yes: "yes", no: "no", nothing: "no value", empty: "empty",
    ask: "Ask now", asking: "Asking…",
    stream: "live", polling: "every 5 s", connecting: "connecting",
    lost: (since) => `no connection since ${since}`,
    asOf: (at) => `As it stood at ${at}`,
    allFresh: "All fresh", noSources: "No sources", loading: "Loading",
    crit: "critical", warn: "warning",
    counts: { crit: ["critical", "critical"], warn: ["warning", "warnings"], missing: ["missing", "missing"], stale: ["stale", "stale"], failing: ["failing", "failing"],
      covered: ["on a fallback", "on a fallback"], pending: ["waiting", "waiting"] },
    ago: (span) => `${span} ago`, none: "no reading",
    now: "now", in: (span) => `in ${span}`, days: { "-1": "yesterday", 0: "today", 1: "tomorrow" },
    from: (at) => `since ${at}`,
    next: (span) => `next in ${span}`, soon: "next now",
    round: { asking: "asking…", live: "just arrived", held: "asked a moment ago", late: "too late",
      failed: "failed", lost: "no answer" },
    more: (n) => `and ${n} more`,
    links: { data: "data", health: "health", metrics: "metrics", api: "API" },
    search: "Search", copy: "Copy", copied: "Copied", range: (from, to) => `between ${from} and ${to}`,
    sections: { values: "Values", history: "History", providers: "Providers", from: "Computed from" },
    facts: { attempt: "last attempt", latency: "latency", since: "failing since", failures: "failures in a row", next: "next attempt",
      held: "held until", calls: "calls a day", filter: "filter", provider: "provider", fetched: "read", maxStale: "dropped after" },
    attempts: { pass: "answers", fail: "failing", warn: "overtaken by another", unknown: "no attempts" }, unnamed: "data", standIn: "only if those before it fail",
    news: { crit: (n) => `${n} is critical`, warn: (n) => `${n} is at a warning level`, failing: (n) => `${n} is failing`, covered: (n) => `a fallback answers for ${n}`, recovered: (n) => `${n} recovered`, stale: (n) => `${n} went stale`,
      missing: (n) => `${n} has no data`, many: (n) => `${n} sources changed`,
      lost: "Connection lost", regained: "Connection regained",
      round: (n, of, held) => `${n} of ${of} arrived${held ? `; ${held} asked a moment ago` : ""}` },
  },
};

const preferred = navigator.languages?.find((tag) => /^(es|en)\b/i.test(tag)) ?? "en";

/** The language tag of the page, for numbers and times. */
export const language = preferred;
/** The texts in this language. */
export const words = WORDS[preferred.slice(0, 2).toLowerCase()];

const CLOCK = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(language, { day: "numeric", month: "short" });

/** An instant as hour and minute, with the date if it is more than 12 hours old. */
export function clockTime(instant, now) {
  const time = CLOCK.format(instant);
  return now - instant < 12 * 3600e3 ? time : `${DAY.format(instant)} ${time}`;
}

/** A duration in at most two units, rounded down. */
export function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return pair(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return pair(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
}

function pair(most, unit, rest, small) {
  return rest ? `${most} ${unit} ${rest} ${small}` : `${most} ${unit}`;
}

const LATENCY = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });

/** How long an attempt took, given in milliseconds; null if none has ended. */
export function latency(ms) {
  if (ms === null) return "";
  if (ms < 1) return "< 1 ms";
  return ms < 1000 ? `${Math.round(ms)} ms` : `${LATENCY.format(ms / 1000)} s`;
}
