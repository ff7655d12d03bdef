//! Texts of messages: limits as people write them, foreign text made harmless.

use std::fmt::Write as _;
use std::time::Duration;

/// The most characters of a body in a message, escaped.
pub(super) const QUOTE: usize = 120;

/// A limit as the configuration would state it: `250 ms`, `1.5 s`, `4 s`.
pub(super) fn span(span: Duration) -> String {
    let micros = span.as_micros();
    if micros < 1_000_000 {
        return format!("{} ms", decimal(micros, 1_000));
    }
    format!("{} s", decimal(span.as_millis(), 1_000))
}

/// A size in the largest binary unit that states it whole: `1 MiB`, `1500 bytes`.
pub(super) fn size(bytes: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} bytes")
}

/// At most [`QUOTE`] characters of foreign text, with everything that is not plainly printable escaped.
pub(super) fn quote(foreign: &str) -> String {
    let mut quoted = String::new();
    let mut left = QUOTE;
    for piece in foreign.chars().map(char::escape_debug) {
        if piece.len() > left {
            return quoted + "…";
        }
        left -= piece.len();
        quoted.extend(piece);
    }
    quoted
}

fn decimal(value: u128, unit: u128) -> String {
    let mut text = (value / unit).to_string();
    let rest = value % unit;
    if rest > 0 {
        let _ = write!(text, ".{rest:03}");
        text.truncate(text.trim_end_matches('0').len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_as_people_write_them() {
        let texts = [0, 500, 50_000, 250_000, 1_000_000, 1_500_000, 4_000_000, 90_001_000]
            .map(|micros| span(Duration::from_micros(micros)));
        assert_eq!(texts, ["0 ms", "0.5 ms", "50 ms", "250 ms", "1 s", "1.5 s", "4 s", "90.001 s"]);
        assert_eq!([1 << 20, 65_536, 1_500, 3 << 30].map(size), ["1 MiB", "64 KiB", "1500 bytes", "3 GiB"]);
    }

    #[test]
    fn foreign_text_is_escaped_and_short() {
        assert_eq!(quote("a\"b\n\u{202e}\0ñ"), "a\\\"b\\n\\u{202e}\\0ñ");
        let long = quote(&"\u{7}x".repeat(500));
        assert!(long.chars().count() <= QUOTE + 1 && long.ends_with('…'), "{long}");
    }
}
