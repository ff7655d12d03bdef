// Reads the server's health report: when the next attempt at each source is planned, and which provider fails while
// another provider supplies its source. Without the report, the page leaves both out.

import { address } from "./address.js";
import { instant } from "./answer.js";

/** Minimum time between two requests, in milliseconds, as all times below. */
const MIN_INTERVAL = 5000;
/** Time between two requests while no snapshot changes. */
const IDLE = 60_000;
/** A replaced provider is shown once it has failed for this long: a single failure means nothing. */
const MIN_FAILING = 30_000;

export class Plan {
  #onSource;
  #onDone;
  #due = Infinity;
  #earliest = 0;

  /** Calls `onSource(name, check, time)` for each source of a report made at `time`, then `onDone()`. */
  constructor(onSource, onDone) {
    this.#onSource = onSource;
    this.#onDone = onDone;
  }

  /** Schedules a request: the snapshot has changed, and with it the planned attempts. The first one is made at once. */
  changed() {
    const isFirst = this.#earliest === 0;
    this.#due = Math.min(this.#due, performance.now() + (isFirst ? 0 : 500));
    if (isFirst) this.tick();
  }

  /** Requests the report if it is time. */
  tick() {
    const now = performance.now();
    if (document.hidden || now < this.#due || now < this.#earliest) return;
    this.#earliest = now + MIN_INTERVAL;
    this.#due = now + IDLE;
    this.#request().catch(() => {});
  }

  async #request() {
    const answer = await fetch(address("salud/fuentes"), { cache: "no-store" });
    if (!answer.ok) {
      this.#earliest = performance.now() + IDLE;
      // With a listener for operators, this one has none of the reports that the links lead to.
      document.querySelector("footer nav").hidden = answer.status === 404;
      return;
    }
    const { checks, time } = await answer.json();
    for (const [name, [check]] of Object.entries(checks)) this.#onSource(name, check, time);
    this.#onDone();
  }
}

/** The failure of the first provider that has failed for a while and is preferred to the one in use; null for none. */
export function hiddenFailure(check, time) {
  const isLasting = ({ status, failing_since: since }) => status === "fail" && instant(time) - instant(since) >= MIN_FAILING;
  const inUse = check.providers?.findIndex(({ provider }) => provider === check.provider) ?? -1;
  const failed = check.providers?.slice(0, Math.max(0, inUse)).find(isLasting);
  if (!failed) return null;
  const since = instant(failed.failing_since);
  return { failingProvider: failed.provider, code: failed.code, error: failed.output, since };
}
