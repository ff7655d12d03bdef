// Functions that change the page: elements with classes, and text. Text is never parsed as markup.

/** Creates an element with a class and children. */
export function element(tag, className = "", ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Sets the text of a node if it differs: an unchanged text causes no layout and no announcement by a screen reader. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A text without the characters that turn the direction of others: `photo\u202egpj.exe` must not read as a picture. */
export function visible(text) {
  return text.replace(/[\u202a-\u202e\u2066-\u2069]/g, "");
}

/** Makes `nodes` the children of `parent`, in this order. Nodes that are in place are not touched. */
export function arrange(parent, nodes) {
  nodes.forEach((node, at) => {
    if (parent.children[at] !== node) parent.insertBefore(node, parent.children[at] ?? null);
  });
  while (parent.children.length > nodes.length) parent.lastElementChild.remove();
}
