//! What a body contains of its sources.

/// What a body contains of its sources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum BodyForm {
    /// A JSON object with the state and the data of each source.
    #[default]
    Summary,
    /// One JSON object without levels: the state of each source, and each scalar of its data.
    Flat,
    /// One value of the only source.
    Value {
        /// Where the value is.
        path: ValuePath,
        /// Whether a scalar is written as JSON too, not as plain text.
        is_json: bool,
    },
    /// An SVG image of one value of the only source.
    Badge {
        /// Where the value is.
        path: ValuePath,
        /// The text beside the value.
        label: String,
    },
}

/// The keys and decimal indices that lead from a source's data to a value in it; none for the data itself.
pub type ValuePath = Vec<String>;

impl BodyForm {
    /// Returns the path of the value that a body of this form shows; `None` if it shows all of them.
    pub(super) fn value_path(&self) -> Option<&ValuePath> {
        match self {
            Self::Summary | Self::Flat => None,
            Self::Value { path, .. } | Self::Badge { path, .. } => Some(path),
        }
    }

    /// Returns the value of `Vary`.
    pub(super) const fn vary(&self) -> &'static str {
        match self {
            Self::Value { .. } => "Accept, Accept-Encoding",
            _ => "Accept-Encoding",
        }
    }
}
