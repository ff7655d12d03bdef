//! The visible text of an HTML page.

use scraper::Html;
use scraper::node::Node;

/// Maximum number of checked elements around a text: a page may nest thousands.
const MAX_HTML_DEPTH: usize = 64;

/// Elements of HTML that do not separate the words around them.
const INLINE_ELEMENTS: [&str; 17] = [
    "a", "abbr", "b", "code", "em", "font", "i", "kbd", "mark", "q", "samp", "small", "span",
    "strong", "sub", "tt", "u",
];

/// Elements of HTML whose content is not shown.
const HIDDEN_ELEMENTS: [&str; 5] = ["head", "script", "style", "template", "noscript"];

/// Returns the visible text of a page. White space separates the text of block elements.
pub(super) fn visible_text(page: &str) -> String {
    let page = Html::parse_document(page);
    let mut text = String::new();
    for node in page.tree.root().descendants() {
        match node.value() {
            Node::Element(element) if !INLINE_ELEMENTS.contains(&element.name()) => {
                text.push(' ');
            }
            Node::Text(content) => {
                let names = node.ancestors().filter_map(|ancestor| {
                    let element = ancestor.value().as_element();
                    element.map(scraper::node::Element::name)
                });
                let mut names = names.take(MAX_HTML_DEPTH);
                if !names.any(|name| HIDDEN_ELEMENTS.contains(&name)) {
                    // The end of a block separates, too: its last text is followed by its parent's.
                    if node
                        .prev_sibling()
                        .is_some_and(|before| is_block(before.value()))
                    {
                        text.push(' ');
                    }
                    text.push_str(content);
                }
            }
            _ => {}
        }
    }
    text
}

fn is_block(node: &Node) -> bool {
    let element = node.as_element();
    element.is_some_and(|element| !INLINE_ELEMENTS.contains(&element.name()))
}
