//! The three functions of regular expressions that jaq's library builds on. They are ours because jaq's make everything
//! of every match before anybody can look, a kilobyte for each: `gsub(",";"")` over a body of commas took a thousand
//! times the body. Each match is charged here before it is made.

use bytes::Bytes;
use jaq_core::native::{Fun, bome, run, v};
use jaq_core::{Cv, ValT as _};
use jaq_json::{Error, Val, ValR};
use jaq_std::ValT as _;
use regex_bites::bytes::{Captures, Regex, RegexBuilder};

use super::natives::PIECE;
use super::watch::{Meter, Watched};

/// What a group of a match takes, in bytes: an object of four members.
const GROUP: usize = 640;
/// The longest regular expression, in bytes; compiling one takes some hundred times as much.
const LONGEST: usize = 64 << 10;

/// What is to be told: the texts between matches, the matches.
#[derive(Clone, Copy)]
struct Wanted {
    between: bool,
    matches: bool,
}

/// `matches`, `split_matches` and `split_`, of a regular expression and flags.
pub(super) fn all() -> [Fun<Watched>; 3] {
    [
        run(("matches", v(2), |cv| {
            bome(find(
                cv,
                Wanted {
                    between: false,
                    matches: true,
                },
            ))
        })),
        run(("split_matches", v(2), |cv| {
            bome(find(
                cv,
                Wanted {
                    between: true,
                    matches: true,
                },
            ))
        })),
        run(("split_", v(2), |cv| {
            bome(find(
                cv,
                Wanted {
                    between: true,
                    matches: false,
                },
            ))
        })),
    ]
}

/// Texts, and matches as arrays of their groups, in their order.
fn find(mut cv: Cv<'_, Watched>, wanted: Wanted) -> ValR {
    let (flags, regex) = (cv.0.pop_var(), cv.0.pop_var());
    let flags = text(&flags)?;
    let regex = compiled(text(&regex)?, flags)?;
    let input = Input {
        value: &cv.1,
        text: cv.1.try_as_utf8_bytes()?,
        meter: cv.0.data().meter,
    };
    let names: Vec<Option<Val>> = regex.capture_names().map(|name| name.map(string)).collect();
    let (mut found, mut end, mut place) = (Vec::new(), 0, (0, 0));
    for captures in regex.captures_iter(input.text) {
        let Some(whole) = captures
            .get(0)
            .filter(|whole| !(flags.contains('n') && whole.is_empty()))
        else {
            continue;
        };
        input.meter.look();
        if wanted.between {
            input.meter.charge(PIECE);
            found.push(input.value.as_sub_str(&input.text[end..whole.start()]));
            end = whole.end();
        }
        if wanted.matches {
            place = (
                whole.start(),
                place.1 + characters(&input.text[place.0..whole.start()]),
            );
            found.push(input.groups(&captures, &names, place)?);
        }
        if !flags.contains('g') {
            break;
        }
    }
    if wanted.between {
        found.push(input.value.as_sub_str(&input.text[end..]));
    }
    Ok(found.into_iter().collect())
}

/// What is searched.
struct Input<'i> {
    value: &'i Val,
    text: &'i [u8],
    meter: &'i Meter,
}

impl Input<'_> {
    /// The groups of a match that begins at `place`, in bytes and in characters.
    fn groups(
        &self,
        captures: &Captures<'_>,
        names: &[Option<Val>],
        place: (usize, usize),
    ) -> ValR {
        self.meter.charge(captures.len() * GROUP);
        let groups = captures
            .iter()
            .zip(names)
            .filter_map(|(group, name)| Some((group?, name)));
        let groups = groups.map(|(group, name)| {
            let fields = [
                (
                    "offset",
                    Val::from(place.1 + characters(&self.text[place.0..group.start()])),
                ),
                ("length", Val::from(characters(group.as_bytes()))),
                ("string", self.value.as_sub_str(group.as_bytes())),
            ];
            let name = name.iter().map(|name| ("name", name.clone()));
            Val::from_map(
                fields
                    .into_iter()
                    .chain(name)
                    .map(|(key, value)| (string(key), value)),
            )
        });
        groups.collect()
    }
}

/// Characters, as of UTF-8.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
}

fn string(text: &str) -> Val {
    Val::utf8_str(Bytes::copy_from_slice(text.as_bytes()))
}

fn text(value: &Val) -> Result<&str, Error> {
    std::str::from_utf8(value.try_as_utf8_bytes()?).map_err(Error::str)
}

fn compiled(regex: &str, flags: &str) -> Result<Regex, Error> {
    if let Some(unknown) = flags.chars().find(|flag| !"gnimslxp".contains(*flag)) {
        return Err(Error::str(format_args!("invalid regex flag: {unknown}")));
    }
    if regex.len() > LONGEST {
        return Err(Error::str(format_args!(
            "a regex of more than {LONGEST} bytes"
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
