// Reloads the page after an upgrade of the server. A page may stay open over many releases.

import { address } from "./address.js";

const KEY = "resumen.reloaded";
/** Minimum time between two reloads: with replicas of two releases behind one address, a page would reload for ever. */
const MIN_RELOAD_INTERVAL = 10 * 60 * 1000;

export class Upgrade {
  #version = document.querySelector('meta[name="panel"]').content;

  /** Requests the version of the server's panel and reloads the page if it differs. */
  async check() {
    try {
      const answer = await fetch(address(""), { method: "HEAD", cache: "no-store" });
      const tag = answer.headers.get("etag");
      if (answer.ok && tag && !tag.includes(this.#version)) this.#reload();
    } catch {
      // The next reconnect checks again.
    }
  }

  #reload() {
    const last = Number(sessionStorage.getItem(KEY) ?? 0);
    if (Date.now() - last < MIN_RELOAD_INTERVAL) return;
    sessionStorage.setItem(KEY, String(Date.now()));
    location.reload();
  }
}
