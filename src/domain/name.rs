//! Names of sources and providers.

use std::fmt;
use std::sync::Arc;

/// The name of a source or of a provider: `[a-z0-9][a-z0-9_-]{0,63}`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text has no characters.
    #[error("a name cannot be empty")]
    Empty,
    /// The text is longer than [`Name::MAX`] characters.
    #[error("a name has at most 64 characters")]
    TooLong,
    /// A character outside the alphabet, or `_` or `-` at the beginning.
    #[error("a name is made of a-z, 0-9, `_` and `-` and begins with a letter or a digit")]
    BadCharacter,
}

impl Name {
    /// The most characters that a name may have.
    pub const MAX: usize = 64;

    /// Checks `text` against the alphabet and the length.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let Some(first) = text.bytes().next() else {
            return Err(NameError::Empty);
        };
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if !letter(first) || !text.bytes().all(|b| letter(b) || b == b'_' || b == b'-') {
            return Err(NameError::BadCharacter);
        }
        if text.len() > Self::MAX {
            return Err(NameError::TooLong);
        }
        Ok(Self(text.into()))
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_alphabet_is_enforced() {
        for good in ["a", "0", "btc", "btc-usd_2", &"x".repeat(64)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "_a",
            "-a",
            "A",
            "a.b",
            "../x",
            "ñ",
            "a b",
            "💰",
            &"x".repeat(65),
        ] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }
}
