// What an answer of `/resumen` says, in the words of this page. Instants are milliseconds since 1970.

import { parse } from "./json.js";

/** Reads the text of an answer: when it was written, and what it tells of each source, in its order. */
export function readAnswer(text) {
  const answer = parse(text);
  const sources = new Map();
  for (const [name, told] of answer.get("resultados")) sources.set(name, readSource(told));
  return { version: answer.get("version"), generatedAt: instant(answer.get("generated_at")), sources };
}

function readSource(told) {
  const has = told.get("ok") === true;
  return {
    has,
    data: told.get("data"),
    provider: told.get("provider"),
    fetchedAt: has ? instant(told.get("fetched_at")) : null,
    stale: told.get("stale") === true,
    ms: told.has("ms") ? Number(told.get("ms")) : null,
    live: told.get("from") === "live",
    error: told.get("error") ?? null,
    code: told.get("code") ?? null,
    since: told.has("failing_since") ? instant(told.get("failing_since")) : null,
    attribution: told.get("attribution") ?? null,
    // Only the health report knows.
    hidden: null,
  };
}

/** fresh, stale, missing, or pending: missing because nothing has been tried yet. */
export function freshness(source) {
  if (source.has) return source.stale ? "stale" : "fresh";
  return source.code === "pending" ? "pending" : "missing";
}

/** Whether the latest attempt at the source is a failure. */
export function failing(source) {
  return source.code !== null && source.code !== "pending" && source.code !== "expired";
}

/** What is wrong with a source and since when: its own failure, else that of a provider that another one hides; or null. */
export function trouble(source) {
  return source.code !== null && source.code !== "pending" ? source : source.hidden;
}

export function instant(text) {
  return text ? Date.parse(text) : null;
}
