// The history of each value, and the chart that shows it.

import { svg } from "./icons.js";

/** Maximum number of points of one value; the server keeps as many. */
const POINTS = 120;
/** Maximum number of values of one source: keys may be dates. */
const SERIES = 100;
const WIDTH = 200;
const HEIGHT = 40;

/** The recent numbers of every source. */
export class History {
  #sources = new Map();

  /** Adds the server's history: `{source: {times: […], values: {path: […]}}}`, with null for a missing number. */
  load(history) {
    for (const [name, { times, values }] of Object.entries(history)) {
      for (const [path, numbers] of Object.entries(values)) this.#prepend(name, path, times, numbers);
    }
  }

  /** Adds the numbers of one reading. */
  add(name, at, rows) {
    for (const row of rows) {
      if (row.kind !== "number" || !Number.isFinite(row.value)) continue;
      const points = this.points(name, row.path);
      if (points.length > 0 && points.at(-1).at >= at) continue;
      points.push({ at, value: row.value });
      if (points.length > POINTS) points.shift();
    }
  }

  /** Removes the sources that are not in `names`. */
  keep(names) {
    for (const name of this.#sources.keys()) if (!names.has(name)) this.#sources.delete(name);
  }

  /** The points of one value, oldest first. */
  points(name, path) {
    if (!this.#sources.has(name)) this.#sources.set(name, new Map());
    const paths = this.#sources.get(name);
    if (!paths.has(path)) paths.set(path, []);
    if (paths.size > SERIES) paths.delete(paths.keys().next().value);
    return paths.get(path);
  }

  #prepend(name, path, times, numbers) {
    const points = this.points(name, path);
    const first = points[0]?.at ?? Infinity;
    const older = times.map((at, i) => ({ at, value: numbers[i] })).filter((p) => p.at < first && p.value !== null);
    points.unshift(...older);
    points.splice(0, Math.max(0, points.length - POINTS));
  }
}

/** Creates an empty chart; `draw` fills it. */
export function spark() {
  const box = svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  box.append(svg("path", { class: "area" }), svg("path", { class: "line" }), svg("path", { class: "dot" }));
  return box;
}

/** Draws points at their times. `label` is the text for screen readers. */
export function draw(box, points, label) {
  const [area, line, dot] = box.children;
  const drawn = points.length > 1;
  box.classList.toggle("bare", !drawn);
  box.setAttribute("aria-hidden", String(!drawn));
  if (!drawn) return;
  const places = place(points);
  const path = `M${places.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;
  const [endX, endY] = places.at(-1);
  line.setAttribute("d", path);
  area.setAttribute("d", `${path}L${endX} ${HEIGHT}L${places[0][0]} ${HEIGHT}z`);
  // A line of length 0 with round caps is a dot that stays round when the view box is stretched.
  dot.setAttribute("d", `M${endX} ${endY}h0`);
  box.setAttribute("aria-label", label);
}

/** The smallest and the largest of the points. */
export function extremes(points) {
  const numbers = points.map((point) => point.value);
  return [Math.min(...numbers), Math.max(...numbers)];
}

function place(points) {
  const [low, high] = extremes(points);
  const begin = points[0].at;
  const x = (at) => ((WIDTH - 3) * (at - begin)) / Math.max(1, points.at(-1).at - begin);
  const y = (value) => (high > low ? HEIGHT - 4 - ((HEIGHT - 8) * (value - low)) / (high - low) : HEIGHT / 2);
  return points.map((point) => [x(point.at), y(point.value)]);
}
