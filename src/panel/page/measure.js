// Measures texts before layout, so that CSS can choose the largest type that fits.

const SIZE = 100;
let canvas = null;

/** The width of `text` in em of the page's semibold type. All digits count as 0, so that a new value keeps its size. */
export function ems(text) {
  canvas ??= prepare();
  return canvas.measureText(text.replace(/\d/g, "0")).width / SIZE;
}

function prepare() {
  const context = document.createElement("canvas").getContext("2d");
  context.font = `600 ${SIZE}px ${getComputedStyle(document.body).fontFamily}`;
  return context;
}
