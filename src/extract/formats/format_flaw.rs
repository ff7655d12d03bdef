//! Why a body is not of its format.

/// Why a body is not of its format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FormatFlaw {
    /// The text breaks a rule of the format.
    Invalid {
        /// What is wrong, as a lowercase fragment.
        what: String,
        /// Where, in bytes of the text. `None` for the text as a whole.
        at: Option<usize>,
    },
    /// The text nests deeper than [`crate::text::MAX_DEPTH`] levels.
    TooDeep {
        /// Where the first level too many begins, in bytes of the text.
        at: usize,
    },
}

impl FormatFlaw {
    pub(super) fn invalid(what: impl Into<String>, at: usize) -> Self {
        Self::Invalid {
            what: what.into(),
            at: Some(at),
        }
    }

    pub(super) fn of_whole(what: impl Into<String>) -> Self {
        Self::Invalid {
            what: what.into(),
            at: None,
        }
    }
}
