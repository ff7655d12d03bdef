// The icons of the states. They differ in shape, not only in colour.

const SVG = "http://www.w3.org/2000/svg";

/** SVG paths in a view box of 16 by 16. */
export const SHAPES = {
  fresh: "M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 1 1 0-13z",
  stale: "M8 1.5 15 14H1z",
  missing: "M3 1 8 6l5-5 2 2-5 5 5 5-2 2-5-5-5 5-2-2 5-5-5-5z",
  failing: "M8 .5 15.5 8 8 15.5.5 8z",
  crit: "M8 1 15.5 9H11v6H5V9H.5z",
  warn: "M8 1 15.5 9H11v6H5V9H.5zm0 3L5 7.5h1.7V13h2.6V7.5H11z",
  covered: "M8 .5 15.5 8 8 15.5.5 8zm0 3.5L4 8l4 4 4-4z",
  pending: "M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 1 1 0-13zm0 2.5a4 4 0 1 0 0 8a4 4 0 1 0 0-8z",
};

/** Creates an SVG element with these attributes. */
export function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** The icon of a state. Hidden from screen readers, which read the text beside it. */
export function icon(state) {
  const box = svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" });
  box.append(svg("path", { d: SHAPES[state], "fill-rule": "evenodd" }));
  return box;
}
