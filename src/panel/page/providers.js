// The providers of a source: last attempt, failure, next attempt, calls a day and filter; of a derived source its inputs.

import { address } from "./address.js";
import { instant } from "./answer.js";
import { badge } from "./card.js";
import { element, write } from "./dom.js";
import { clockTime, latency, span, words } from "./words.js";

const STATES = { pass: "fresh", fail: "missing", warn: "stale", unknown: "pending" };

export class Providers {
  #definition = { providers: [] };
  #checks = [];
  #times = [];

  constructor() {
    this.element = element("div", "providers");
  }

  /** Sets what the configuration says: `{providers: [{name, extract, calls_per_day}]}` or `{from, extract}`. */
  define(definition) {
    this.#definition = definition;
    this.#show();
  }

  /** Sets what the health report says. */
  check({ providers }) {
    this.#checks = providers;
    this.#show();
  }

  /** Updates the texts that depend on the current time. */
  tick(now) {
    for (const { node, at, isPlanned } of this.#times) {
      const ahead = at - now;
      const planned = ahead < 1000 ? words.now : words.in(span(ahead));
      write(node, isPlanned ? planned : `${clockTime(at, now)} · ${words.ago(span(-ahead))}`);
    }
  }

  #show() {
    this.#times = [];
    const { from, extract, providers = [] } = this.#definition;
    if (from) this.element.replaceChildren(inputs(from), element("pre", "", extract));
    else if (providers.length > 0) this.element.replaceChildren(...providers.map((provider) => this.#provider(provider)));
    else this.element.replaceChildren(...this.#checks.map(({ provider }) => this.#provider({ name: provider })));
  }

  #provider({ name, extract, calls_per_day: calls }) {
    const check = this.#checks.find(({ provider }) => provider === name) ?? {};
    // Before the first report, nothing is known of the attempts.
    const state = check.status ? [badge(STATES[check.status])] : [];
    for (const one of state) write(one.lastElementChild, words.attempts[check.status]);
    const facts = element("dl", "");
    const { facts: labels } = words;
    const add = (label, value) => value && facts.append(element("div", "", element("dt", "", label), element("dd", "", value)));
    add(labels.attempt, this.#time(check.time));
    add(labels.latency, check.ms === undefined ? "" : latency(check.ms));
    add(labels.since, this.#time(check.failing_since));
    add(labels.failures, check.consecutive_failures ? String(check.consecutive_failures) : "");
    // A provider that only stands in has no attempt of its own that is planned.
    if (calls !== 0) add(labels.next, this.#time(check.next_attempt, true));
    add(labels.held, this.#time(check.held_until, true));
    add(labels.calls, calls === 0 ? words.standIn : String(calls ?? ""));
    const error = check.output ? [element("p", check.status === "fail" ? "error" : "", [check.code, check.output].filter(Boolean).join(": "))] : [];
    const filter = extract ? [element("p", "facts", labels.filter), element("pre", "", extract)] : [];
    return element("article", "", element("h3", "", name, ...state), ...error, facts, ...filter);
  }

  /** An instant in the past, or one that is planned. */
  #time(text, isPlanned = false) {
    if (!text) return "";
    const node = element("time");
    node.dateTime = text;
    node.title = text;
    this.#times.push({ node, at: instant(text), isPlanned });
    return node;
  }
}

function inputs(names) {
  const links = names.map((name) => Object.assign(element("a", "", name), { href: address(`fuente/${name}`) }));
  return element("p", "inputs", `${words.sections.from} `, ...links.flatMap((link, at) => (at > 0 ? [", ", link] : [link])));
}
