// A page on a wall outlives many releases of the server: when the server comes back with another panel, the page loads it.

const KEY = "resumen.reloaded";
/** Two replicas of different releases behind one address must not make a page reload for ever. */
const AT_MOST_EVERY = 10 * 60 * 1000;

export class Upgrade {
  #version = document.querySelector('meta[name="panel"]').content;

  /** Asks which panel the server has now and loads it if it is another one. */
  async check() {
    try {
      const answer = await fetch("./", { method: "HEAD", cache: "no-store" });
      const tag = answer.headers.get("etag");
      if (answer.ok && tag && !tag.includes(this.#version)) this.#reload();
    } catch {
      // The next reconnection asks again.
    }
  }

  #reload() {
    const last = Number(sessionStorage.getItem(KEY) ?? 0);
    if (Date.now() - last < AT_MOST_EVERY) return;
    sessionStorage.setItem(KEY, String(Date.now()));
    location.reload();
  }
}
