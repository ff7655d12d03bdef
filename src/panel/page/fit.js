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
const CARDS = 0.84;
/** Height of the heading of a group. styles: card.css. */
const HEADING = 1.8;

export class Fit {
  #main;
  #footer = document.querySelector("body > footer");
  #onChange;
  #root = document.documentElement;
  #reader = parseFloat(getComputedStyle(document.documentElement).fontSize);
  #seen = "";

  /** Calls `onChange` with the geometry of the cards after each layout. */
  constructor(main, onChange) {
    this.#main = main;
    this.#onChange = onChange;
  }

  /** Lays out `groups` of cards (groups.js) if the window, their number or their sizes changed. */
  check(groups) {
    const large = groups.map(({ cards }) => cards.map((card) => card.isLarge));
    const headings = groups.filter(({ heading }) => !heading.hidden).length;
    const seen = JSON.stringify([innerWidth, innerHeight, headings, large]);
    const count = large.flat().length;
    if (count === 0 || this.#seen === seen) return;
    this.#seen = seen;
    const layout = this.#choose(large, headings);
    const { columns, size } = layout;
    this.#root.style.fontSize = `${size.toFixed(2)}px`;
    const onPhone = columns === 1 && count > 1;
    const height = this.#height(onPhone ? null : layout.rows, size, headings);
    this.#main.style.setProperty("--cell", onPhone ? "auto" : `${height.toFixed(3)}rem`);
    this.#root.dataset.density = density(height);
    for (const { cards, grid } of groups) spread(cards, columns, layout.large, grid);
    this.#onChange(this.#geometry(columns, onPhone ? null : height, size, layout.large));
  }

  #choose(large, headings) {
    const least = this.#reader * LEAST;
    const some = large.flat().some(Boolean) ? best(large, headings, least) : null;
    if (some?.fits && some.size >= least) return { ...some, large: true };
    const found = best(large.map((group) => group.map(() => false)), headings, least);
    if (found.fits) return { ...found, size: Math.max(least, found.size), large: false };
    const columns = Math.max(1, Math.min(large.flat().length, Math.floor(innerWidth / (NARROW * 1.25 * this.#reader))));
    return { columns, size: columns === 1 ? this.#reader : least, rows: null, large: columns > 1 };
  }

  /** The height of a card: an equal share of the window, measured with the type size set. Without `rows` it scrolls. */
  #height(rows, size, headings) {
    const gap = this.#gap(rows === null || innerHeight / rows < ROOMY * size) * size;
    if (rows === null) return SCROLLED;
    const around = this.#main.offsetTop + this.#footer.offsetHeight + gap * (rows + 1) + headings * HEADING * size;
    return Math.min(TALL, Math.floor((innerHeight - around) / rows) / size);
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

/** The number of columns with the largest type; empty places in the last row of a group count against it. */
function best(large, headings, least) {
  const most = Math.max(1, Math.min(large.flat().length, Math.floor(innerWidth / (NARROW * least))));
  let chosen = { worth: 0, fits: false };
  for (let columns = 1; columns <= most; columns++) {
    const packed = large.map((group) => pack(group, columns));
    const rows = packed.reduce((sum, group) => sum + group.rows, 0);
    const filled = packed.reduce((sum, group) => sum + group.filled, 0);
    const height = (innerHeight * CARDS - headings * HEADING * least) / rows;
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

/** Sets the tracks of each card of a grid. A last row that is at least half full fills the whole width. */
function spread(cards, columns, large, grid) {
  const rest = large ? 0 : cards.length % columns;
  const last = rest * 2 >= columns ? rest : columns;
  const tracks = (columns * last) / divisor(columns, last);
  grid.style.setProperty("--tracks", tracks);
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
