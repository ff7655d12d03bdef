//! Search for secrets in text.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::AhoCorasick;

use super::encodings::{DecodedText, secret_encodings};

/// Secrets of one configuration, each in every encoding that [`Self::redact`] recognises. `Debug`
/// prints only their number. Cheap to clone.
#[derive(Clone, Default)]
pub struct SecretSet(Option<Arc<AhoCorasick>>);

impl SecretSet {
    /// Minimum length of a secret, in characters. Shorter values are not redacted, since they also
    /// occur in ordinary words.
    pub const MIN_CHARS: usize = 8;

    /// Returns the set of those `values` that have at least [`Self::MIN_CHARS`] characters.
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        let patterns: BTreeSet<String> = values
            .into_iter()
            .filter(|value| value.chars().count() >= Self::MIN_CHARS)
            .flat_map(secret_encodings)
            .collect();
        if patterns.is_empty() {
            return Self::default();
        }
        // Case-insensitive, because foreign encoders change the case, as of hexadecimal digits.
        // Building fails only above about 2 GB of patterns; a configuration has a few MB at most.
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(&patterns)
            .ok();
        Self(automaton.map(Arc::new))
    }

    /// Returns `text` with every secret replaced by `***`, borrowed if it contains none.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let spans = self.secret_spans(text);
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut redacted = String::with_capacity(text.len());
        let mut copied = 0;
        for span in spans {
            redacted.push_str(&text[copied..span.start]);
            redacted.push_str("***");
            copied = span.end;
        }
        redacted.push_str(&text[copied..]);
        Cow::Owned(redacted)
    }

    /// Returns the byte ranges of the secrets in `text`, in order, overlapping ones merged.
    pub fn secret_spans(&self, text: &str) -> Vec<Range<usize>> {
        let Some(automaton) = &self.0 else {
            return Vec::new();
        };
        let mut spans: Vec<Range<usize>> = automaton
            .find_overlapping_iter(text)
            .map(|found| found.range())
            .collect();
        for decoded in DecodedText::decode_passes(text) {
            spans.extend(
                automaton
                    .find_overlapping_iter(&decoded.bytes)
                    .map(|found| decoded.original_range(&found.range())),
            );
        }
        spans.sort_unstable_by_key(|span| span.start);
        spans.dedup_by(|next, span| {
            let overlaps = next.start < span.end;
            if overlaps {
                span.end = span.end.max(next.end);
            }
            overlaps
        });
        spans
    }

    /// Returns the number of patterns: the distinct encodings of all secrets.
    pub fn len(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |automaton| automaton.patterns_len())
    }

    /// Returns the length of the longest pattern, in bytes; 0 without secrets.
    pub fn max_len(&self) -> usize {
        let automaton = self.0.as_ref();
        automaton.map_or(0, |automaton| automaton.max_pattern_len())
    }

    /// Returns whether the set has no secret.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for SecretSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretSet({})", self.len())
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
        assert_eq!(format!("{secrets:?}"), "SecretSet(2)");
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
        for encoded in [
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
                secrets.redact(&format!("é {encoded} ñ")),
                "é *** ñ",
                "{encoded}"
            );
        }
        for unrelated in ["100%25 of k/", "&;&#;&#x;&nbsp;&#99999999;&amp"] {
            assert_eq!(secrets.redact(unrelated), unrelated);
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
