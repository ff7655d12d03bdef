//! Text for terminals: harmless, folded or cut to a width, and times as people say them.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What providers tell must not drive the terminal: control and direction characters are escaped.
pub(crate) fn escape_control(text: &str) -> String {
    let direction = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
    let escape = |c: char| {
        if c.is_control() || direction(c) {
            c.escape_unicode().to_string()
        } else {
            c.to_string()
        }
    };
    text.chars().map(escape).collect()
}

/// `text` in at most `room` columns; what is cut off is marked.
pub(crate) fn truncate_to_width(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let kept = prefix_within_width(text, room.saturating_sub(1));
    format!("{kept}…")
}

/// `text` in lines of at most `room` columns, broken between words; within one only where it is longer than a line.
pub(crate) fn wrap_text(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for piece in text.split(' ').flat_map(|word| split_word(word, room)) {
        if !line.is_empty() && line.width() + 1 + piece.width() > room {
            lines.push(std::mem::take(&mut line));
        }
        let space = if line.is_empty() { "" } else { " " };
        let _ = write!(line, "{space}{piece}");
    }
    lines.push(line);
    lines
}

/// A word in pieces that fit; all but the last fill their line.
fn split_word(word: &str, room: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = word;
    while rest.width() > room {
        // A character wider than the room must not keep us here for ever.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let (piece, after) = rest.split_at(prefix_within_width(rest, room).len().max(first));
        pieces.push(piece);
        rest = after;
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(rest);
    }
    pieces
}

/// As much of the beginning of `text` as takes at most `room` columns.
fn prefix_within_width(text: &str, room: usize) -> &str {
    let mut left = room;
    let mut end = 0;
    for (at, c) in text.char_indices() {
        let width = c.width().unwrap_or_default();
        if width > left {
            break;
        }
        left -= width;
        end = at + c.len_utf8();
    }
    &text[..end]
}

/// An age as people say it: the two largest units at most.
pub(crate) fn format_age(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, ms % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// An instant of the answer, in seconds, without the day if that is the answer's own: `06:48:10Z`.
pub(crate) fn format_instant(at: &str, answered: &str) -> String {
    let seconds = at
        .split_once('.')
        .map_or_else(|| at.to_owned(), |(whole, _)| format!("{whole}Z"));
    match (seconds.split_once('T'), answered.split_once('T')) {
        (Some((day, time)), Some((today, _))) if day == today => time.to_owned(),
        _ => seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_at_most_two_units() {
        let spans = [0, 823, 9_999, 59_999, 1_020_834, 11_000_000, 200_000_000].map(format_age);
        assert_eq!(
            spans,
            [
                "0.0 s",
                "0.8 s",
                "9.9 s",
                "59 s",
                "17 min 0 s",
                "3 h 3 min",
                "2 d 7 h"
            ]
        );
    }

    #[test]
    fn instants_of_today_omit_date() {
        let answered = "2026-11-22T06:55:10.734Z";
        assert_eq!(
            format_instant("2026-11-22T06:48:10.102Z", answered),
            "06:48:10Z"
        );
        assert_eq!(
            format_instant("2026-11-21T23:59:59.999Z", answered),
            "2026-11-21T23:59:59Z"
        );
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(
            escape_control("a\u{1b}[2Jb\u{202e}c\u{61c}"),
            "a\\u{1b}[2Jb\\u{202e}c\\u{61c}"
        );
    }

    #[test]
    fn text_wraps_between_words() {
        assert_eq!(wrap_text("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap_text("a 東京東京 b", 5), ["a", "東京", "東京", "b"]);
        assert_eq!(wrap_text("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap_text("", 3), [""]);
        assert_eq!(wrap_text("東東", 1), ["東", "東"]);
        assert_eq!(
            (truncate_to_width("東京東", 4), truncate_to_width("東京", 4)),
            ("東…".into(), "東京".into())
        );
    }
}
