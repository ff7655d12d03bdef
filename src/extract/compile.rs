//! Compilation of the text of a filter to an instrumented program, or to an error with its
//! position.

use std::ops::Range;

use jaq_core::Compiler;
use jaq_core::compile::Undefined;
use jaq_core::load::lex::{self, Lexer, StrPart, Tok, Token};
use jaq_core::load::parse::{self, Def, Parser, Term};
use jaq_core::load::{Arena, File, Loader};

use super::limits::LimitedData;
use super::threads::run_on_deep_stack;
use super::{instrument, library};

/// Maximum size of the text of a filter, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 64 << 10;
/// Maximum depth of `[ ]`, `{ }` and `( )` in a text.
const MAX_NESTING: usize = 64;
/// Minimum similarity of a suggested name, from 0 to 1.
const MIN_SIMILARITY: f64 = 0.8;
/// Maximum number of characters of the text that a message quotes.
const MAX_SHOWN_CHARS: usize = 40;

/// Names of jq that are not allowed, with the reason.
const REFUSED_NAMES: &[(&[&str], &str)] = &[
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
        "a filter has neither arguments nor modules",
    ),
];

/// Maximum size of a text that is compiled on the current stack, in bytes. Starting a thread takes
/// as long as compiling such a text.
const MAX_SHALLOW_TEXT_BYTES: usize = 256;

/// A compiled program of jaq.
pub(super) type FilterProgram = jaq_core::Filter<LimitedData>;

/// Error in the text of a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    /// Description of the error, as a lowercase fragment.
    pub message: String,
    /// Byte range of the error in the text; may be empty, at the end of the text.
    pub span: Range<usize>,
}

/// Compiles `text`. The parser and the compiler recurse, so a long text is compiled on a deep
/// stack.
pub(super) fn compile_program(text: &str) -> Result<FilterProgram, FilterError> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("a filter has at most {MAX_TEXT_BYTES} bytes");
        return Err(error_at(text, &text[..0], message));
    }
    if text.len() <= MAX_SHALLOW_TEXT_BYTES {
        return compile_text(text);
    }
    run_on_deep_stack("compile", || compile_text(text)).unwrap_or_else(|reason| {
        let message = format!("cannot be compiled: {reason}");
        Err(error_at(text, &text[..0], message))
    })
}

fn compile_text(text: &str) -> Result<FilterProgram, FilterError> {
    let library_error = || {
        let message = "the library of filters does not load".into();
        error_at(text, &text[..0], message)
    };
    let term = parse_term(text)?;
    // The filter is compiled as one more definition. Its name does not occur in the text, so the
    // filter cannot call itself.
    let name = unused_name(text);
    let body = instrument::instrument_tail(term);
    let (defs, funs) = library::reachable_library(&body);
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
        .map_err(|_| library_error())?;
    let compiled = Compiler::default().with_funs(funs).compile(modules);
    compiled.map_err(|errors| {
        let first = errors
            .iter()
            .flat_map(|(_, undefined)| undefined)
            .min_by_key(|(name, _)| span_of(text, name).start);
        first.map_or_else(library_error, |(name, kind)| {
            unknown_name_error(text, name, kind)
        })
    })
}

fn unused_name(text: &str) -> String {
    let mut name = String::from("root");
    while text.contains(&name) {
        name.push('_');
    }
    name
}

fn parse_term(text: &str) -> Result<Term<&str>, FilterError> {
    let tokens = Lexer::new(text)
        .lex()
        .map_err(|errors| first_error(errors, |error| lex_error(text, error)))?;
    check_allowed(text, &tokens, 0)?;
    Parser::new(&tokens)
        .parse(Parser::term)
        .map_err(|errors| first_error(errors, |error| parse_error(text, error)))
}

/// Returns the first error in the order of the text.
fn first_error<E>(errors: Vec<E>, convert: impl Fn(E) -> FilterError) -> FilterError {
    errors
        .into_iter()
        .map(convert)
        .min_by_key(|error| error.span.start)
        .unwrap_or_else(|| FilterError {
            message: "syntax error".into(),
            span: 0..0,
        })
}

