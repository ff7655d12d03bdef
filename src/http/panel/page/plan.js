// When each source will be asked next, from the server's own health report; without it the cards leave that out.

import { instant } from "./answer.js";

const REPORT = "salud/fuentes";
/** At most one question in so many milliseconds. */
const GENTLY = 5000;
/** Between two questions while nothing changes. */
const IDLE = 60_000;

export class Plan {
  #tell;
  #due = Infinity;
  #earliest = 0;

  /** `tell(name, instant)` is told of each source. */
  constructor(tell) {
    this.#tell = tell;
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
    const { checks } = await answer.json();
    for (const [name, [check]] of Object.entries(checks)) this.#tell(name, instant(check.next_attempt));
  }
}
