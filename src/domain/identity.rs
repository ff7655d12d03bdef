//! Identity of a source definition.

use std::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::source::Source;

/// Digest of a source's name, `extract` filters and formats and, for a derived source, of the identities of
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
        // Identities of sources whose bodies are all JSON are those of releases without formats. The filters are
        // sorted and without duplicates, so an empty text behind another one separates.
        for (format, extract) in source.formatted_filters() {
            hasher.hash_text("");
            hasher.hash_text(&format);
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
    use std::collections::HashSet;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::body_format::{BodyFormat, CsvDialect};
    use super::super::freshness::FreshnessPolicy;
    use super::super::name::Name;
    use super::super::provider::{Provider, ProviderRequest};
    use super::super::schedule::Schedule;
    use super::super::source::SourceKind;
    use super::*;

    fn source_of_format(format: BodyFormat) -> Source {
        let url = "http://localhost/".parse().unwrap();
        let provider = Provider {
            name: Name::new("p").unwrap(),
            request: ProviderRequest {
                format,
                ..ProviderRequest::get(url)
            },
            extract: ".a".into(),
        };
        let second = Duration::from_secs(1);
        Source {
            name: Name::new("s").unwrap(),
            kind: SourceKind::Fetched {
                providers: vec![provider],
                schedule: Schedule {
                    interval: second,
                    timeout: second,
                    min_interval: second,
                    hedge_after: None,
                },
            },
            freshness_policy: FreshnessPolicy {
                ttl: second,
                max_stale: second,
            },
            attribution: None,
            appearance: Arc::default(),
            metrics: Arc::default(),
        }
    }

    #[test]
    fn format_belongs_to_identity() {
        let html = |select: &str| BodyFormat::Html {
            select: select.into(),
        };
        let csv = |delimiter, has_header| {
            BodyFormat::Csv(CsvDialect {
                delimiter,
                has_header,
            })
        };
        let formats = [
            BodyFormat::Json,
            BodyFormat::JsonLines,
            BodyFormat::Text,
            BodyFormat::Xml,
            BodyFormat::Prometheus,
            csv(b',', true),
            csv(b';', true),
            csv(b',', false),
            html("p"),
            html("p "),
        ];
        let identity = |format| SourceIdentity::from_source(&source_of_format(format));
        let identities: HashSet<SourceIdentity> = formats.iter().cloned().map(identity).collect();
        assert_eq!(identities.len(), formats.len());
        // The digest of releases without formats: name, no inputs, the filter.
        let mut hasher = IdentityHasher::default();
        for text in ["s", "", ".a"] {
            hasher.hash_text(text);
        }
        let former = SourceIdentity(hasher.0.digest128());
        assert_eq!(identity(BodyFormat::Json), former);
    }

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
