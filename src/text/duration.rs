//! Durations as text: the parser and the printer.

use std::time::Duration;

use super::unit::{UnitError, UnitStyle, split_digits};

/// Upper bound of a parsed duration. It keeps every sum of durations far from overflow.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(3650 * 86_400);

/// Units and their milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Parses `250ms`, `5s`, `1m`, `2h`, `1d`, or several of them in a row: `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let mut rest = text;
    let mut millis: u64 = 0;
    // An empty text enters the loop once and is refused there.
    while !rest.is_empty() || text.is_empty() {
        let (number, after) = split_digits(rest);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let scale = UNITS.iter().find(|(name, _)| *name == unit);
        let (Some((_, scale)), false) = (scale, number.is_empty()) else {
            return Err(UnitError::Malformed(suggest_duration(text)));
        };
        let part = number.parse().ok().and_then(|n: u64| n.checked_mul(*scale));
        let sum = part.and_then(|part| millis.checked_add(part));
        millis = sum.ok_or(UnitError::TooLarge)?;
        rest = after;
    }
    let duration = Duration::from_millis(millis);
    if duration > MAX_DURATION {
        return Err(UnitError::TooLarge);
    }
    Ok(duration)
}

/// The probable meaning of a number with another unit: `5 minutes` → `5m`, `5` → `5s`.
fn suggest_duration(text: &str) -> Option<String> {
    let (number, unit) = split_digits(text.trim());
    let unit = unit.trim().to_lowercase();
    let unit = match unit.as_str() {
        "" => "s",
        // `mil` begins the word for milliseconds in several languages.
        unit if unit.starts_with("ms") || unit.starts_with("mil") => "ms",
        unit => ["s", "m", "h", "d"]
            .into_iter()
            .find(|known| unit.starts_with(known) && unit.chars().all(char::is_alphabetic))?,
    };
    (!number.is_empty() && number.len() < 10).then(|| format!("{number}{unit}"))
}

/// The duration as text. In a message the unit is `ms` below a second, else `s`, with at most three decimals. In the syntax
/// fractions of a millisecond are cut.
pub fn format_duration(duration: Duration, style: UnitStyle) -> String {
    let micros = duration.as_micros();
    match style {
        UnitStyle::Syntax => format_syntax(duration),
        UnitStyle::Message if micros < 1_000_000 => format!("{} ms", format_thousandths(micros)),
        UnitStyle::Message => format!("{} s", format_thousandths(duration.as_millis())),
    }
}

fn format_syntax(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, scale) in UNITS.iter().rev() {
        if millis >= *scale {
            text.push_str(&(millis / scale).to_string());
            text.push_str(unit);
            millis %= scale;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// A number of thousandths as a decimal without trailing zeros.
fn format_thousandths(value: u128) -> String {
    let decimal = format!("{}.{:03}", value / 1000, value % 1000);
    decimal.trim_end_matches('0').trim_end_matches('.').into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed() {
        let millis = |text| parse_duration(text).unwrap().as_millis();
        assert_eq!(millis("250ms"), 250);
        assert_eq!(millis("5s"), 5000);
        assert_eq!(millis("1m"), 60_000);
        assert_eq!(millis("2h"), 7_200_000);
        assert_eq!(millis("1d"), 86_400_000);
        assert_eq!(millis("1h30m"), 5_400_000);
        assert_eq!(millis("0s"), 0);
    }

    #[test]
    fn invalid_duration_suggests_fix() {
        let suggestion = |text| match parse_duration(text) {
            Err(UnitError::Malformed(suggestion)) => suggestion,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(suggestion("5").as_deref(), Some("5s"));
        assert_eq!(suggestion("5 minutos").as_deref(), Some("5m"));
        assert_eq!(suggestion("5 ms").as_deref(), Some("5ms"));
        assert_eq!(suggestion("5S").as_deref(), Some("5s"));
        for bad in [
            "", "-1s", "1e20s", "1.5s", "s", "ms5", "5y", "５s", "1s ", "NaN", "0x5s",
        ] {
            assert!(
                suggestion(bad).is_none_or(|text| bad.trim() == text),
                "{bad}"
            );
        }
    }

    #[test]
    fn large_durations_do_not_overflow() {
        for huge in [
            "99999999999999999999s",
            "18446744073709551615d",
            "3651d",
            "3650d1ms",
        ] {
            assert_eq!(parse_duration(huge), Err(UnitError::TooLarge), "{huge}");
        }
        assert_eq!(parse_duration("3650d"), Ok(MAX_DURATION));
    }

    #[test]
    fn syntax_round_trips() {
        for text in ["0s", "250ms", "1s500ms", "1m", "1h30m", "1d"] {
            assert_eq!(
                format_duration(parse_duration(text).unwrap(), UnitStyle::Syntax),
                text
            );
        }
    }

    #[test]
    fn message_keeps_fractions() {
        let texts = [
            0, 500, 50_000, 250_000, 1_000_000, 1_500_000, 4_000_000, 90_001_000,
        ]
        .map(|micros| format_duration(Duration::from_micros(micros), UnitStyle::Message));
        assert_eq!(
            texts,
            [
                "0 ms", "0.5 ms", "50 ms", "250 ms", "1 s", "1.5 s", "4 s", "90.001 s"
            ]
        );
    }
}
