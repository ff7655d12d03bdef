// The server's clock, seen from here. An age is the server's now minus `fetched_at`: this machine's clock may be an hour
// off, and a body may have waited in a cache.
//
// Every sample is an instant at which the server's clock had already arrived when the sample did, so each one gives a
// lower bound and the largest of them is the best. A body from a cache only gives a worse bound and is outvoted.

const WINDOW = 10 * 60 * 1000;
const STEP = 2000;

export class ServerClock {
  #samples = [];
  #offset = Date.now() - performance.now();
  #slept = 0;
  #wall = Date.now() - performance.now();

  /** The server's now. */
  now() {
    return this.#local() + this.#offset;
  }

  /** Takes an instant that the server's clock had passed by now. */
  sample(instant) {
    if (!Number.isFinite(instant)) return;
    const at = this.#local();
    this.#samples = this.#samples.filter((sample) => at - sample.at < WINDOW);
    this.#samples.push({ at, offset: instant - at });
    if (this.#samples.length > 120) this.#samples.shift();
    this.#offset = Math.max(...this.#samples.map((sample) => sample.offset));
  }

  /** Takes the head of an answer; `Age` tells how long it has been in caches. */
  sampleHead(headers) {
    this.sample(Date.parse(headers.get("date")) + 1000 * Number(headers.get("age") ?? 0));
  }

  /** Whether this machine slept, or its clock was moved, since the last question: then bounds are to be had anew. */
  jumped() {
    const wall = Date.now() - performance.now();
    const step = wall - this.#wall;
    if (Math.abs(step) < STEP) return false;
    // The monotonic clock stands still while a machine sleeps. Rather an age too large than one too small.
    if (step > 0) this.#slept += step;
    this.#wall = wall;
    this.#samples = [];
    return true;
  }

  #local() {
    return performance.now() + this.#slept;
  }
}
