//! What durations and sizes share: the error of the parsers, the styles of the printers, and the split of a text into
//! number and unit.

/// Why a text is not a duration or not a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UnitError {
    /// The text does not match the syntax. Holds the probable meaning, in valid syntax.
    Malformed(Option<String>),
    /// The value exceeds the upper bound.
    TooLarge,
}

/// How a printer writes a number and its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitStyle {
    /// For people: `1.5 s`, `64 KiB`, `1500 bytes`.
    Message,
    /// For the configuration, which reads it back: `1s500ms`, `64KiB`, `1500B`.
    Syntax,
}

/// `text` split after its leading ASCII digits.
pub(super) fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}
