//! Names of sources and providers.

use std::fmt;
use std::sync::Arc;

/// Name of a source or a provider: `[a-z0-9][a-z0-9_-]{0,63}`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Error of [`Name::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name cannot be empty")]
    Empty,
    /// The text is longer than [`Name::MAX`] characters.
    #[error("a name has at most 64 characters")]
    TooLong,
    /// The text has a character outside the alphabet, or starts with `_` or `-`.
    #[error("a name is made of a-z, 0-9, `_` and `-` and begins with a letter or a digit")]
    BadCharacter,
}

impl Name {
    /// Maximum number of characters.
    pub const MAX: usize = 64;

    /// Returns `text` as a name if it has the alphabet and the length of one.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let Some(first) = text.bytes().next() else {
            return Err(NameError::Empty);
        };
        let is_alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let is_allowed = |b: u8| is_alphanumeric(b) || b == b'_' || b == b'-';
        if !is_alphanumeric(first) || !text.bytes().all(is_allowed) {
            return Err(NameError::BadCharacter);
        }
        if text.len() > Self::MAX {
            return Err(NameError::TooLong);
        }
        Ok(Self(text.into()))
    }

    /// Returns the name under which the filters of the login of this name take turns. No source has it: it has a dot.
    #[must_use]
    pub fn login_key(&self) -> Self {
        Self(["auth.", &self.0].concat().into())
    }

    /// Returns the text of the name.
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
        for valid in ["a", "0", "btc", "btc-usd_2", &"x".repeat(64)] {
            assert!(Name::new(valid).is_ok(), "{valid}");
        }
        for invalid in [
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
            assert!(Name::new(invalid).is_err(), "{invalid}");
        }
    }
}
