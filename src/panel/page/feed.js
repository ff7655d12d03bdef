// Receives snapshots: from the event stream, or by polling while there is no stream.
//
// This module reconnects the stream, not the browser: the delay grows and has jitter, so that many pages do not reconnect
// in the same second.

import { address } from "./address.js";

/** Polling interval without a stream, in milliseconds, as all times below. */
const POLL = 5000;
/** Timeout of a poll. */
const POLL_TIMEOUT = 10_000;
/** A stream without an event for this long is checked with a poll: a page cannot see the stream's heartbeats. */
const SILENCE = 30_000;
/** Timeout of the first event, and of an event that a poll has shown to be missing. */
const EVENT_TIMEOUT = 2000;
/** Maximum delay before the stream is opened again. */
const MAX_BACKOFF = 30_000;

export class Feed {
  #clock;
  #query;
  #onSnapshot;
  #onLinkState;
  #source = null;
  #open = false;
  #failures = 0;
  #reopenAt = 0;
  #pollAt = performance.now() + EVENT_TIMEOUT;
  #polling = false;
  #version = null;
  #eventAt = 0;

  /**
   * Calls `onSnapshot` with the text of each snapshot, `onLinkState` with `stream`, `polling` or `lost`. `query` may
   * name the sources.
   */
  constructor(clock, onSnapshot, onLinkState, query = "") {
    this.#clock = clock;
    this.#query = query;
    this.#onSnapshot = onSnapshot;
    this.#onLinkState = onLinkState;
    addEventListener("online", () => this.#retryNow());
    addEventListener("visibilitychange", () => document.hidden || this.#retryNow());
    // The browser keeps a page for its back button. Its stream would be one of the six connections to the service.
    addEventListener("pagehide", () => this.#pause());
    addEventListener("pageshow", ({ persisted }) => persisted && this.#retryNow());
  }

  /** Reconnects and polls when it is time; called every second. */
  tick() {
    if (this.#clock.jumped()) this.#retryNow();
    const now = performance.now();
    if (!this.#source && now >= this.#reopenAt) this.#connect();
    if (now >= this.#pollAt) this.#poll();
  }

  #connect() {
    const source = new EventSource(address(`resumen/stream${this.#query}`));
    this.#source = source;
    source.onopen = () => {
      this.#open = true;
      this.#failures = 0;
      this.#onLinkState("stream");
    };
    source.addEventListener("resumen", (event) => {
      this.#eventAt = performance.now();
      this.#pollAt = this.#eventAt + SILENCE;
      this.#version = event.lastEventId;
      this.#onSnapshot(event.data);
    });
    source.onerror = () => this.#disconnect();
  }

  #disconnect() {
    this.#source?.close();
    this.#source = null;
    this.#open = false;
    const pause = Math.min(MAX_BACKOFF, 1000 * 2 ** this.#failures++);
    const now = performance.now();
    this.#reopenAt = now + pause * (0.5 + Math.random() / 2);
    this.#pollAt = Math.min(this.#pollAt, now + 300 + Math.random() * 700);
  }

  async #poll() {
    if (this.#polling) return;
    this.#polling = true;
    this.#pollAt = performance.now() + POLL * (0.8 + Math.random() * 0.4);
    try {
      const text = await this.#fetch();
      if (this.#open) this.#checkStream(text);
      else this.#onLinkState("polling");
      this.#onSnapshot(text);
    } catch {
      if (this.#open) this.#disconnect();
      this.#onLinkState("lost");
    } finally {
      this.#polling = false;
    }
  }

  async #fetch() {
    const answer = await fetch(address(`resumen${this.#query}`), { cache: "no-store", signal: AbortSignal.timeout(POLL_TIMEOUT) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    this.#clock.sampleHead(answer.headers);
    return answer.text();
  }

  /** Closes a stream that has missed the version in `text`. Waits first: the event may be in flight. */
  #checkStream(text) {
    const now = performance.now();
    this.#pollAt = now + SILENCE;
    if (text.includes(`"version":"${this.#version}"`)) return;
    setTimeout(() => this.#open && this.#eventAt < now && this.#disconnect(), EVENT_TIMEOUT);
  }

  /** Disconnects until the page is shown again: it still runs for a while. */
  #pause() {
    this.#disconnect();
    this.#reopenAt = this.#pollAt = Infinity;
  }

  #retryNow() {
    const now = performance.now();
    this.#reopenAt = Math.min(this.#reopenAt, now);
    this.#pollAt = Math.min(this.#pollAt, now);
  }
}
