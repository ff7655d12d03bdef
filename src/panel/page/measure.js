// Measures texts before layout, so that CSS can choose the largest type that fits.

const SIZE = 100;
/** Maximum number of widths that are kept. */
const KEPT = 5000;
const widths = new Map();
let canvas = null;

/** The width of `text` in em of the page's semibold type. All digits count as 0, so that a new value keeps its size. */
export function ems(text) {
  const measured = text.replace(/\d/g, "0");
  let width = widths.get(measured);
  if (width !== undefined) return width;
  canvas ??= prepare();
  width = canvas.measureText(measured).width / SIZE;
  if (widths.size >= KEPT) widths.clear();
  widths.set(measured, width);
  return width;
}

function prepare() {
  const context = document.createElement("canvas").getContext("2d");
  context.font = `600 ${SIZE}px ${getComputedStyle(document.body).fontFamily}`;
  return context;
}
