//! Formats of response bodies.

/// How a response body becomes the JSON that the filter of a provider sees.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum BodyFormat {
    /// One JSON document (RFC 8259).
    #[default]
    Json,
    /// One JSON document a line; the filter sees an array of them.
    JsonLines,
    /// Text; the filter sees a string.
    Text,
    /// Comma-separated values (RFC 4180); the filter sees an array of rows.
    Csv(CsvDialect),
    /// XML 1.0; the filter sees an object with the root element.
    Xml,
    /// HTML; the filter sees an array of the elements that a CSS selector matches.
    Html {
        /// The selector, which parses.
        select: Box<str>,
    },
    /// Prometheus or `OpenMetrics` text; the filter sees an array of samples.
    Prometheus,
}

/// How the rows of a CSV body are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CsvDialect {
    /// The ASCII character between two fields. Default: `,`.
    pub delimiter: u8,
    /// Whether the first row has the names of the columns. Default: true.
    pub has_header: bool,
}

impl Default for CsvDialect {
    fn default() -> Self {
        Self {
            delimiter: b',',
            has_header: true,
        }
    }
}

impl BodyFormat {
    /// The names of all formats in the configuration.
    pub const NAMES: &'static [&'static str] =
        &["json", "jsonl", "text", "csv", "xml", "html", "prometheus"];

    /// Returns the name of the format in the configuration.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::JsonLines => "jsonl",
            Self::Text => "text",
            Self::Csv(_) => "csv",
            Self::Xml => "xml",
            Self::Html { .. } => "html",
            Self::Prometheus => "prometheus",
        }
    }

    /// Returns a text that is equal for equal formats only; `None` for JSON.
    pub fn identity_text(&self) -> Option<String> {
        match self {
            Self::Json => None,
            Self::Csv(dialect) => Some(format!("csv {} {}", dialect.delimiter, dialect.has_header)),
            Self::Html { select } => Some(format!("html {select}")),
            Self::JsonLines | Self::Text | Self::Xml | Self::Prometheus => {
                Some(self.name().to_owned())
            }
        }
    }
}
