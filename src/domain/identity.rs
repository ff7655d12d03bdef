//! To which source a reading belongs.

use std::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::Source;

/// A digest of a source's name and `extract` texts, of a derived source's inputs too. A reading belongs to whoever has
/// the same: restarts, reloads and replicas keep or take it by this and by nothing else. Shown as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity(u128);

impl Identity {
    /// The identity of a fetched source; of a derived one, what its own lines say, less its inputs' identities.
    pub fn of(source: &Source) -> Self {
        let mut hasher = Hasher::default();
        hasher.text(source.name.as_str());
        source
            .inputs()
            .iter()
            .for_each(|input| hasher.text(input.as_str()));
        // Where the inputs end and the filters begin.
        hasher.text("");
        source
            .extracts()
            .into_iter()
            .for_each(|extract| hasher.text(extract));
        Self(hasher.0.digest128())
    }

    /// This identity on top of those of a derived source's inputs.
    #[must_use]
    pub fn over(self, inputs: impl IntoIterator<Item = Self>) -> Self {
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

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[derive(Default)]
struct Hasher(Xxh3);

impl Hasher {
    /// Length first, so that no two lists of texts look alike.
    fn text(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_shown() {
        let identity = Identity(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(Identity::from_text(&identity.to_string()), Some(identity));
        for bad in [
            "",
            "12",
            &"g".repeat(32),
            &format!("+{}", "1".repeat(31)),
            &"1".repeat(33),
        ] {
            assert_eq!(Identity::from_text(bad), None, "{bad}");
        }
    }
}
