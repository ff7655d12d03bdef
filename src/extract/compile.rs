//! Compiles the text of a filter to a program. An error has its place in the text.

use std::ops::Range;

use std::thread;

use jaq_core::Compiler;
use jaq_core::compile::Undefined;
use jaq_core::data::JustLut;
use jaq_core::load::lex::{self, Lexer, StrPart, Tok, Token};
use jaq_core::load::parse::{self, BinaryOp, Def, Parser, Term};
use jaq_core::load::{Arena, File, Loader};

use jaq_json::Val;

use super::constant_regexes::find_invalid_regex;
use super::filter_error::{FilterError, MAX_TEXT_BYTES};
use super::hints::{foreign_syntax_error, instead_of, is_path_start, key_error, meant_path};
use super::library;
use super::substitute::substitute_operators;
use crate::text::quote;

/// A compiled filter.
pub(super) type FilterProgram = jaq_core::Filter<JustLut<Val>>;

/// Maximum nesting depth of `[ ]`, `{ }` and `( )` in a text.
const MAX_NESTING: usize = 64;
/// Maximum number of words and operators in a row, with those before it on the levels above. Parsers and
/// compilers nest by one level for an operator, of which each takes at most 9 KiB of the stack.
const MAX_WORDS_IN_A_ROW: usize = 16_384;
/// How similar a name must be to be suggested, from 0 to 1.
const MIN_SIMILARITY: f64 = 0.8;

/// Functions and syntax of jq that filters here do not have, with the reason.
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
        "a filter is not a program of its own",
    ),
];

/// The longest text that is compiled on the caller's stack, in bytes. Starting a thread takes as long as compiling one.
const MAX_SHALLOW_TEXT_BYTES: usize = 256;

/// The stack of a thread that compiles, in bytes: enough for the deepest nesting. Only what is used takes
/// memory.
const COMPILE_STACK_BYTES: usize = 256 << 20;

/// Compiles `text` on a stack that is deep enough: parsers and compilers recurse.
pub(super) fn compile_program(text: &str) -> Result<FilterProgram, FilterError> {
    if text.len() <= MAX_SHALLOW_TEXT_BYTES {
        return compile_here(text);
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("compile".to_owned())
            .stack_size(COMPILE_STACK_BYTES)
            .spawn_scoped(scope, || compile_here(text));
        match thread.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(compiled)) => compiled,
            Ok(Err(_)) => Err(error_at(
                text,
                "",
                "cannot be compiled: a bug, see the log".into(),
            )),
            Err(error) => Err(error_at(
                text,
                "",
                format!("cannot be compiled: no thread: {error}"),
            )),
        }
    })
}

/// Compiles `text` on the caller's stack.
pub(super) fn compile_here(text: &str) -> Result<FilterProgram, FilterError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(error_at(
            text,
            "",
            format!("a filter has at most {MAX_TEXT_BYTES} bytes"),
        ));
    }
    compile_text(text)
}

