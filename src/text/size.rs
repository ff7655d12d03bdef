//! Sizes in bytes as text: the parser and the printer.

use super::unit::{UnitError, UnitStyle, split_digits};

/// Units and their bytes: the binary ones first, in ascending order.
const UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Parses `512B`, `64KiB`, `1MiB`, `1GiB`, also `64kB`, `1MB`, `1GB`, into bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split_digits(text);
    let scale = UNITS.iter().find(|(name, _)| *name == unit);
    let (Some((_, scale)), false) = (scale, number.is_empty()) else {
        return Err(UnitError::Malformed(suggest_size(number, unit.trim())));
    };
    let bytes = number.parse().ok().and_then(|n: u64| n.checked_mul(*scale));
    bytes.ok_or(UnitError::TooLarge)
}

/// The probable meaning of a number with another spelling of a unit: `64k` → `64KiB`.
fn suggest_size(number: &str, unit: &str) -> Option<String> {
    let first = |text: &str| text.bytes().next().map(|b| b.to_ascii_lowercase());
    let (name, _) = UNITS.iter().find(|(name, _)| {
        name.eq_ignore_ascii_case(unit) || (unit.len() == 1 && first(name) == first(unit))
    })?;
    (!number.is_empty()).then(|| format!("{number}{name}"))
}

/// The size in the largest binary unit that divides it.
pub(crate) fn format_size(bytes: u64, style: UnitStyle) -> String {
    let divides = |(_, scale): &&(&str, u64)| bytes >= *scale && bytes.is_multiple_of(*scale);
    let unit = UNITS[..4].iter().rev().find(divides);
    let (unit, scale) = unit.unwrap_or(&UNITS[0]);
    let number = bytes / scale;
    match style {
        UnitStyle::Syntax => format!("{number}{unit}"),
        UnitStyle::Message if *scale == 1 => format!("{number} bytes"),
        UnitStyle::Message => format!("{number} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_parsed() {
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert_eq!(parse_size("1MiB"), Ok(1_048_576));
        assert_eq!(parse_size("2MB"), Ok(2_000_000));
        assert_eq!(parse_size("512B"), Ok(512));
    }

    #[test]
    fn invalid_size_suggests_fix() {
        let malformed = |text: Option<&str>| Err(UnitError::Malformed(text.map(str::to_owned)));
        assert_eq!(parse_size("1mib"), malformed(Some("1MiB")));
        assert_eq!(parse_size("64k"), malformed(Some("64KiB")));
        assert_eq!(parse_size("64"), malformed(None));
        assert_eq!(parse_size("MiB"), malformed(None));
        let huge = "18446744073709551615GiB";
        assert_eq!(parse_size(huge), Err(UnitError::TooLarge));
    }

    #[test]
    fn size_uses_largest_whole_unit() {
        let sizes = [1 << 20, 65_536, 1_500, 3 << 30];
        assert_eq!(
            sizes.map(|bytes| format_size(bytes, UnitStyle::Message)),
            ["1 MiB", "64 KiB", "1500 bytes", "3 GiB"]
        );
        assert_eq!(
            sizes.map(|bytes| format_size(bytes, UnitStyle::Syntax)),
            ["1MiB", "64KiB", "1500B", "3GiB"]
        );
    }
}
