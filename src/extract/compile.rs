//! A filter's text → a program under watch, or what is wrong with the text and where.

use std::ops::Range;

use jaq_core::Compiler;
use jaq_core::compile::Undefined;
use jaq_core::load::lex::{self, Lexer, StrPart, Tok, Token};
use jaq_core::load::parse::{self, Def, Parser, Term};
use jaq_core::load::{Arena, File, Loader};

use super::filter::{Filter, FilterError, Program};
use super::threads::on_deep_stack;
use super::{library, rewrite};

/// The most levels of `[ ]`, `{ }` and `( )` in a text.
const MAX_NESTING: usize = 64;
/// How similar a name must be to be suggested, from 0 to 1.
const SIMILAR: f64 = 0.8;
/// The most characters of the text that a message repeats.
const MAX_SHOWN: usize = 40;

/// What jq has and filters here do not, with the reason.
const REFUSED: &[(&[&str], &str)] = &[
    (&["halt", "halt_error"], "a filter cannot end the program"),
    (
        &["env", "$ENV"],
        "a filter sees its input only, never the environment",
    ),
    (
        &["input", "inputs", "input_filename", "input_line_number"],
        "a filter has one input, which is `.`",
    ),
    (
        &["debug", "stderr"],
        "a filter writes nothing but its result",
    ),
    (
        &["now", "localtime", "strflocaltime"],
        "a filter's result depends on its input only",
    ),
    (
        &["$__prog_args", "$__loc__", "modulemeta", "get_search_list"],
        "a filter is not a program of its own",
    ),
];

/// Texts up to here are compiled on any stack, in bytes; a thread takes as long as they do.
const SHORT: usize = 256;

/// Compiles `text`. Parsers and compilers recurse, so long texts are compiled on a stack that is deep enough for any.
pub(super) fn compile(text: &str) -> Result<Program, FilterError> {
    if text.len() > Filter::MAX_TEXT {
        return Err(error(
            text,
            &text[..0],
            format!("a filter has at most {} bytes", Filter::MAX_TEXT),
        ));
    }
    if text.len() <= SHORT {
        return build(text);
    }
    let built = on_deep_stack("compile", || build(text));
    built.unwrap_or_else(|why| {
        Err(error(
            text,
            &text[..0],
            format!("cannot be compiled: {why}"),
        ))
    })
}

fn build(text: &str) -> Result<Program, FilterError> {
    let broken = |_| {
        error(
            text,
            &text[..0],
            "the library of filters does not load".into(),
        )
    };
    let term = parsed(text)?;
    // The text becomes a definition beside the library's, under a name that it does not know itself.
    let name = unused_name(text);
    let body = rewrite::tail(term);
    let (defs, funs) = library::reached(&body);
    let root = Def {
        name: &*name,
        args: Vec::new(),
        body,
    };
    let arena = Arena::default();
    let main = File {
        code: &*name,
        path: (),
    };
    let modules = Loader::new(defs.into_iter().chain([root]))
        .load(&arena, main)
        .map_err(broken)?;
    let compiled = Compiler::default().with_funs(funs).compile(modules);
    compiled.map_err(|errors| {
        let first = errors
            .iter()
            .flat_map(|(_, undefined)| undefined)
            .min_by_key(|(name, _)| span(text, name).start);
        first.map_or_else(
            || broken(Vec::new()),
            |(name, kind)| unknown(text, name, kind),
        )
    })
}

fn unused_name(text: &str) -> String {
    let mut name = String::from("root");
    while text.contains(&name) {
        name.push('_');
    }
    name
}

fn parsed(text: &str) -> Result<Term<&str>, FilterError> {
    let tokens = Lexer::new(text)
        .lex()
        .map_err(|errors| first(errors, |flaw| lexical(text, flaw)))?;
    allowed(text, &tokens, 0)?;
    Parser::new(&tokens)
        .parse(Parser::term)
        .map_err(|errors| first(errors, |flaw| syntactic(text, flaw)))
}

/// The error that stands first in the text.
fn first<E>(errors: Vec<E>, told: impl Fn(E) -> FilterError) -> FilterError {
    let told = errors
        .into_iter()
        .map(told)
        .min_by_key(|error| error.span.start);
    told.unwrap_or_else(|| FilterError {
        message: "syntax error".into(),
        span: 0..0,
    })
}

