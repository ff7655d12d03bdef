// A live round: each source is asked by itself, so that each arrives by itself.

import { failing, readAnswer } from "./answer.js";

/** Browsers open six connections to one server and the stream has one of them. */
const AT_ONCE = 5;
/** How long a card tells how its source fared, in milliseconds. */
const LINGER = 6000;

/**
 * Asks for every source; `step(name, how, source)` is told of each. Resolves to how many arrived, and to how many had
 * been asked too short a time before.
 */
export async function round(names, step) {
  const open = [...names];
  const fared = { live: 0, held: 0 };
  for (const name of names) step(name, "asking");

  async function worker() {
    for (let name = open.shift(); name; name = open.shift()) {
      const { how, source } = await ask(name);
      if (how in fared) fared[how] += 1;
      step(name, how, source);
      setTimeout(step, LINGER, name, null);
    }
  }

  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return fared;
}

async function ask(name) {
  try {
    const answer = await fetch(`resumen?fresh=1&sources=${name}`, { cache: "no-store" });
    if (!answer.ok) return { how: "lost" };
    const source = readAnswer(await answer.text()).sources.get(name);
    return { how: verdict(source), source };
  } catch {
    return { how: "lost" };
  }
}

function verdict(source) {
  if (source.live) return "live";
  // Without `failing_since` the failure is of this request alone: it did not wait long enough.
  if (source.code === "timeout" && source.since === null) return "late";
  return failing(source) ? "failed" : "held";
}
