// Chooses the number of columns and the type size: the largest type with which every card is visible at once. On a
// phone, and with too many cards, the page scrolls instead.

/** Preferred width and height of a card, in rem. */
const WIDTH = 22;
const HEIGHT = 19;
/** Minimum width of a card, in rem at the browser's type size. */
const NARROW = 16;
/** Minimum type size as a fraction of the browser's, and maximum as a fraction of the window's shorter side. */
const LEAST = 0.94;
const MOST = 0.032;
/** Below this multiple of the browser's type size, values and margins shrink before all type does. */
const AIRY = 1.3;
/** Fraction of the window's height that is left for the cards. */
const CARDS = 0.87;
/** Factor of each reduction of the type size while the page does not fit. */
const STEP = 0.95;

export class Fit {
  #main;
  #root = document.documentElement;
  #reader = parseFloat(getComputedStyle(document.documentElement).fontSize);
  #seen = "";
  #size = 0;
  #scrolls = false;

  constructor(main) {
    this.#main = main;
    addEventListener("resize", () => this.check());
  }

  /** Lays out again if the window or the number of cards changed, else only shrinks a page that has grown. */
  check() {
    const count = this.#main.children.length;
    const seen = `${innerWidth} ${innerHeight} ${count}`;
    if (count === 0) return;
    if (this.#seen !== seen) this.#plan(count);
    this.#seen = seen;
    // Type never grows again without a new layout: a failure that comes and goes must not resize the page each time.
    while (!this.#scrolls && this.#overflows() && this.#shrink());
  }

  #plan(count) {
    delete this.#root.dataset.tight;
    const { columns, size } = best(count, this.#reader);
    this.#scrolls = columns === 1 && count > 1;
    this.#set(this.#scrolls ? this.#reader : Math.max(this.#reader * LEAST, size));
    spread([...this.#main.children], columns, (tracks) => this.#main.style.setProperty("--tracks", tracks));
  }

  /** Reduces the type size, or the margins once the type is small. Returns whether a reduction was possible. */
  #shrink() {
    const least = this.#reader * LEAST;
    const tight = "tight" in this.#root.dataset;
    if (!tight && this.#size < this.#reader * AIRY) this.#root.dataset.tight = "";
    else if (this.#size > least) this.#set(Math.max(least, this.#size * STEP));
    else return false;
    return true;
  }

  #overflows() {
    return this.#root.scrollHeight > innerHeight + 1;
  }

  #set(size) {
    this.#size = size;
    this.#root.style.fontSize = `${size.toFixed(2)}px`;
  }
}

/** The number of columns with the largest type; empty places in the last row count against it. */
function best(count, reader) {
  const most = Math.max(1, Math.min(count, Math.floor(innerWidth / (NARROW * reader))));
  let chosen = { worth: 0, columns: 1, size: 0 };
  for (let columns = 1; columns <= most; columns++) {
    const rows = Math.ceil(count / columns);
    const room = Math.min(innerWidth / columns / WIDTH, (innerHeight * CARDS) / rows / HEIGHT);
    const size = Math.min(room, Math.min(innerWidth, innerHeight) * MOST);
    const worth = room * Math.sqrt(count / (columns * rows));
    if (worth >= chosen.worth) chosen = { worth, columns, size };
  }
  // If the page scrolls anyway, more columns mean less scrolling.
  return chosen.size < reader * LEAST ? { columns: most, size: reader * LEAST } : chosen;
}

/** Sets the number of grid tracks of each card. A last row that is at least half full fills the whole width. */
function spread(cards, columns, setTracks) {
  const rest = cards.length % columns;
  const last = rest * 2 >= columns ? rest : columns;
  const tracks = (columns * last) / divisor(columns, last);
  setTracks(tracks);
  cards.forEach((card, at) => {
    const share = rest > 0 && at >= cards.length - rest ? last : columns;
    card.style.gridColumn = `span ${tracks / share}`;
  });
}

function divisor(a, b) {
  return b === 0 ? a : divisor(b, a % b);
}