fn compile_text(text: &str) -> Result<FilterProgram, FilterError> {
    let broken = |_| {
        error_at(
            text,
            &text[..0],
            "the library of filters does not load".into(),
        )
    };
    // Before the parser, whose error about `$` or `{{` would mislead.
    if let Some(error) = foreign_syntax_error(text) {
        return Err(error);
    }
    let mut term =
        parse_term(text).map_err(|error| key_error(text, error.span.start).unwrap_or(error))?;
    if let Some((place, flaw)) = find_invalid_regex(&mut term) {
        let message = format!("the regular expression is not valid: {flaw}");
        return Err(error_at(text, place, message));
    }
    substitute_operators(&mut term);
    // The text becomes a definition beside the library's, under a name that it does not contain.
    let name = unused_name(text);
    let (defs, funs) = library::reachable_library(&mut term);
    let root = Def {
        name: &*name,
        args: Vec::new(),
        body: term,
    };
    let arena = Arena::default();
    let main = File {
        code: &*name,
        path: (),
    };
    // jaq resolves a name to the definitions before it, so the filter comes last.
    let modules = Loader::new(defs.into_iter().chain([root]))
        .load(&arena, main)
        .map_err(broken)?;
    let compiled = Compiler::default().with_funs(funs).compile(modules);
    compiled.map_err(|errors| {
        let first = errors
            .iter()
            .flat_map(|(_, undefined)| undefined)
            .min_by_key(|(name, _)| span_of(text, name).start);
        first.map_or_else(
            || broken(Vec::new()),
            |(name, kind)| unknown_name_error(text, name, kind),
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

/// The names of the members of the object that a filter constructs. `None` if its result is another one, or if that
/// cannot be told without an input.
pub fn constructed_names(text: &str) -> Option<Vec<&str>> {
    if text.len() > MAX_SHALLOW_TEXT_BYTES {
        return None;
    }
    let mut term = parse_term(text).ok()?;
    while let Term::BinOp(_, BinaryOp::Pipe(_), right) = term {
        term = *right;
    }
    let Term::Obj(members) = term else {
        return None;
    };
    let names = members.into_iter().map(|(name, _)| match name {
        Term::Str(None, parts) => match parts[..] {
            [StrPart::Str(name)] => Some(name),
            _ => None,
        },
        _ => None,
    });
    names.collect()
}

fn parse_term(text: &str) -> Result<Term<&str>, FilterError> {
    let tokens = Lexer::new(text)
        .lex()
        .map_err(|errors| first_error(errors, |flaw| lex_error(text, flaw)))?;
    // Between lexer and parser: the parser recurses, so the depth must be bounded before it.
    check_allowed(text, &tokens, 0, 0)?;
    Parser::new(&tokens)
        .parse(Parser::term)
        .map_err(|errors| first_error(errors, |flaw| parse_error(text, flaw)))
}

/// The first error in the order of the text.
fn first_error<E>(errors: Vec<E>, told: impl Fn(E) -> FilterError) -> FilterError {
    let told = errors
        .into_iter()
        .map(told)
        .min_by_key(|error| error.span.start);
    told.unwrap_or_else(|| FilterError {
        message: "syntax error".into(),
        span: 0..0,
    })
}

fn lex_error<'t>(text: &'t str, (expected, rest): lex::Error<&'t str>) -> FilterError {
    let found = &rest[..rest.chars().next().map_or(0, char::len_utf8)];
    let message = match expected {
        lex::Expect::Token => format!("unexpected {}{}", quote_found(found), instead_of(found)),
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
        parse::Expect::Nothing => {
            format!("unexpected {}{}", quote_found(found), instead_of(found))
        }
        parse::Expect::Just(word) => format!("expected `{word}`, found {}", quote_found(found)),
        expected => format!(
            "expected {}, found {}",
            expected.as_str(),
            quote_found(found)
        ),
    };
    error_at(text, found, message)
}

/// Refuses what is jq but not allowed here, and texts that nest too deeply or have too many words in a
/// row. `before` is the number of words before `tokens` on the levels above.
fn check_allowed<'t>(
    text: &'t str,
    tokens: &[Token<&'t str>],
    depth: usize,
    before: usize,
) -> Result<(), FilterError> {
    for (position, Token(word, token)) in tokens.iter().enumerate() {
        let before = before + position;
        if before == MAX_WORDS_IN_A_ROW {
            return Err(error_at(
                text,
                word,
                format!("a filter has at most {MAX_WORDS_IN_A_ROW} words and operators in a row"),
            ));
        }
        let next = tokens.get(position + 1).map(|Token(_, token)| token);
        match (*word, token, next) {
            ("import" | "include", Tok::Word, Some(Tok::Str(_)))
            | ("module", Tok::Word, Some(Tok::Block(_))) => {
                return Err(error_at(
                    text,
                    word,
                    format!("`{word}` is not allowed: a filter has no modules"),
                ));
            }
            (_, Tok::Block(_), _) if depth == MAX_NESTING => {
                return Err(error_at(
                    text,
                    &word[..1],
                    format!("a filter nests at most {MAX_NESTING} levels"),
                ));
            }
            (_, Tok::Block(inner), _) => check_allowed(text, inner, depth + 1, before)?,
            (_, Tok::Str(parts), _) => parts.iter().try_for_each(|part| match part {
                StrPart::Term(inner) => {
                    check_allowed(text, std::slice::from_ref(inner), depth + 1, before)
                }
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
    let span = span_of(text, name);
    if let Some(error) = key_error(text, span.start) {
        return error;
    }
    let message = match kind {
        Undefined::Filter(0) if is_path_start(text, &span) => match meant_path(text, &span) {
            Some(path) => format!(
                "unknown function {}; did you mean `{path}`?",
                quote_found(name)
            ),
            None => unknown_filter_message(name, 0),
        },
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
    let instead = instead_of(name);
    if !instead.is_empty() {
        return format!("unknown function {}{instead}", quote_found(name));
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
        _ if arity == 0 => format!(
            "unknown function {}; a key of that name is written `.{name}`",
            quote_found(name)
        ),
        _ => format!("unknown function {}", quote_found(name)),
    }
}

fn error_at(text: &str, at: &str, message: String) -> FilterError {
    FilterError {
        message,
        span: span_of(text, at),
    }
}

/// The place of `part`, a slice of `text`; the beginning if it is a slice of another text.
fn span_of(text: &str, part: &str) -> Range<usize> {
    // jaq's errors hold slices of the text instead of positions. A name of the library lies
    // elsewhere.
    let start = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    if start.saturating_add(part.len()) <= text.len() {
        start..start + part.len()
    } else {
        0..0
    }
}

fn quote_found(found: &str) -> String {
    if found.is_empty() {
        "the end".into()
    } else {
        quote(found)
    }
}
