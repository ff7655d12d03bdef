// How wide a text will be, so that the largest type that fits can be chosen before anything is laid out.

const SIZE = 100;
let canvas = null;

/** The width of `text` in em of the page's heavy type. All digits count alike: a change of value changes no size. */
export function ems(text) {
  canvas ??= prepare();
  return canvas.measureText(text.replace(/\d/g, "0")).width / SIZE;
}

function prepare() {
  const context = document.createElement("canvas").getContext("2d");
  context.font = `600 ${SIZE}px ${getComputedStyle(document.body).fontFamily}`;
  return context;
}
