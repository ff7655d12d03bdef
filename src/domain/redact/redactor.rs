//! What must never be shown.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::AhoCorasick;

use super::encodings::{DecodedText, secret_encodings};

/// What must not be shown now: the secrets of a configuration, and those of the one before it, since a request of that
/// one may still be in the air.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    current: SecretSet,
    previous: SecretSet,
}

/// Texts that are `***` wherever they appear in a message or a log line. Its `Debug` shows none of them. Cheap to clone.
#[derive(Clone, Default)]
pub struct SecretSet(Option<Arc<AhoCorasick>>);

impl Redactor {
    /// Takes the secrets of a new configuration.
    pub fn replace_secrets(&mut self, secrets: SecretSet) {
        self.previous = std::mem::replace(&mut self.current, secrets);
    }

    /// `text` with every secret of either replaced by `***`.
    pub fn redact(&self, text: &str) -> String {
        self.previous
            .redact(&self.current.redact(text))
            .into_owned()
    }
}

impl From<SecretSet> for Redactor {
    fn from(current: SecretSet) -> Self {
        Self {
            current,
            previous: SecretSet::default(),
        }
    }
}

impl SecretSet {
    /// Shorter values are not masked: they would blank ordinary words.
    pub const MIN_CHARS: usize = 8;

    /// Keeps the values of at least [`Self::MIN`] characters, each in every form in which others may write it, in
    /// whatever letter case.
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        let long = values
            .into_iter()
            .filter(|v| v.chars().count() >= Self::MIN_CHARS);
        let kept: BTreeSet<String> = long.flat_map(secret_encodings).collect();
        if kept.is_empty() {
            return Self::default();
        }
        // Building fails only beyond two thousand million bytes of secrets; a configuration has at most a few million.
        Self(
            AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .build(&kept)
                .ok()
                .map(Arc::new),
        )
    }

    /// `text` with every secret replaced by `***`; borrowed where there is none.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let spans = self.secret_spans(text);
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut masked = String::with_capacity(text.len());
        let mut from = 0;
        for span in spans {
            masked.push_str(&text[from..span.start]);
            masked.push_str("***");
            from = span.end;
        }
        masked.push_str(&text[from..]);
        Cow::Owned(masked)
    }

    /// Where secrets stand in `text`, in bytes, in order; those that overlap are one.
    pub fn secret_spans(&self, text: &str) -> Vec<Range<usize>> {
        let Some(known) = &self.0 else {
            return Vec::new();
        };
        let mut found: Vec<Range<usize>> = known
            .find_overlapping_iter(text)
            .map(|found| found.range())
            .collect();
        for layer in DecodedText::decode_passes(text) {
            found.extend(
                known
                    .find_overlapping_iter(&layer.bytes)
                    .map(|found| layer.original_range(&found.range())),
            );
        }
        found.sort_unstable_by_key(|span| span.start);
        found.dedup_by(|next, span| {
            let overlaps = next.start < span.end;
            if overlaps {
                span.end = span.end.max(next.end);
            }
            overlaps
        });
        found
    }

    /// How many texts there are to look for.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |known| known.patterns_len())
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl std::fmt::Debug for SecretSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redaction_handles_nested_secrets() {
        let secrets = SecretSet::new(["abcdefgh".into(), "abcdefghij".into(), "short".into()]);
        assert_eq!(
            secrets.redact("key abcdefghij, short, abcdefgh"),
            "key ***, short, ***"
        );
        assert!(matches!(secrets.redact("nothing here"), Cow::Borrowed(_)));
        assert_eq!(format!("{secrets:?}"), "Secrets(2)");
    }

    #[test]
    fn overlapping_secrets_are_redacted() {
        let secrets = SecretSet::new(["abcdefgh".into(), "ghijklmn".into()]);
        assert_eq!(
            secrets.redact("-abcdefghijklmn-abcdefghabcdefgh-"),
            "-***-******-"
        );
        assert_eq!(
            secrets.secret_spans("-abcdefghijklmn-abcdefgh"),
            [1..15, 16..24]
        );
        assert_eq!(SecretSet::new(["short".into()]).redact("short"), "short");
    }

    #[test]
    fn encoded_secret_is_redacted() {
        let secrets = SecretSet::new(["k/é' &+{Key}%".into()]);
        for written in [
            "k%2F%C3%A9%27%20%26%2B%7BKey%7D%25",
            "k%2f%c3%a9%27%20%26%2b%7bkey%7d%25",
            "%6B/%C3%A9'+%26%2B{%4b%65%79}%25",
            "k%252F%25C3%25A9%2527%2520%2526%252B%257BKey%257D%2525",
            "K/é' &+{KEY}%",
            r"k\u002f\u00E9\u0027\u0020\u0026+{\u004bey}%",
            r"k\/\u00e9' &+{Key}%",
            "k/é&#39; &amp;+{Key}%",
            "k&#x2F;&#233;&#X27;&#32;&amp;&#x0002b;{Key}&#37;",
            "k/é&amp;#39; &amp;amp;+{Key}%",
        ] {
            assert_eq!(
                secrets.redact(&format!("é {written} ñ")),
                "é *** ñ",
                "{written}"
            );
        }
        for harmless in ["100%25 of k/", "&;&#;&#x;&nbsp;&#99999999;&amp"] {
            assert_eq!(secrets.redact(harmless), harmless);
        }
    }

    #[test]
    fn quoted_secret_is_redacted() {
        let secrets = SecretSet::new(["quo\"ted\\value".into()]);
        let once = format!("{:?}", "a quo\"ted\\value b");
        assert_eq!(secrets.redact(&once), "\"a *** b\"");
        assert_eq!(secrets.redact(&format!("{once:?}")), r#""\"a *** b\"""#);
    }
}
