// How snapshots arrive: pushed by the stream while there is one, asked for every few seconds while there is none.
//
// The stream is opened again by ourselves, not by the browser, after a pause that grows and differs from page to page, so
// that a hundred walls do not come back in the same second.

const STREAM = "resumen/stream";
const SNAPSHOT = "resumen";
/** Between two questions while there is no stream, in milliseconds. */
const POLL = 5000;
/** How long a question may take. */
const PATIENCE = 10_000;
/** A stream that tells nothing for so long is checked with a question: its heartbeats cannot be seen from here. */
const SILENCE = 30_000;
/** How long the first event may take, and one that a question proved to be missing. */
const GREETING = 2000;
/** The longest pause before the stream is opened again. */
const LONGEST = 30_000;

export class Feed {
  #clock;
  #take;
  #tell;
  #source = null;
  #open = false;
  #failures = 0;
  #reopenAt = 0;
  #askAt = performance.now() + GREETING;
  #asking = false;
  #version = null;
  #heardAt = 0;

  /** `take` gets the text of each snapshot, `tell` the link's state: `stream`, `polling` or `lost`. */
  constructor(clock, take, tell) {
    this.#clock = clock;
    this.#take = take;
    this.#tell = tell;
    addEventListener("online", () => this.#hurry());
    addEventListener("visibilitychange", () => document.hidden || this.#hurry());
  }

  /** Does what is due; called every second. */
  tick() {
    if (this.#clock.jumped()) this.#hurry();
    const now = performance.now();
    if (!this.#source && now >= this.#reopenAt) this.#connect();
    if (now >= this.#askAt) this.#ask();
  }

  #connect() {
    const source = new EventSource(STREAM);
    this.#source = source;
    source.onopen = () => {
      this.#open = true;
      this.#failures = 0;
      this.#tell("stream");
    };
    source.addEventListener("resumen", (event) => {
      this.#heardAt = performance.now();
      this.#askAt = this.#heardAt + SILENCE;
      this.#version = event.lastEventId;
      this.#take(event.data);
    });
    source.onerror = () => this.#disconnect();
  }

  #disconnect() {
    this.#source?.close();
    this.#source = null;
    this.#open = false;
    const pause = Math.min(LONGEST, 1000 * 2 ** this.#failures++);
    const now = performance.now();
    this.#reopenAt = now + pause * (0.5 + Math.random() / 2);
    this.#askAt = Math.min(this.#askAt, now + 300 + Math.random() * 700);
  }

  async #ask() {
    if (this.#asking) return;
    this.#asking = true;
    this.#askAt = performance.now() + POLL * (0.8 + Math.random() * 0.4);
    try {
      const text = await this.#fetch();
      if (this.#open) this.#checkStream(text);
      else this.#tell("polling");
      this.#take(text);
    } catch {
      if (this.#open) this.#disconnect();
      this.#tell("lost");
    } finally {
      this.#asking = false;
    }
  }

  async #fetch() {
    const answer = await fetch(SNAPSHOT, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    this.#clock.sampleHead(answer.headers);
    return answer.text();
  }

  /** A stream that has missed a version is dead, even if nobody has closed it; the event may just be on its way. */
  #checkStream(text) {
    const now = performance.now();
    this.#askAt = now + SILENCE;
    if (text.includes(`"version":"${this.#version}"`)) return;
    setTimeout(() => this.#open && this.#heardAt < now && this.#disconnect(), GREETING);
  }

  #hurry() {
    const now = performance.now();
    this.#reopenAt = Math.min(this.#reopenAt, now);
    this.#askAt = Math.min(this.#askAt, now);
  }
}
