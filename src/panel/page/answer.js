// Parses a response of `/resumen` into the objects of this page. Instants are milliseconds since the epoch.

import { parse } from "./json.js";

/** Parses the text of a response: its version, its time, and each source in order. */
export function readAnswer(text) {
  const answer = parse(text);
  const sources = new Map();
  for (const [name, result] of answer.get("resultados")) sources.set(name, readSource(result));
  return { version: answer.get("version"), generatedAt: instant(answer.get("generated_at")), sources };
}

function readSource(result) {
  const has = result.get("ok") === true;
  return {
    has,
    data: result.get("data"),
    provider: result.get("provider"),
    fetchedAt: has ? instant(result.get("fetched_at")) : null,
    stale: result.get("stale") === true,
    ms: result.has("ms") ? Number(result.get("ms")) : null,
    live: result.get("from") === "live",
    error: result.get("error") ?? null,
    code: result.get("code") ?? null,
    since: result.has("failing_since") ? instant(result.get("failing_since")) : null,
    attribution: result.get("attribution") ?? null,
    // Set from the health report.
    hidden: null,
  };
}

/** `fresh`, `stale`, `missing` or `pending`. A pending source is missing because its first attempt has not finished. */
export function freshness(source) {
  if (source.has) return source.stale ? "stale" : "fresh";
  return source.code === "pending" ? "pending" : "missing";
}

/** Whether the latest attempt at the source is a failure. */
export function failing(source) {
  return source.code !== null && source.code !== "pending" && source.code !== "expired";
}

/** The failure of a source, else that of a provider that another provider replaces; null if neither fails. */
export function trouble(source) {
  return source.code !== null && source.code !== "pending" ? source : source.hidden;
}

export function instant(text) {
  return text ? Date.parse(text) : null;
}
