// All data of one source, with exact values: opened from its card.

import { trouble } from "./answer.js";
import { arrange, element, write } from "./dom.js";
import { Digits } from "./json.js";
import { instantOf, sayInstant } from "./times.js";
import { clockTime, latency, span, words } from "./words.js";

/** Maximum number of values shown; a provider may send a megabyte. */
const VALUES = 1000;

export class Detail {
  #name = null;
  #shown = null;

  constructor() {
    this.title = element("h2");
    this.title.id = "detail-title";
    this.facts = element("p", "facts");
    this.trouble = element("p", "trouble missing");
    this.list = element("div", "leaves");
    this.more = element("p", "facts");
    const close = element("button", "", words.close);
    close.type = "button";
    close.addEventListener("click", () => this.element.close());
    this.element = element("dialog", "detail", element("header", "", this.title, close), this.facts, this.trouble, this.list, this.more);
    this.element.setAttribute("aria-labelledby", this.title.id);
    this.element.addEventListener("close", () => (this.#name = null));
    this.element.addEventListener("click", (event) => event.target === this.element && this.element.close());
  }

  /** Opens the dialog for a source. */
  open(name, title) {
    this.#name = name;
    this.#shown = null;
    write(this.title, title);
    this.element.showModal();
  }

  /** Shows the newest reading of the open source. */
  show(sources, now) {
    const source = this.#name === null ? null : sources.get(this.#name);
    if (!source || this.#shown === source) return;
    this.#shown = source;
    const failure = trouble(source);
    const facts = [
      source.provider, latency(source.ms), source.has && words.ago(span(now - source.fetchedAt)),
      source.has && new Date(source.fetchedAt).toISOString(), source.attribution,
    ];
    write(this.facts, facts.filter(Boolean).join(" · "));
    this.trouble.hidden = failure === null;
    write(this.trouble, failure ? `${failure.code}: ${failure.error}${failure.since ? ` (${words.from(clockTime(failure.since, now))})` : ""}` : "");
    const leaves = [];
    if (source.has) collect(source.data, [], leaves);
    arrange(this.list, leaves.slice(0, VALUES).map(({ path, value }) => this.#leaf(path, value, now)));
    write(this.more, leaves.length > VALUES ? words.more(leaves.length - VALUES) : "");
  }

  #leaf(path, value, now) {
    const at = typeof value === "string" ? instantOf(value) : null;
    const text = element("span", typeof value === "string" ? "text" : "exact", exact(value));
    text.dir = "auto";
    const copied = [this.#name, ...path].map(encodeURIComponent).join("/");
    const copy = element("button", "path", path.join(".") || this.#name);
    copy.type = "button";
    copy.title = `${words.copy}: ${copied}`;
    copy.addEventListener("click", () => copyText(copied, copy));
    return element("div", "leaf", copy, text, element("span", "said", at === null ? "" : sayInstant(at, now)));
  }
}

async function copyText(text, button) {
  const before = button.textContent;
  // Only pages from a secure origin may write to the clipboard.
  await navigator.clipboard?.writeText(text);
  if (!navigator.clipboard) return;
  write(button, words.copied);
  setTimeout(write, 1200, button, before);
}

function collect(value, path, leaves) {
  const members = value instanceof Map ? [...value] : Array.isArray(value) ? value.map((member, at) => [String(at), member]) : [];
  if (members.length === 0) leaves.push({ path, value });
  for (const [key, member] of members) collect(member, [...path, key], leaves);
}

function exact(value) {
  if (value instanceof Digits) return value.text;
  if (typeof value === "string") return value;
  return value instanceof Map ? "{}" : Array.isArray(value) ? "[]" : String(value);
}
