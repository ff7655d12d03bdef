//! Functions of regular expressions, on which jaq's library builds. They replace jaq's functions,
//! which build all matches, 1 KB each, without a check of the limits: `gsub(",";"")` on a body of
//! commas needed 1,000 times the size of the body. Here each match is counted before it is built.

use bytes::Bytes;
use jaq_core::native::{Fun, bome, run, v};
use jaq_core::{Cv, ValT as _};
use jaq_json::{Error, Val, ValR};
use jaq_std::ValT as _;
use regex_bites::bytes::{Captures, Regex, RegexBuilder};

use super::builtins::SUBSTRING_BYTES;
use super::limits::{EvaluationLimits, LimitedData};

/// Size of a group of a match, an object of four members, in bytes.
const GROUP_BYTES: usize = 640;
/// Maximum size of a regular expression, in bytes. Compiling it needs some hundred times as much.
const MAX_REGEX_BYTES: usize = 64 << 10;

/// Parts to return: the texts between matches, the matches, or both.
#[derive(Clone, Copy)]
struct MatchSelection {
    include_between: bool,
    include_matches: bool,
}

/// Returns the functions `matches`, `split_matches` and `split_`, each with a regular expression
/// and flags.
pub(super) fn regex_functions() -> [Fun<LimitedData>; 3] {
    [
        run(("matches", v(2), |cv| {
            bome(find_matches(
                cv,
                MatchSelection {
                    include_between: false,
                    include_matches: true,
                },
            ))
        })),
        run(("split_matches", v(2), |cv| {
            bome(find_matches(
                cv,
                MatchSelection {
                    include_between: true,
                    include_matches: true,
                },
            ))
        })),
        run(("split_", v(2), |cv| {
            bome(find_matches(
                cv,
                MatchSelection {
                    include_between: true,
                    include_matches: false,
                },
            ))
        })),
    ]
}

/// Returns the selected parts in order, a match as the array of its groups.
fn find_matches(mut cv: Cv<'_, LimitedData>, selection: MatchSelection) -> ValR {
    let (flags, regex) = (cv.0.pop_var(), cv.0.pop_var());
    let flags = utf8_text(&flags)?;
    let regex = compile_regex(utf8_text(&regex)?, flags)?;
    let input = RegexInput {
        value: &cv.1,
        text: cv.1.try_as_utf8_bytes()?,
        limits: cv.0.data().limits,
    };
    let names: Vec<Option<Val>> = regex
        .capture_names()
        .map(|name| name.map(string_value))
        .collect();
    // The start of the last match is kept in bytes and in characters, so that each part of the text
    // is counted once.
    let (mut parts, mut end, mut start) = (Vec::new(), 0, (0, 0));
    for captures in regex.captures_iter(input.text) {
        let Some(whole) = captures
            .get(0)
            .filter(|whole| !(flags.contains('n') && whole.is_empty()))
        else {
            continue;
        };
        input.limits.check_limits();
        if selection.include_between {
            input.limits.charge_bytes(SUBSTRING_BYTES);
            parts.push(input.value.as_sub_str(&input.text[end..whole.start()]));
            end = whole.end();
        }
        if selection.include_matches {
            start = (
                whole.start(),
                start.1 + count_chars(&input.text[start.0..whole.start()]),
            );
            parts.push(input.match_groups(&captures, &names, start)?);
        }
        if !flags.contains('g') {
            break;
        }
    }
    if selection.include_between {
        parts.push(input.value.as_sub_str(&input.text[end..]));
    }
    Ok(parts.into_iter().collect())
}

/// Text to search.
struct RegexInput<'i> {
    value: &'i Val,
    text: &'i [u8],
    limits: &'i EvaluationLimits,
}

impl RegexInput<'_> {
    /// Returns the groups of a match; `start` is its offset in bytes and in characters.
    fn match_groups(
        &self,
        captures: &Captures<'_>,
        names: &[Option<Val>],
        start: (usize, usize),
    ) -> ValR {
        self.limits.charge_bytes(captures.len() * GROUP_BYTES);
        let groups = captures
            .iter()
            .zip(names)
            .filter_map(|(group, name)| Some((group?, name)));
        let groups = groups.map(|(group, name)| {
            let fields = [
                (
                    "offset",
                    Val::from(start.1 + count_chars(&self.text[start.0..group.start()])),
                ),
                ("length", Val::from(count_chars(group.as_bytes()))),
                ("string", self.value.as_sub_str(group.as_bytes())),
            ];
            let name = name.iter().map(|name| ("name", name.clone()));
            Val::from_map(
                fields
                    .into_iter()
                    .chain(name)
                    .map(|(key, value)| (string_value(key), value)),
            )
        });
        groups.collect()
    }
}

/// Characters, as of UTF-8.
fn count_chars(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
}

fn string_value(text: &str) -> Val {
    Val::utf8_str(Bytes::copy_from_slice(text.as_bytes()))
}

fn utf8_text(value: &Val) -> Result<&str, Error> {
    std::str::from_utf8(value.try_as_utf8_bytes()?).map_err(Error::str)
}

fn compile_regex(regex: &str, flags: &str) -> Result<Regex, Error> {
    if let Some(unknown) = flags.chars().find(|flag| !"gnimslxp".contains(*flag)) {
        return Err(Error::str(format_args!("invalid regex flag: {unknown}")));
    }
    if regex.len() > MAX_REGEX_BYTES {
        return Err(Error::str(format_args!(
            "a regex of more than {MAX_REGEX_BYTES} bytes"
        )));
    }
    let mut builder = RegexBuilder::new(regex);
    builder
        .case_insensitive(flags.contains('i'))
        .multi_line(flags.contains(['m', 'p']))
        .dot_matches_new_line(flags.contains(['s', 'p']))
        .swap_greed(flags.contains('l'))
        .ignore_whitespace(flags.contains('x'));
    builder
        .build()
        .map_err(|error| Error::str(format_args!("invalid regex: {error}")))
}
