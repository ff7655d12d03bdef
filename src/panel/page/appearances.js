// The operator's choice of titles, units, limits, order and groups, by source.

import { address } from "./address.js";

/** Time between two requests, in milliseconds: a reload of the configuration may change it. */
const INTERVAL = 60_000;

export class Appearances {
  #onAppearance;
  #onDone;
  #appearances = new Map();
  #due = 0;
  #size = 0;

  /** Calls `onAppearance(name, appearance)` for each source whose appearance has changed, then `onDone()`. */
  constructor(onAppearance, onDone) {
    this.#onAppearance = onAppearance;
    this.#onDone = onDone;
  }

  /** The appearance of a source: `{title, group, order, unit, decimals, thresholds, paths}`; undefined if nothing is said. */
  get(name) {
    return this.#appearances.get(name);
  }

  /** Requests the appearances if it is time, or if the number of sources changed. */
  tick(size) {
    const now = performance.now();
    if (document.hidden || (now < this.#due && size === this.#size)) return;
    this.#size = size;
    this.#due = now + INTERVAL;
    this.#request().catch(() => {});
  }

  /** The names by group, in the order of the groups' first sources, and in a group by `order`. */
  grouped(names) {
    const place = (name) => this.get(name)?.order ?? Infinity;
    const ordered = [...names].sort((a, b) => (place(a) === place(b) ? 0 : place(a) - place(b)));
    const groups = new Map(ordered.map((name) => [this.get(name)?.group ?? "", []]));
    for (const name of ordered) groups.get(this.get(name)?.group ?? "").push(name);
    return groups;
  }

  async #request() {
    const answer = await fetch(address("panel/appearance.json"), { cache: "no-store" });
    if (!answer.ok) return;
    const before = this.#appearances;
    this.#appearances = new Map(Object.entries((await answer.json()).sources));
    for (const name of new Set([...before.keys(), ...this.#appearances.keys()])) {
      const appearance = this.#appearances.get(name);
      if (JSON.stringify(appearance) !== JSON.stringify(before.get(name))) this.#onAppearance(name, appearance);
    }
    this.#onDone();
  }
}
