// The failure of a source, or of a provider that another provider replaces.

import { element, write } from "./dom.js";
import { clockTime, span, words } from "./words.js";

export class Trouble {
  constructor() {
    this.code = element("span", "code");
    this.since = element("span", "since");
    this.lasting = element("span", "since");
    this.message = element("span", "message");
    const head = element("p", "", this.code, " ", this.since, " ", this.lasting);
    this.element = element("div", "trouble", head, this.message);
    this.element.hidden = true;
  }

  get isShown() {
    return !this.element.hidden;
  }

  /** Shows a failure; null for none. Returns whether it appeared or went away. */
  show(failure) {
    const changed = this.element.hidden !== (failure === null);
    this.element.hidden = failure === null;
    const provider = failure?.failingProvider;
    this.element.classList.toggle("failing", Boolean(provider));
    write(this.code, provider ? `${provider}: ${failure.code}` : (failure?.code ?? ""));
    write(this.message, failure?.error ?? "");
    this.message.title = failure?.error ?? "";
    if (!failure?.since) [this.since, this.lasting].forEach((part) => write(part, ""));
    return changed;
  }

  tick(failure, now) {
    if (!failure?.since) return;
    write(this.since, words.from(clockTime(failure.since, now)));
    write(this.lasting, `· ${span(now - failure.since)}`);
  }
}
