//! The text of a filter that compiles.

use std::fmt;
use std::sync::Arc;

use super::compile::compile_program;
use super::filter_error::{FilterError, MAX_TEXT_BYTES};

/// The most bytes of data that a filter may give, unless its body is larger.
const MAX_RESULT_BYTES: usize = 1 << 20;

/// Returns the most bytes of data that a filter may give for a body of this size.
pub(super) fn max_result_bytes(body_bytes: usize) -> usize {
    body_bytes.max(MAX_RESULT_BYTES)
}

/// The text of a jq filter that compiles. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Filter {
    text: Arc<str>,
}

impl Filter {
    /// The most bytes that a filter's text may have.
    pub const MAX_TEXT_BYTES: usize = MAX_TEXT_BYTES;

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
