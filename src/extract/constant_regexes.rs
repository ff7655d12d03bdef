//! Regular expressions that are constants of a filter's text: checked when the filter is compiled.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::Term;

use super::regexes::compile_regex;
use super::term_visitor::visit_terms;

/// Functions whose first argument is an expression, with the number of arguments and the position of the flags.
const REGEX_FUNCTIONS: &[(&str, usize, Option<usize>)] = &[
    ("test", 1, None),
    ("test", 2, Some(1)),
    ("match", 1, None),
    ("match", 2, Some(1)),
    ("capture", 1, None),
    ("capture", 2, Some(1)),
    ("scan", 1, None),
    ("scan", 2, Some(1)),
    ("split", 2, Some(1)),
    ("splits", 1, None),
    ("splits", 2, Some(1)),
    ("sub", 2, None),
    ("sub", 3, Some(2)),
    ("gsub", 2, None),
    ("gsub", 3, Some(2)),
];

/// Returns the first constant expression that does not compile: a part of the filter's text and what is wrong.
pub(super) fn find_invalid_regex<'s>(term: &mut Term<&'s str>) -> Option<(&'s str, String)> {
    let mut defined = Vec::new();
    let mut invalid = Vec::new();
    visit_terms(term, |term| match term {
        Term::Def(definitions, _) => defined.extend(definitions.iter().map(|def| def.name)),
        Term::Call(name, arguments) => {
            invalid.extend(invalid_argument(name, arguments).map(|found| (*name, found)));
        }
        _ => {}
    });
    // A function of the filter's own may have the name of one that takes expressions.
    invalid.retain(|(name, _)| !defined.contains(name));
    invalid
        .into_iter()
        .map(|(_, found)| found)
        .min_by_key(|(part, _)| part.as_ptr())
}

fn invalid_argument<'s>(name: &str, arguments: &[Term<&'s str>]) -> Option<(&'s str, String)> {
    let (.., flags) = REGEX_FUNCTIONS
        .iter()
        .find(|(known, count, _)| *known == name && *count == arguments.len())?;
    let (expression, place) = constant_text(arguments.first()?)?;
    let flags = match flags {
        Some(position) => constant_text(arguments.get(*position)?).map(|(flags, _)| flags),
        None => None,
    };
    let error = compile_regex(&expression, &flags.unwrap_or_default()).err()?;
    Some((place, error))
}

/// Returns the text of a string without interpolation, and its first part.
fn constant_text<'s>(term: &Term<&'s str>) -> Option<(String, &'s str)> {
    let Term::Str(None, parts) = term else {
        return None;
    };
    let mut text = String::new();
    let mut place = None;
    for part in parts {
        match part {
            StrPart::Str(part) => {
                text.push_str(part);
                place = place.or(Some(*part));
            }
            StrPart::Char(c) => text.push(*c),
            StrPart::Term(_) => return None,
        }
    }
    Some((text, place.unwrap_or_default()))
}
