//! What the parsers of durations and sizes share: the error, and the split of a text into number and unit.

/// Why a text is not a duration or not a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UnitError {
    /// The text does not match the syntax. Holds the probable meaning, in valid syntax.
    Malformed(Option<String>),
    /// The value exceeds the upper bound.
    TooLarge,
}

/// `text` split after its leading ASCII digits.
pub(super) fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}
