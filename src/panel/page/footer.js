// The end of the page: links to the reports, and the release.

import { write } from "./dom.js";
import { words } from "./words.js";

/** Writes the links of the footer in the language of the page. */
export function showFooter() {
  for (const link of document.querySelectorAll("footer a")) write(link, words.links[link.dataset.name]);
}
