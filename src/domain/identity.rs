//! To which source a reading belongs.

use std::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::source::Source;

/// A digest of a source's name and `extract` texts, of a derived source's inputs too. A reading belongs to whoever has
/// the same: restarts, reloads and replicas keep or take it by this and by nothing else. Shown as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceIdentity(u128);

impl SourceIdentity {
    /// The identity of a fetched source; of a derived one, what its own lines say, less its inputs' identities.
    pub fn from_source(source: &Source) -> Self {
        let mut hasher = IdentityHasher::default();
        hasher.hash_text(source.name.as_str());
        source
            .inputs()
            .iter()
            .for_each(|input| hasher.hash_text(input.as_str()));
        // Where the inputs end and the filters begin.
        hasher.hash_text("");
        source
            .extract_filters()
            .into_iter()
            .for_each(|extract| hasher.hash_text(extract));
        Self(hasher.0.digest128())
    }

    /// This identity on top of those of a derived source's inputs.
    #[must_use]
    pub fn with_inputs(self, inputs: impl IntoIterator<Item = Self>) -> Self {
        let all: Vec<u8> = std::iter::once(self)
            .chain(inputs)
            .flat_map(|one| one.0.to_le_bytes())
            .collect();
        Self(xxh3_128(&all))
    }

    /// The identity that is shown as `text`.
    pub fn from_text(text: &str) -> Option<Self> {
        let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        u128::from_str_radix(text, 16)
            .ok()
            .filter(|_| hex)
            .map(Self)
    }
}

impl fmt::Display for SourceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[derive(Default)]
struct IdentityHasher(Xxh3);

impl IdentityHasher {
    /// Length first, so that no two lists of texts look alike.
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
        for bad in [
            "",
            "12",
            &"g".repeat(32),
            &format!("+{}", "1".repeat(31)),
            &"1".repeat(33),
        ] {
            assert_eq!(SourceIdentity::from_text(bad), None, "{bad}");
        }
    }
}
