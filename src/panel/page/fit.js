// Chooses the columns, the height of a card and the type size: the largest type with which all cards are visible at once.
// All places have the same size, which depends on the window and on the number of cards, never on what a refresh brings.

/** Preferred width and height of a card, in rem, as all lengths below without another unit. */
const WIDTH = 22;
const HEIGHT = 16;
/** Minimum width and height of a card, and the height in a page that scrolls anyway. */
const NARROW = 13;
const SHORT = 4.1;
const SCROLLED = 11.6;
/** Maximum height of a card. */
const TALL = 28;
/** Heights from which a card has a footer of one line, and of two. */
const TIGHT = 9.5;
const ROOMY = 14.5;
/** Minimum type size as a fraction of the browser's, and maximum as a fraction of the window's shorter side. */
const LEAST = 0.94;
const MOST = 0.032;
/** Fraction of the window's height that is left for the cards. */
const CARDS = 0.87;

export class Fit {
  #main;
  #onChange;
  #root = document.documentElement;
  #reader = parseFloat(getComputedStyle(document.documentElement).fontSize);
  #seen = "";

  /** Calls `onChange` with the geometry of the cards after each layout. */
  constructor(main, onChange) {
    this.#main = main;
    this.#onChange = onChange;
  }

  /** Lays out `cards` if the window, their number or their sizes changed. */
  check(cards) {
    const seen = `${innerWidth} ${innerHeight} ${cards.map((card) => (card.isLarge ? "L" : "s")).join("")}`;
    if (cards.length === 0 || this.#seen === seen) return;
    this.#seen = seen;
    const { columns, size, rows, large } = this.#choose(cards.map((card) => card.isLarge));
    this.#root.style.fontSize = `${size.toFixed(2)}px`;
    const onPhone = columns === 1 && cards.length > 1;
    const height = this.#height(onPhone ? null : rows, size);
    this.#main.style.setProperty("--cell", onPhone ? "auto" : `${height.toFixed(3)}rem`);
    this.#root.dataset.density = density(height);
    spread(cards, columns, large, this.#main);
    this.#onChange(this.#geometry(columns, onPhone ? null : height, size, large));
  }

  #choose(large) {
    const least = this.#reader * LEAST;
    const some = large.some(Boolean) ? best(large, least) : null;
    if (some?.fits && some.size >= least) return { ...some, large: true };
    const found = best(large.map(() => false), least);
    if (found.fits) return { ...found, size: Math.max(least, found.size), large: false };
    const columns = Math.max(1, Math.min(large.length, Math.floor(innerWidth / (NARROW * 1.25 * this.#reader))));
    return { columns, size: columns === 1 ? this.#reader : least, rows: null, large: columns > 1 };
  }

  /** The height of a card: an equal share of the window, measured with the type size set. Without `rows` it scrolls. */
  #height(rows, size) {
    const gap = this.#gap(rows === null || innerHeight / rows < ROOMY * size) * size;
    if (rows === null) return SCROLLED;
    return Math.min(TALL, Math.floor((innerHeight - this.#main.offsetTop - gap * rows) / rows) / size);
  }

  #gap(isTight) {
    const gap = isTight ? 0.6 : 1.1;
    this.#root.style.setProperty("--gap", `${gap}rem`);
    return gap;
  }

  #geometry(columns, height, size, large) {
    const gap = parseFloat(this.#root.style.getPropertyValue("--gap"));
    const width = (this.#main.clientWidth / size - gap * (columns - 1)) / columns;
    return { width, height, gap, large, density: density(height ?? TIGHT) };
  }
}

function density(height) {
  if (height < TIGHT) return "dense";
  return height < ROOMY ? "tight" : "roomy";
}

/** The number of columns with the largest type; empty places in the last row count against it. */
function best(large, least) {
  const most = Math.max(1, Math.min(large.length, Math.floor(innerWidth / (NARROW * least))));
  let chosen = { worth: 0, fits: false };
  for (let columns = 1; columns <= most; columns++) {
    const { rows, filled } = pack(large, columns);
    const height = (innerHeight * CARDS) / rows;
    const room = Math.min(innerWidth / columns / WIDTH, height / HEIGHT);
    const worth = room * Math.sqrt(filled / (columns * rows));
    const size = Math.min(room, Math.min(innerWidth, innerHeight) * MOST);
    const fits = height >= SHORT * Math.max(least, size);
    if (fits && worth >= chosen.worth) chosen = { worth, columns, size, rows, fits };
  }
  return chosen;
}

/** The number of rows that the grid needs, by the rule of `grid-auto-flow: dense`; a large card takes two. */
function pack(large, columns) {
  const taken = [];
  for (const isLarge of large) {
    let at = 0;
    while (taken[at] || (isLarge && taken[at + columns])) at++;
    taken[at] = true;
    if (isLarge) taken[at + columns] = true;
  }
  return { rows: Math.ceil(taken.length / columns), filled: taken.filter(Boolean).length };
}

/** Sets the tracks of each card. A last row that is at least half full fills the whole width. */
function spread(cards, columns, large, main) {
  const rest = large ? 0 : cards.length % columns;
  const last = rest * 2 >= columns ? rest : columns;
  const tracks = (columns * last) / divisor(columns, last);
  main.style.setProperty("--tracks", tracks);
  cards.forEach((card, at) => {
    const share = rest > 0 && at >= cards.length - rest ? last : columns;
    card.stretch = columns / share;
    card.element.style.gridColumn = `span ${tracks / share}`;
    card.element.style.gridRow = large && card.isLarge ? "span 2" : "";
  });
}

function divisor(a, b) {
  return b === 0 ? a : divisor(b, a % b);
}
