//! Regular expressions of filters, with the flags and the results of jq.

use jaq_json::{Error, Map, Val, ValR};
use jaq_std::ValT as _;
use regex_bites::bytes::{Captures, Regex, RegexBuilder};

/// Flags of a match that are not part of the expression.
#[derive(Debug, Clone, Copy, Default)]
struct MatchFlags {
    is_global: bool,
    ignores_empty: bool,
}

/// Compiles an expression.
///
/// # Errors
/// What is wrong with the expression or with the flags.
pub(super) fn compile_regex(expression: &str, flags: &str) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(expression);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'x' => builder.ignore_whitespace(true),
            // jq's `p`: a dot matches a line's end, too.
            'p' => builder.dot_matches_new_line(true),
            // `g` and `n` select matches afterwards; the engine has no counterpart of the others.
            'g' | 'n' | 's' | 'l' => &mut builder,
            _ => return Err(format!("{flags} is not a valid modifier string")),
        };
    }
    builder.build().map_err(|error| error.to_string())
}

fn compile_values(expression: &Val, flags: &Val) -> Result<(Regex, MatchFlags), Error> {
    let text = |value: &Val, what: &str| match value {
        Val::TStr(text) => Ok(String::from_utf8_lossy(text).into_owned()),
        Val::Null if what == "flags" => Ok(String::new()),
        other => Err(Error::str(format_args!(
            "{other} cannot be matched, as it is not a string"
        ))),
    };
    let (expression, flags) = (text(expression, "expression")?, text(flags, "flags")?);
    let regex = compile_regex(&expression, &flags).map_err(|error| {
        Error::str(format_args!(
            "{expression} (at offset 0) is not a valid regex: {error}"
        ))
    })?;
    let flags = MatchFlags {
        is_global: flags.contains('g'),
        ignores_empty: flags.contains('n'),
    };
    Ok((regex, flags))
}

fn input_text(input: &Val) -> Result<&[u8], Error> {
    match input {
        Val::TStr(text) => Ok(text),
        other => Err(Error::str(format_args!(
            "{other} cannot be matched, as it is not a string"
        ))),
    }
}

fn find_matches<'t>(regex: &Regex, flags: MatchFlags, text: &'t [u8]) -> Vec<Captures<'t>> {
    let matches = regex.captures_iter(text).filter(|captures| {
        !flags.ignores_empty || captures.get(0).is_some_and(|whole| !whole.is_empty())
    });
    matches
        // After the filter: without `g`, the first match counts that `n` does not ignore.
        .take(if flags.is_global { usize::MAX } else { 1 })
        .collect()
}

/// Whether `input` matches.
pub(super) fn is_match(input: &Val, expression: &Val, flags: &Val) -> ValR {
    let (regex, flags) = compile_values(expression, flags)?;
    let text = input_text(input)?;
    Ok(Val::Bool(if flags.ignores_empty {
        !find_matches(&regex, flags, text).is_empty()
    } else {
        regex.is_match(text)
    }))
}

/// Returns the array of matches, each as `match` gives it.
pub(super) fn match_objects(input: &Val, expression: &Val, flags: &Val) -> ValR {
    let (regex, flags) = compile_values(expression, flags)?;
    let text = input_text(input)?;
    let mut offsets = CharOffsets {
        text,
        byte: 0,
        chars: 0,
    };
    let mut objects = Vec::new();
    for captures in find_matches(&regex, flags, text) {
        let Some(whole) = captures.get(0) else {
            continue;
        };
        let offset = offsets.chars_before(whole.start());
        let mut object = match_object(input, whole.as_bytes(), offset);
        let mut groups = Vec::new();
        for (name, group) in regex.capture_names().zip(captures.iter()).skip(1) {
            let mut group = match group {
                // A group may begin before the previous one, so its position is counted from the match.
                Some(group) => {
                    let inner = count_chars(&text[whole.start()..group.start()]);
                    match_object(input, group.as_bytes(), offset + inner)
                }
                None => [
                    ("offset", Val::from(-1_isize)),
                    ("length", Val::from(0_usize)),
                    ("string", Val::Null),
                ]
                .map(|(name, value)| (Val::utf8_str(name), value))
                .into_iter()
                .collect(),
            };
            let name = name.map_or(Val::Null, |name| Val::from(name.to_owned()));
            group.insert(Val::utf8_str("name"), name);
            groups.push(Val::obj(group));
        }
        object.insert(Val::utf8_str("captures"), groups.into_iter().collect());
        objects.push(Val::obj(object));
    }
    Ok(objects.into_iter().collect())
}

/// Returns the parts of `sub`: an array of `[text before a match, {name: string} of its groups]`, and the text behind the
/// last match.
pub(super) fn edits(input: &Val, expression: &Val, flags: &Val) -> ValR {
    let (regex, flags) = compile_values(expression, flags)?;
    let text = input_text(input)?;
    let mut previous = 0;
    let mut edits = Vec::new();
    for captures in find_matches(&regex, flags, text) {
        let Some(whole) = captures.get(0) else {
            continue;
        };
        let named = regex
            .capture_names()
            .zip(captures.iter())
            .filter_map(|(name, group)| {
                let group = group.map_or(Val::Null, |group| input.as_sub_str(group.as_bytes()));
                Some((Val::from(name?.to_owned()), group))
            });
        let gap = input.as_sub_str(&text[previous..whole.start()]);
        edits.push([gap, Val::obj(named.collect())].into_iter().collect());
        previous = whole.end();
    }
    let edits: Val = edits.into_iter().collect::<Val>();
    Ok([edits, input.as_sub_str(&text[previous..])]
        .into_iter()
        .collect())
}

fn match_object(input: &Val, part: &[u8], offset: usize) -> Map {
    [
        ("offset", Val::from(offset)),
        ("length", Val::from(count_chars(part))),
        ("string", input.as_sub_str(part)),
    ]
    .map(|(name, value)| (Val::utf8_str(name), value))
    .into_iter()
    .collect()
}

fn count_chars(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
}

/// Counts the characters before growing positions.
struct CharOffsets<'t> {
    text: &'t [u8],
    byte: usize,
    chars: usize,
}

impl CharOffsets<'_> {
    fn chars_before(&mut self, byte: usize) -> usize {
        self.chars += count_chars(&self.text[self.byte..byte]);
        self.byte = byte;
        self.chars
    }
}
