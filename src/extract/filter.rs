//! The text of a filter that compiles.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::compile::compile_program;

/// The most bytes of data that a filter may give, unless its body is larger.
pub(super) const MAX_RESULT_BYTES: usize = 1 << 20;

/// The text of a jq filter that compiles. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Filter {
    text: Arc<str>,
}

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    /// What is wrong, as a lowercase fragment.
    pub message: String,
    /// Where, in bytes of the text; may be empty, at its end.
    pub span: Range<usize>,
}

impl Filter {
    /// The most bytes that a filter's text may have.
    pub const MAX_TEXT_BYTES: usize = 64 << 10;

    /// Compiles `text` to check it. Takes some 50 µs.
    pub fn compile(text: &str) -> Result<Self, FilterError> {
        if text.trim() != "." {
            compile_program(text)?;
        }
        Ok(Self { text: text.into() })
    }

    /// The text it was compiled from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is `.`, which evaluates nothing.
    pub(super) fn is_identity(&self) -> bool {
        self.text.trim() == "."
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.text).finish()
    }
}
