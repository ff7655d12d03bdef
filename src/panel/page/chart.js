// A chart with axes of what the history holds of one number.

import { element, write } from "./dom.js";
import { draw, extremes, spark } from "./spark.js";
import { language, words } from "./words.js";

const MINUTE = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const SECOND = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export class Chart {
  constructor() {
    this.caption = element("figcaption");
    this.values = element("div", "axis values-axis");
    this.times = element("div", "axis times-axis");
    this.spark = spark();
    this.element = element("figure", "chart", this.caption, this.values, this.spark, this.times);
  }

  /** Shows at least two points, oldest first. `say` writes a number with its unit, `sayExactly` with more digits. */
  show(label, points, say, sayExactly) {
    write(this.caption, label);
    const [low, high] = extremes(points);
    const [begin, end] = [points[0].at, points.at(-1).at];
    const middle = Number(((low + high) / 2).toPrecision(12));
    const values = low < high ? [high, middle, low] : [low];
    const texts = values.map(say);
    const areDistinct = new Set(texts).size === texts.length;
    tick(this.values, areDistinct ? texts : values.map(sayExactly));
    const format = end - begin < 10 * 60e3 ? SECOND : end - begin < 20 * 3600e3 ? MINUTE : DAY;
    tick(this.times, [begin, (begin + end) / 2, end].map((at) => format.format(at)));
    draw(this.spark, points, `${label}: ${words.range(say(low), say(high))}`);
  }
}

function tick(axis, texts) {
  if (axis.children.length !== texts.length) axis.replaceChildren(...texts.map(() => element("span")));
  texts.forEach((text, at) => write(axis.children[at], text));
}
