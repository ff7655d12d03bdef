//! The error of a text that is not a valid filter.

use std::ops::Range;

/// The most bytes that the text of a filter may have.
pub(super) const MAX_TEXT_BYTES: usize = 64 << 10;

/// The error of a text that is not a valid filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    /// What is wrong, as a lowercase fragment.
    pub message: String,
    /// Place of the error, in bytes of the text. Empty if the error is at the end of the text.
    pub span: Range<usize>,
}
