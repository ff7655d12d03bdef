// How the cards share the window: as many columns as let the type be largest, and type as large as lets all of them be
// seen at once. On a phone, and where there are too many, the page scrolls instead.

/** A card that is comfortable: its width and height in rem. */
const WIDTH = 22;
const HEIGHT = 19;
/** The least width of a card, in rem of the reader's own type size. */
const NARROW = 16;
/** The smallest type, as a part of the reader's own, and the largest, as a part of the window's shorter side. */
const LEAST = 0.94;
const MOST = 0.032;
/** Below this part of the reader's own size, values and margins give way before all type does. */
const AIRY = 1.3;
/** What head and margins take of the window's height. */
const CARDS = 0.87;
/** How much smaller the type is tried each time that the page does not fit. */
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

  /** Lays out anew if the window or the number of cards changed; else only makes room for what has grown. */
  check() {
    const count = this.#main.children.length;
    const seen = `${innerWidth} ${innerHeight} ${count}`;
    if (count === 0) return;
    if (this.#seen !== seen) this.#plan(count);
    this.#seen = seen;
    // Type never grows again while people look on: a failure that comes and goes must not make the wall breathe.
    while (!this.#scrolls && this.#over() && this.#give());
  }

  #plan(count) {
    delete this.#root.dataset.tight;
    const { columns, size } = best(count, this.#reader);
    this.#scrolls = columns === 1 && count > 1;
    this.#set(this.#scrolls ? this.#reader : Math.max(this.#reader * LEAST, size));
    spread([...this.#main.children], columns, (tracks) => this.#main.style.setProperty("--tracks", tracks));
  }

  /** Gives up a little size, and once there is little left, air. Whether there was anything to give. */
  #give() {
    const least = this.#reader * LEAST;
    const tight = "tight" in this.#root.dataset;
    if (!tight && this.#size < this.#reader * AIRY) this.#root.dataset.tight = "";
    else if (this.#size > least) this.#set(Math.max(least, this.#size * STEP));
    else return false;
    return true;
  }

  #over() {
    return this.#root.scrollHeight > innerHeight + 1;
  }

  #set(size) {
    this.#size = size;
    this.#root.style.fontSize = `${size.toFixed(2)}px`;
  }
}

/** The number of columns that lets the type be largest; places left empty count against it. */
function best(count, reader) {
  const most = Math.max(1, Math.min(count, Math.floor(innerWidth / (NARROW * reader))));
  let found = { worth: 0, columns: 1, size: 0 };
  for (let columns = 1; columns <= most; columns++) {
    const rows = Math.ceil(count / columns);
    const room = Math.min(innerWidth / columns / WIDTH, (innerHeight * CARDS) / rows / HEIGHT);
    const size = Math.min(room, Math.min(innerWidth, innerHeight) * MOST);
    const worth = room * Math.sqrt(count / (columns * rows));
    if (worth >= found.worth) found = { worth, columns, size };
  }
  // Where the page scrolls anyway, columns are what saves scrolling.
  return found.size < reader * LEAST ? { columns: most, size: reader * LEAST } : found;
}

/** Gives each card its share of the tracks; the last row fills its line unless it would be mostly air. */
function spread(cards, columns, tell) {
  const rest = cards.length % columns;
  const last = rest * 2 >= columns ? rest : columns;
  const tracks = (columns * last) / divisor(columns, last);
  tell(tracks);
  cards.forEach((card, at) => {
    const share = rest > 0 && at >= cards.length - rest ? last : columns;
    card.style.gridColumn = `span ${tracks / share}`;
  });
}

function divisor(a, b) {
  return b === 0 ? a : divisor(b, a % b);
}
