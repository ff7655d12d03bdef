// A live round: one request per source, so that each card updates as soon as its source is fetched.

import { address } from "./address.js";
import { failing, readAnswer } from "./answer.js";
import { write } from "./dom.js";
import { words } from "./words.js";

/** Browsers open at most six connections to one server, and the event stream uses one of them. */
const CONCURRENCY = 5;
/** How long a card shows the result of its source, in milliseconds. */
const SHOW_RESULT = 6000;

/** Lets a button start a round over `names()`. Calls `onStep` as below, and `onDone(text)` with its result. */
export function startByButton(button, names, onStep, onDone) {
  write(button, words.ask);
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    write(button, words.asking);
    const asked = names();
    const { live, held } = await round(asked, onStep);
    onDone(words.news.round(live, asked.length, held));
    button.removeAttribute("aria-disabled");
    write(button, words.ask);
  });
}

/**
 * Fetches every source and calls `onStep(name, step, source)` for each. Resolves to the number of sources with a new
 * reading, and of those that were not fetched because the last attempt was too recent.
 */
async function round(names, onStep) {
  const pending = [...names];
  const counts = { live: 0, held: 0 };
  for (const name of names) onStep(name, "asking");

  async function worker() {
    for (let name = pending.shift(); name; name = pending.shift()) {
      const { step, source } = await fetchSource(name);
      if (step in counts) counts[step] += 1;
      onStep(name, step, source);
      setTimeout(onStep, SHOW_RESULT, name, null);
    }
  }

  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  return counts;
}

async function fetchSource(name) {
  try {
    const answer = await fetch(address(`resumen?fresh=1&sources=${name}`), { cache: "no-store" });
    if (!answer.ok) return { step: "lost" };
    const source = readAnswer(await answer.text()).sources.get(name);
    return { step: classify(source), source };
  } catch {
    return { step: "lost" };
  }
}

function classify(source) {
  if (source.live) return "live";
  // Without `failing_since`, the timeout is that of this request; the attempt itself goes on.
  if (source.code === "timeout" && source.since === null) return "late";
  return failing(source) ? "failed" : "held";
}
