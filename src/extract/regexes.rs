//! The three functions of regular expressions that jaq's library builds on. They are ours because jaq's make everything
//! of every match before anybody can look, a kilobyte for each: `gsub(",";"")` over a body of commas took a thousand
//! times the body. Each match is charged here before it is made.

use bytes::Bytes;
use jaq_core::native::{Fun, bome, run, v};
use jaq_core::{Cv, ValT as _};
use jaq_json::{Error, Val, ValR};
use jaq_std::ValT as _;
use regex_bites::bytes::{Captures, Regex, RegexBuilder};

use super::builtins::SUBSTRING_BYTES;
use super::limits::{EvaluationLimits, LimitedData};

/// What a group of a match takes, in bytes: an object of four members.
const GROUP_BYTES: usize = 640;
/// The longest regular expression, in bytes; compiling one takes some hundred times as much.
const MAX_REGEX_BYTES: usize = 64 << 10;

/// What is to be told: the texts between matches, the matches.
#[derive(Clone, Copy)]
struct MatchSelection {
    include_between: bool,
    include_matches: bool,
}

/// `matches`, `split_matches` and `split_`, of a regular expression and flags.
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

/// Texts, and matches as arrays of their groups, in their order.
fn find_matches(mut cv: Cv<'_, LimitedData>, wanted: MatchSelection) -> ValR {
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
    let (mut found, mut end, mut place) = (Vec::new(), 0, (0, 0));
    for captures in regex.captures_iter(input.text) {
        let Some(whole) = captures
            .get(0)
            .filter(|whole| !(flags.contains('n') && whole.is_empty()))
        else {
            continue;
        };
        input.limits.check_limits();
        if wanted.include_between {
            input.limits.charge_bytes(SUBSTRING_BYTES);
            found.push(input.value.as_sub_str(&input.text[end..whole.start()]));
            end = whole.end();
        }
        if wanted.include_matches {
            place = (
                whole.start(),
                place.1 + count_chars(&input.text[place.0..whole.start()]),
            );
            found.push(input.match_groups(&captures, &names, place)?);
        }
        if !flags.contains('g') {
            break;
        }
    }
    if wanted.include_between {
        found.push(input.value.as_sub_str(&input.text[end..]));
    }
    Ok(found.into_iter().collect())
}

/// What is searched.
struct RegexInput<'i> {
    value: &'i Val,
    text: &'i [u8],
    limits: &'i EvaluationLimits,
}

impl RegexInput<'_> {
    /// The groups of a match that begins at `place`, in bytes and in characters.
    fn match_groups(
        &self,
        captures: &Captures<'_>,
        names: &[Option<Val>],
        place: (usize, usize),
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
                    Val::from(place.1 + count_chars(&self.text[place.0..group.start()])),
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
        .map_err(|flaw| Error::str(format_args!("invalid regex: {flaw}")))
}
