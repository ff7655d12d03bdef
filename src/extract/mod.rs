//! Floor 1: bytes → JSON → jq → data, within depth and size limits.
//!
//! Imports `domain` and `clock`. Does no I/O.

use bytes::Bytes;

use crate::clock::Deadline;
use crate::domain::{Code, Data, Failure, Name};

/// A compiled jq filter. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Filter {
    text: std::sync::Arc<str>,
}

/// Why a filter's text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    /// What is wrong, as a lowercase fragment.
    pub message: String,
    /// Where, in bytes of the text.
    pub span: std::ops::Range<usize>,
}

impl Filter {
    /// Compiles `text` with the harmless native functions only.
    pub fn compile(text: &str) -> Result<Self, FilterError> {
        Ok(Self { text: text.into() })
    }

    /// The text it was compiled from.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Runs filters off the async threads, one per source at a time.
#[derive(Debug, Clone, Default)]
pub struct Extractor {}

impl Extractor {
    /// Checks `payload` strictly (UTF-8, depth, RFC 8259), runs `filter` over it and checks the result, by `deadline`.
    pub async fn extract(
        &self,
        _source: &Name,
        _filter: &Filter,
        _payload: Bytes,
        _by: Deadline,
    ) -> Result<Data, Failure> {
        Err(Failure::new(Code::ExtractFailed, "not built yet"))
    }
}