fn lexical<'t>(text: &'t str, (expected, rest): lex::Error<&'t str>) -> FilterError {
    let found = &rest[..rest.chars().next().map_or(0, char::len_utf8)];
    let message = match expected {
        lex::Expect::Token => format!("unexpected {}", shown(found)),
        expected => format!("expected {}, found {}", expected.as_str(), shown(found)),
    };
    error(text, found, message)
}

fn syntactic<'t>(text: &'t str, (expected, found): parse::TError<'_, &'t str>) -> FilterError {
    let found = Token::opt_as_str(found, text);
    let message = match expected {
        parse::Expect::Nothing => format!("unexpected {}", shown(found)),
        parse::Expect::Just(word) => format!("expected `{word}`, found {}", shown(found)),
        expected => format!("expected {}, found {}", expected.as_str(), shown(found)),
    };
    error(text, found, message)
}

/// Refuses what is jq but not allowed here, and texts that nest too deeply.
fn allowed<'t>(text: &'t str, tokens: &[Token<&'t str>], depth: usize) -> Result<(), FilterError> {
    for (position, Token(word, token)) in tokens.iter().enumerate() {
        let next = tokens.get(position + 1).map(|Token(_, token)| token);
        match (*word, token, next) {
            ("def", Tok::Word, Some(Tok::Word | Tok::Fmt)) => {
                return Err(error(
                    text,
                    word,
                    "`def` is not allowed: a definition could call itself for ever".into(),
                ));
            }
            ("import" | "include", Tok::Word, Some(Tok::Str(_)))
            | ("module", Tok::Word, Some(Tok::Block(_))) => {
                return Err(error(
                    text,
                    word,
                    format!("`{word}` is not allowed: a filter has no modules"),
                ));
            }
            (_, Tok::Block(_), _) if depth == MAX_NESTING => {
                return Err(error(
                    text,
                    &word[..1],
                    format!("a filter nests at most {MAX_NESTING} levels"),
                ));
            }
            (_, Tok::Block(inner), _) => allowed(text, inner, depth + 1)?,
            (_, Tok::Str(parts), _) => parts.iter().try_for_each(|part| match part {
                StrPart::Term(inner) => allowed(text, std::slice::from_ref(inner), depth + 1),
                _ => Ok(()),
            })?,
            _ => {}
        }
    }
    Ok(())
}

fn unknown(text: &str, name: &str, kind: &Undefined) -> FilterError {
    if let Some((_, reason)) = REFUSED.iter().find(|(names, _)| names.contains(&name)) {
        return error(text, name, format!("`{name}` is not allowed: {reason}"));
    }
    let message = match kind {
        Undefined::Filter(arity) => unknown_filter(name, *arity),
        kind => format!("unknown {} {}", kind.as_str(), shown(name)),
    };
    error(text, name, message)
}

fn unknown_filter(name: &str, arity: usize) -> String {
    let known = library::names();
    if let Some(arities) = known.get(name) {
        let takes: Vec<String> = arities.iter().map(ToString::to_string).collect();
        let plural = if arities == &[1] { "" } else { "s" };
        return format!(
            "`{name}` takes {} argument{plural}, not {arity}",
            takes.join(" or ")
        );
    }
    let similarity = |other: &str| strsim::jaro_winkler(name, other);
    let nearest = known
        .keys()
        .map(|other| (similarity(other), *other))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((similar, other)) if similar >= SIMILAR => {
            format!("unknown function {}; did you mean `{other}`?", shown(name))
        }
        _ => format!("unknown function {}", shown(name)),
    }
}

fn error(text: &str, at: &str, message: String) -> FilterError {
    FilterError {
        message,
        span: span(text, at),
    }
}

/// Where `part` stands in `text`; the beginning if it is not from there.
fn span(text: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    if start.saturating_add(part.len()) <= text.len() {
        start..start + part.len()
    } else {
        0..0
    }
}

fn shown(found: &str) -> String {
    let mut shown: String = found
        .chars()
        .take(MAX_SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if shown.is_empty() {
        return "the end".into();
    }
    if found.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    format!("`{}`", shown.replace("\\\"", "\"").replace("\\'", "'"))
}
