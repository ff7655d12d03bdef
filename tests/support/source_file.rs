//! One source file of the program as tokens: the names that it defines, imports and uses.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A name brought into a module by `use`; `*` for a glob.
pub struct Import {
    pub name: String,
    pub target: Vec<String>,
    pub line: usize,
    pub is_reexport: bool,
}

/// What one file of `src` defines and names, tests left out.
#[derive(Default)]
pub struct SourceFile {
    /// Below `src`: `aggregate/cache.rs`.
    pub path: String,
    pub module: Vec<String>,
    pub line_count: usize,
    /// Name, and the keyword that defines it.
    pub definitions: HashMap<String, String>,
    pub imports: Vec<Import>,
    /// Paths of two or more segments outside of `use` items, and `use` items inside functions.
    pub references: Vec<(Vec<String>, usize)>,
    /// Every identifier outside of `use` items.
    pub identifiers: HashSet<String>,
    pub boxed_closure_lines: Vec<usize>,
}

impl SourceFile {
    /// Reads the file at `path` below `src`. A file of a `tests` module is read as empty.
    pub fn parse(src: &Path, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let below = path.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
        let mut module: Vec<String> = below
            .trim_end_matches(".rs")
            .split('/')
            .map(str::to_owned)
            .collect();
        if matches!(module.last().unwrap().as_str(), "mod" | "lib") {
            module.pop();
        }
        let mut file = Self {
            path: below,
            module,
            line_count: text.lines().count(),
            ..Self::default()
        };
        let stream = text
            .parse()
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if !file.module.iter().any(|segment| segment == "tests") {
            file.read_tokens(stream, true);
        }
        file
    }

    /// The first folder below `src`, or the name of a file that stands there.
    pub fn folder(&self) -> &str {
        self.path.split('/').next().unwrap()
    }

    /// Reads the tokens of a file (`is_item_level`) or of a group inside it.
    fn read_tokens(&mut self, stream: TokenStream, is_item_level: bool) {
        let tokens = without_test_items(stream);
        let text = |at: usize| tokens.get(at).map(ToString::to_string).unwrap_or_default();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Group(group) => {
                    // The body of a macro call such as `codes! { … }` may define items.
                    let is_macro_call = is_item_level && at >= 1 && text(at - 1) == "!";
                    self.read_tokens(group.stream(), is_macro_call);
                    at += 1;
                }
                TokenTree::Ident(ident) if ident == "use" => {
                    let line = ident.span().start().line;
                    let end = (at..tokens.len())
                        .find(|&i| text(i) == ";")
                        .unwrap_or(tokens.len());
                    let is_reexport =
                        at >= 1 && (text(at - 1) == "pub" || text(at.saturating_sub(2)) == "pub");
                    for (name, target) in expand_use_tree(&tokens[at + 1..end], &[]) {
                        if is_item_level {
                            self.imports.push(Import {
                                name,
                                target,
                                line,
                                is_reexport,
                            });
                        } else {
                            self.references.push((target, line));
                        }
                    }
                    at = end;
                }
                TokenTree::Ident(ident) => {
                    let line = ident.span().start().line;
                    let keyword = ident.to_string();
                    let is_definition = [
                        "struct", "enum", "trait", "type", "union", "fn", "const", "static",
                    ];
                    if is_item_level && is_definition.contains(&keyword.as_str()) {
                        self.definitions
                            .entry(text(at + 1))
                            .or_insert_with(|| keyword.clone());
                    }
                    if keyword == "macro_rules" {
                        self.definitions.insert(text(at + 2), keyword.clone());
                    }
                    if matches!(keyword.as_str(), "Arc" | "Box" | "Rc")
                        && text(at + 1) == "<"
                        && text(at + 2) == "dyn"
                        && (at + 3..at + 12).any(|i| text(i).starts_with("Fn"))
                    {
                        self.boxed_closure_lines.push(line);
                    }
                    let mut path = vec![keyword];
                    while text(at + 1) == ":"
                        && text(at + 2) == ":"
                        && matches!(tokens.get(at + 3), Some(TokenTree::Ident(_)))
                    {
                        at += 3;
                        path.push(text(at));
                    }
                    self.identifiers.extend(path.iter().cloned());
                    if path.len() > 1 {
                        self.references.push((path, line));
                    }
                    at += 1;
                }
                _ => at += 1,
            }
        }
    }
}

/// The tokens without the items that `#[cfg(test)]` marks.
fn without_test_items(stream: TokenStream) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut tokens = stream.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_attribute = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
        let is_test = |next: &TokenTree| next.to_string().replace(' ', "") == "[cfg(test)]";
        if is_attribute && tokens.peek().is_some_and(is_test) {
            let is_end = |token: &TokenTree| match token {
                TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                other => other.to_string() == ";",
            };
            tokens.find(is_end);
        } else {
            kept.push(token);
        }
    }
    kept
}

/// The names that a `use` item brings in, each with its whole path.
fn expand_use_tree(tokens: &[TokenTree], prefix: &[String]) -> Vec<(String, Vec<String>)> {
    let mut path = prefix.to_vec();
    let mut alias = None;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                let parts = inner.split(|token| token.to_string() == ",");
                return parts
                    .filter(|part| !part.is_empty())
                    .flat_map(|part| expand_use_tree(part, &path))
                    .collect();
            }
            TokenTree::Ident(ident) if ident == "as" => {
                alias = tokens.get(at + 1).map(ToString::to_string);
                break;
            }
            TokenTree::Ident(_) => path.push(token.to_string()),
            TokenTree::Punct(punct) if punct.as_char() == '*' => path.push("*".to_owned()),
            _ => {}
        }
    }
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let name = alias.or_else(|| path.last().cloned()).unwrap_or_default();
    vec![(name, path)]
}