fn lex_error<'t>(text: &'t str, (expected, rest): lex::Error<&'t str>) -> FilterError {
    let found = &rest[..rest.chars().next().map_or(0, char::len_utf8)];
    let message = match expected {
        lex::Expect::Token => format!("unexpected {}", quote_found(found)),
        expected => format!(
            "expected {}, found {}",
            expected.as_str(),
            quote_found(found)
        ),
    };
    error_at(text, found, message)
}

fn parse_error<'t>(text: &'t str, (expected, found): parse::TError<'_, &'t str>) -> FilterError {
    let found = Token::opt_as_str(found, text);
    let message = match expected {
        parse::Expect::Nothing => format!("unexpected {}", quote_found(found)),
        parse::Expect::Just(token) => format!("expected `{token}`, found {}", quote_found(found)),
        expected => format!(
            "expected {}, found {}",
            expected.as_str(),
            quote_found(found)
        ),
    };
    error_at(text, found, message)
}

/// Rejects constructs of jq that are not allowed, and a text that is nested too deeply.
fn check_allowed<'t>(
    text: &'t str,
    tokens: &[Token<&'t str>],
    depth: usize,
) -> Result<(), FilterError> {
    for (position, Token(span, token)) in tokens.iter().enumerate() {
        let next = tokens.get(position + 1).map(|Token(_, token)| token);
        match (*span, token, next) {
            ("def", Tok::Word, Some(Tok::Word | Tok::Fmt)) => {
                return Err(error_at(
                    text,
                    span,
                    "`def` is not allowed: a definition could call itself for ever".into(),
                ));
            }
            ("import" | "include", Tok::Word, Some(Tok::Str(_)))
            | ("module", Tok::Word, Some(Tok::Block(_))) => {
                return Err(error_at(
                    text,
                    span,
                    format!("`{span}` is not allowed: a filter has no modules"),
                ));
            }
            (_, Tok::Block(_), _) if depth == MAX_NESTING => {
                return Err(error_at(
                    text,
                    &span[..1],
                    format!("a filter nests at most {MAX_NESTING} levels"),
                ));
            }
            (_, Tok::Block(inner), _) => check_allowed(text, inner, depth + 1)?,
            (_, Tok::Str(parts), _) => parts.iter().try_for_each(|part| match part {
                StrPart::Term(inner) => check_allowed(text, std::slice::from_ref(inner), depth + 1),
                _ => Ok(()),
            })?,
            _ => {}
        }
    }
    Ok(())
}

fn unknown_name_error(text: &str, name: &str, kind: &Undefined) -> FilterError {
    if let Some((_, reason)) = REFUSED_NAMES
        .iter()
        .find(|(names, _)| names.contains(&name))
    {
        return error_at(text, name, format!("`{name}` is not allowed: {reason}"));
    }
    let message = match kind {
        Undefined::Filter(arity) => unknown_filter_message(name, *arity),
        kind => format!("unknown {} {}", kind.as_str(), quote_found(name)),
    };
    error_at(text, name, message)
}

fn unknown_filter_message(name: &str, arity: usize) -> String {
    let known = library::callable_names();
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
        Some((similar, other)) if similar >= MIN_SIMILARITY => {
            format!(
                "unknown function {}; did you mean `{other}`?",
                quote_found(name)
            )
        }
        _ => format!("unknown function {}", quote_found(name)),
    }
}

fn error_at(text: &str, at: &str, message: String) -> FilterError {
    FilterError {
        message,
        span: span_of(text, at),
    }
}

/// Returns the byte range of `part` in `text`; an empty range at the start if `part` is no slice of
/// it.
fn span_of(text: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    if start.saturating_add(part.len()) <= text.len() {
        start..start + part.len()
    } else {
        0..0
    }
}

fn quote_found(found: &str) -> String {
    let mut shown: String = found
        .chars()
        .take(MAX_SHOWN_CHARS)
        .flat_map(char::escape_debug)
        .collect();
    if shown.is_empty() {
        return "the end".into();
    }
    if found.chars().nth(MAX_SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    format!("`{}`", shown.replace("\\\"", "\"").replace("\\'", "'"))
}
