//! Durations and sizes as people write them.

use std::time::Duration;

/// The longest duration that a configuration may hold. It keeps every sum of durations far from overflow.
pub(super) const MAX_DURATION: Duration = Duration::from_secs(3650 * 86_400);

/// Why a text is no duration or no size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UnitError {
    /// Nothing that could be one; perhaps this was meant.
    Malformed(Option<String>),
    /// It is one, beyond every sensible bound.
    TooLarge,
}

const DURATION_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// `250ms`, `5s`, `1m`, `2h`, `1d`, or several in a row: `1h30m`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let mut rest = text;
    let mut millis: u64 = 0;
    while !rest.is_empty() || text.is_empty() {
        let (number, after) = split_digits(rest);
        let (unit, after) = split_letters(after);
        let known = DURATION_UNITS.iter().find(|(name, _)| *name == unit);
        let (Some((_, scale)), false) = (known, number.is_empty()) else {
            return Err(UnitError::Malformed(suggest_duration(text)));
        };
        let part = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*scale));
        millis = part
            .and_then(|part| millis.checked_add(part))
            .ok_or(UnitError::TooLarge)?;
        rest = after;
    }
    let span = Duration::from_millis(millis);
    if span > MAX_DURATION {
        Err(UnitError::TooLarge)
    } else {
        Ok(span)
    }
}

/// `512B`, `64KiB`, `1MiB`, `1GiB`, also `kB`, `MB`, `GB`; in bytes.
pub(super) fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split_digits(text);
    let scale = SIZE_UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, scale)| *scale);
    let (Some(scale), false) = (scale, number.is_empty()) else {
        let unit = unit.trim();
        let near = SIZE_UNITS.iter().find(|(name, _)| {
            let letter = |text: &str| text.bytes().next().map(|b| b.to_ascii_lowercase());
            name.eq_ignore_ascii_case(unit) || (unit.len() == 1 && letter(name) == letter(unit))
        });
        return Err(UnitError::Malformed(
            near.filter(|_| !number.is_empty())
                .map(|(name, _)| format!("{number}{name}")),
        ));
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(scale))
        .ok_or(UnitError::TooLarge)
}

/// A size in its largest whole unit.
pub(super) fn format_size(bytes: u64) -> String {
    let unit = SIZE_UNITS[..4]
        .iter()
        .rev()
        .find(|(_, scale)| bytes >= *scale && bytes.is_multiple_of(*scale));
    unit.map_or_else(
        || format!("{bytes}B"),
        |(name, scale)| format!("{}{name}", bytes / scale),
    )
}

/// A duration as the configuration writes it: `1h30m`; what is below a millisecond is cut.
pub fn format_duration(span: Duration) -> String {
    let mut millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, scale) in DURATION_UNITS.iter().rev() {
        if millis >= *scale {
            text.push_str(&(millis / scale).to_string());
            text.push_str(name);
            millis %= scale;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// What a number with another word was probably meant to be: `5 minutos` → `5m`, `5` → `5s`.
fn suggest_duration(text: &str) -> Option<String> {
    let (number, word) = split_digits(text.trim());
    let word = word.trim().to_lowercase();
    let unit = match word.as_str() {
        "" => "s",
        w if w.starts_with("ms") || w.starts_with("mil") => "ms",
        w => ["s", "m", "h", "d"]
            .into_iter()
            .find(|unit| w.starts_with(unit) && w.chars().all(char::is_alphabetic))?,
    };
    (!number.is_empty() && number.len() < 10).then(|| format!("{number}{unit}"))
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn split_letters(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_alphabetic).count())
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
        let form = |text| match parse_duration(text) {
            Err(UnitError::Malformed(meant)) => meant,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(form("5").as_deref(), Some("5s"));
        assert_eq!(form("5 minutos").as_deref(), Some("5m"));
        assert_eq!(form("5 ms").as_deref(), Some("5ms"));
        assert_eq!(form("5S").as_deref(), Some("5s"));
        for bad in [
            "", "-1s", "1e20s", "1.5s", "s", "ms5", "5y", "５s", "1s ", "NaN", "0x5s",
        ] {
            assert!(form(bad).is_none_or(|meant| bad.trim() == meant), "{bad}");
        }
    }

    #[test]
    fn large_units_do_not_overflow() {
        for huge in [
            "99999999999999999999s",
            "18446744073709551615d",
            "3651d",
            "3650d1ms",
        ] {
            assert_eq!(parse_duration(huge), Err(UnitError::TooLarge), "{huge}");
        }
        assert_eq!(parse_duration("3650d"), Ok(MAX_DURATION));
        assert_eq!(
            parse_size("18446744073709551615GiB"),
            Err(UnitError::TooLarge)
        );
    }

    #[test]
    fn sizes_are_parsed() {
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert_eq!(parse_size("1MiB"), Ok(1_048_576));
        assert_eq!(parse_size("2MB"), Ok(2_000_000));
        assert_eq!(parse_size("512B"), Ok(512));
        assert_eq!(
            parse_size("1mib"),
            Err(UnitError::Malformed(Some("1MiB".into())))
        );
        assert_eq!(
            parse_size("64k"),
            Err(UnitError::Malformed(Some("64KiB".into())))
        );
        assert_eq!(parse_size("64"), Err(UnitError::Malformed(None)));
        assert_eq!(parse_size("MiB"), Err(UnitError::Malformed(None)));
    }

    #[test]
    fn formatted_units_round_trip() {
        for text in ["0s", "250ms", "1s500ms", "1m", "1h30m", "1d"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(format_size(65_536), "64KiB");
        assert_eq!(format_size(1000), "1000B");
    }
}
