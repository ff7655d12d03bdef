// When each source will be asked next, and which of its providers fails though another one answers, from the server's own
// health report; without it the page leaves that out.

import { instant } from "./answer.js";

const REPORT = "salud/fuentes";
/** At most one question in so many milliseconds. */
const GENTLY = 5000;
/** Between two questions while nothing changes. */
const IDLE = 60_000;
/** A provider that another one hides is told of when it has failed for so long: now and then means nothing. */
const LASTING = 30_000;

export class Plan {
  #tell;
  #told;
  #due = Infinity;
  #earliest = 0;

  /** `tell(name, instant, hidden)` is told of each source, then `told()` that this was all. */
  constructor(tell, told) {
    this.#tell = tell;
    this.#told = told;
  }

  /** A snapshot has changed, and plans with it. */
  changed() {
    this.#due = Math.min(this.#due, performance.now() + 500);
  }

  /** Asks if it is time to. */
  tick() {
    const now = performance.now();
    if (document.hidden || now < this.#due || now < this.#earliest) return;
    this.#earliest = now + GENTLY;
    this.#due = now + IDLE;
    this.#ask().catch(() => {});
  }

  async #ask() {
    const answer = await fetch(REPORT, { cache: "no-store" });
    if (!answer.ok) {
      this.#earliest = performance.now() + IDLE;
      return;
    }
    const { checks, time } = await answer.json();
    for (const [name, [check]] of Object.entries(checks)) this.#tell(name, instant(check.next_attempt), hidden(check, time));
    this.#told();
  }
}

/** The first provider that has failed for a while and is preferred to the one that answers, as trouble; null for none. */
function hidden(check, time) {
  const lasting = ({ status, failing_since: since }) => status === "fail" && instant(time) - instant(since) >= LASTING;
  const answering = check.providers?.findIndex(({ provider }) => provider === check.provider) ?? -1;
  const found = check.providers?.slice(0, Math.max(0, answering)).find(lasting);
  return found ? { who: found.provider, code: found.code, error: found.output, since: instant(found.failing_since) } : null;
}
