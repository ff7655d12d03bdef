//! Identity of a source definition.

use std::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::source::Source;

/// Digest of a source's name and `extract` filters and, for a derived source, of the identities of
/// its inputs. A restart, a reload and another replica accept a reading only if its identity
/// matches. Displayed as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceIdentity(u128);

impl SourceIdentity {
    /// Returns the digest of the source's own definition. For a derived source,
    /// [`Self::with_inputs`] adds its inputs.
    pub fn from_source(source: &Source) -> Self {
        let mut hasher = IdentityHasher::default();
        hasher.hash_text(source.name.as_str());
        for input in source.inputs() {
            hasher.hash_text(input.as_str());
        }
        // A source name is never empty, so an empty text separates the inputs from the filters.
        hasher.hash_text("");
        for extract in source.extract_filters() {
            hasher.hash_text(extract);
        }
        Self(hasher.0.digest128())
    }

    /// Returns the identity of a derived source: this digest combined with those of its inputs.
    #[must_use]
    pub fn with_inputs(self, inputs: impl IntoIterator<Item = Self>) -> Self {
        let bytes: Vec<u8> = std::iter::once(self)
            .chain(inputs)
            .flat_map(|identity| identity.0.to_le_bytes())
            .collect();
        Self(xxh3_128(&bytes))
    }

    /// Parses the 32 hexadecimal digits of an identity; `None` for any other text.
    pub fn from_text(text: &str) -> Option<Self> {
        // `from_str_radix` alone would accept a sign and fewer digits.
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for SourceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Incremental hash of a list of texts.
#[derive(Default)]
struct IdentityHasher(Xxh3);

impl IdentityHasher {
    /// Adds one text. The length prefix makes the encoding of a list of texts unambiguous.
    fn hash_text(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_text_round_trips() {
        let identity = SourceIdentity(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(
            SourceIdentity::from_text(&identity.to_string()),
            Some(identity)
        );
        for invalid in [
            "",
            "12",
            &"g".repeat(32),
            &format!("+{}", "1".repeat(31)),
            &"1".repeat(33),
        ] {
            assert_eq!(SourceIdentity::from_text(invalid), None, "{invalid}");
        }
    }
}
