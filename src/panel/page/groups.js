// The cards of the page by group, each group with a heading and a grid of its own.

import { arrange, element } from "./dom.js";

export class Groups {
  #main;
  #sections = new Map();

  /** By group: its grid, its heading, and its cards in order. */
  placed = [];

  constructor(main) {
    this.#main = main;
  }

  /** Places the cards: `groups` has the names of the sources by title; the empty title is that of no group. */
  place(groups, cards) {
    for (const title of this.#sections.keys()) if (!groups.has(title)) this.#sections.delete(title);
    this.placed = [...groups].map(([title, names]) => this.#section(title, names.map((name) => cards.get(name))));
    arrange(this.#main, this.placed.map(({ element }) => element));
  }

  #section(title, cards) {
    if (!this.#sections.has(title)) {
      const heading = element("p", "heading", title);
      const grid = element("div", "grid");
      const section = element("section", "group", heading, grid);
      if (title) section.setAttribute("aria-label", title);
      this.#sections.set(title, { element: section, heading, grid });
    }
    const section = this.#sections.get(title);
    section.heading.hidden = title === "";
    arrange(section.grid, cards.map((card) => card.element));
    return { ...section, cards };
  }
}
