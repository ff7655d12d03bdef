// One value of a source with its exact text, and buttons that copy its addresses.

import { address } from "./address.js";
import { element, visible, write } from "./dom.js";
import { Digits } from "./json.js";
import { shape } from "./values.js";
import { words } from "./words.js";

const IDENTIFIER = /^[A-Za-z_]\w*$/;

/** The scalars and empty containers of `value` with their paths, in the order of the data. */
export function leavesOf(value, path = []) {
  const members = value instanceof Map ? [...value] : Array.isArray(value) ? [...value.entries()] : [];
  if (members.length === 0) return [{ path, value }];
  return members.flatMap(([key, member]) => leavesOf(member, [...path, key]));
}

export class Leaf {
  /** The keys of `path` are texts, the indices numbers. */
  constructor(name, path) {
    this.path = path.map(String);
    this.label = element("span", "path", visible(this.path.join(".")) || words.unnamed);
    this.exact = element("span", "exact");
    this.said = element("span", "said");
    this.label.dir = "auto";
    this.exact.dir = "auto";
    const valor = address(["valor", name, ...this.path.map(encodeURIComponent)].join("/"));
    this.element = element("div", "leaf", this.label, this.exact, this.said, copyButton("/valor", valor), copyButton("jq", jqPath(path)));
  }

  /** Shows the value; what people say of it only if that is another text. */
  show(value, appearance, now) {
    const exact = exactText(value);
    write(this.exact, visible(exact));
    const isScalar = typeof value !== "object" || value === null || value instanceof Digits;
    const { kind, forms, unit, level } = isScalar ? shape(value, this.path, { appearance, now }) : { forms: [exact] };
    const said = [forms[0], unit].filter(Boolean).join(" ");
    // An empty text would look like a missing one.
    const isSaid = kind === "empty" ? exact.trim() === "" : kind !== "text" && said !== exact;
    write(this.said, isSaid ? said : "");
    this.said.className = level ? `said ${level}` : "said";
  }
}

function exactText(value) {
  if (value instanceof Map) return "{}";
  return Array.isArray(value) ? "[]" : String(value);
}

/** `.fs[0].used`, `."a-b"`: the filter that gives the value of this path. */
function jqPath(path) {
  const steps = path.map((key) => (typeof key === "number" ? `[${key}]` : IDENTIFIER.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`));
  const text = steps.join("");
  return text.startsWith(".") ? text : `.${text}`;
}

function copyButton(label, text) {
  const button = element("button", "copy", label);
  button.type = "button";
  button.title = `${words.copy}: ${text}`;
  button.setAttribute("aria-label", button.title);
  button.addEventListener("click", async () => {
    write(button, (await copied(text)) ? words.copied : text);
    setTimeout(write, 1500, button, label);
  });
  return button;
}

/** Copies a text. The clipboard's own interface is only for pages of a secure origin; the older one is for all. */
async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const field = Object.assign(element("textarea"), { value: text });
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}
