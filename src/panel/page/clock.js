// Estimates the server's clock. An age is the server's current time minus `fetched_at`: this machine's clock may be an
// hour off, and a body may have been stored in a cache.
//
// The server's clock had passed each sample when the sample arrived, so each sample gives a lower bound of the offset and
// the largest one is the best. A body from a cache gives a smaller bound, which is ignored.

/** Maximum age of a sample, in milliseconds. */
const WINDOW = 10 * 60 * 1000;
/** Smallest difference between the wall clock and the monotonic clock that counts as a jump, in milliseconds. */
const STEP = 2000;

export class ServerClock {
  #samples = [];
  #offset = Date.now() - performance.now();
  #slept = 0;
  #wall = Date.now() - performance.now();

  /** The server's current time. */
  now() {
    return this.#local() + this.#offset;
  }

  /** Adds a sample: an instant that the server's clock has passed. */
  sample(instant) {
    if (!Number.isFinite(instant)) return;
    const at = this.#local();
    this.#samples = this.#samples.filter((sample) => at - sample.at < WINDOW);
    this.#samples.push({ at, offset: instant - at });
    if (this.#samples.length > 120) this.#samples.shift();
    this.#offset = Math.max(...this.#samples.map((sample) => sample.offset));
  }

  /** Adds a sample from response headers; `Age` is the time that the response has been in caches. */
  sampleHead(headers) {
    this.sample(Date.parse(headers.get("date")) + 1000 * Number(headers.get("age") ?? 0));
  }

  /** Whether this machine slept, or its clock was set, since the last call. If so, all samples are dropped. */
  jumped() {
    const wall = Date.now() - performance.now();
    const step = wall - this.#wall;
    if (Math.abs(step) < STEP) return false;
    // The monotonic clock stops while a machine sleeps. An overestimated age is better than an underestimated one.
    if (step > 0) this.#slept += step;
    this.#wall = wall;
    this.#samples = [];
    return true;
  }

  #local() {
    return performance.now() + this.#slept;
  }
}
