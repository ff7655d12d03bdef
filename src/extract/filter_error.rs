//! Why a text is no filter.

use std::ops::Range;

/// The most bytes that the text of a filter may have.
pub(super) const MAX_TEXT_BYTES: usize = 64 << 10;

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    /// What is wrong, as a lowercase fragment.
    pub message: String,
    /// Where, in bytes of the text; may be empty, at its end.
    pub span: Range<usize>,
}
