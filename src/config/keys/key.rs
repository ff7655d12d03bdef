//! The declaration of a configuration key: name, tables, type, default, documentation.

/// A kind of table in the configuration. Each key names the tables that accept it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// The top level of the file.
    Root,
    Server,
    Store,
    Defaults,
    Source,
    Provider,
    Derived,
    /// `[auth.NAME]`
    Auth,
    /// `refresh` of an authentication.
    Refresh,
    /// `[server.tokens.NAME]`
    Token,
    /// `[server.tls]`
    ServerTls,
    /// `csv` of a source, a provider or `[defaults]`.
    Csv,
    /// `[sources.NAME.paths."PATH"]`
    Path,
    /// `thresholds` of a source or of a path.
    Thresholds,
    /// `[[sources.NAME.metrics]]`
    Metric,
}

/// The type of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text in which `${…}` is expanded, like in every other text except a filter.
    Text,
    /// A jq filter. Nothing is expanded in it.
    Filter,
    /// One of these texts.
    Enum(&'static [&'static str]),
    /// A URL with one of these schemes. An empty text is valid if that is the default.
    Url(&'static [&'static str]),
    /// A URL with the scheme `http`, an empty text or `env`.
    ProxyUrl,
    /// A duration above zero.
    Duration,
    DurationOrZero,
    /// A size from 1 byte to this number of bytes.
    Size(u64),
    /// An integer from the first to the second bound.
    Integer(u64, u64),
    /// Any number, whole or decimal.
    Number,
    Boolean,
    TextList,
    /// A list of these texts.
    EnumList(&'static [&'static str]),
    /// A list of integers from the first to the second bound.
    IntegerList(u64, u64),
    /// A table with names of the operator's choice and texts.
    TextTable,
    /// A table with names of the operator's choice and jq filters.
    FilterTable,
    /// A table with names of the operator's choice and texts, numbers, booleans or lists of them.
    FieldTable,
    /// `[section]`
    Table(Section),
    /// `[section.NAME]`
    NamedTables(Section),
    /// `[[section]]`
    TableList(Section),
}

/// One configuration key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// The tables that accept the key. The documentation describes it at the first one.
    pub(crate) sections: &'static [Section],
    pub(crate) kind: Kind,
    /// A TOML value, or a rule in prose. Empty if the key has no default.
    pub(crate) default: &'static str,
    /// One or two sentences in Markdown.
    pub(crate) doc: &'static str,
    /// A valid TOML value that differs from the default.
    pub(crate) example: &'static str,
    /// Whether a running service refuses a reload that changes the value.
    pub(crate) needs_restart: bool,
    /// Whether the text may contain references that are resolved when a request is sent.
    pub(crate) is_request_text: bool,
    /// Names of the same thing in other programs, with spaces between. They are suggested, never accepted.
    pub(crate) aliases: &'static str,
    /// The tables that are invalid without the key.
    pub(crate) required_in: &'static [Section],
}

impl Key {
    pub(super) const fn new(
        name: &'static str,
        sections: &'static [Section],
        kind: Kind,
        default: &'static str,
    ) -> Self {
        Self {
            name,
            sections,
            kind,
            default,
            doc: "",
            example: "",
            needs_restart: false,
            is_request_text: false,
            aliases: "",
            required_in: &[],
        }
    }

    pub(super) const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }

    pub(super) const fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    pub(super) const fn aliases(self, aliases: &'static str) -> Self {
        Self { aliases, ..self }
    }

    pub(super) const fn required_in(self, required_in: &'static [Section]) -> Self {
        Self {
            required_in,
            ..self
        }
    }

    pub(super) const fn request_text(self) -> Self {
        Self {
            is_request_text: true,
            ..self
        }
    }

    pub(super) const fn needs_restart(self) -> Self {
        Self {
            needs_restart: true,
            ..self
        }
    }
}

impl Section {
    /// The table in a message, after "in".
    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::Root => "the top-level table",
            Self::Server => "`[server]`",
            Self::Store => "`[store]`",
            Self::Defaults => "`[defaults]`",
            Self::Source => "a source",
            Self::Provider => "a provider",
            Self::Derived => "a derived source",
            Self::Auth => "an auth",
            Self::Refresh => "`refresh`",
            Self::Token => "a token",
            Self::ServerTls => "`[server.tls]`",
            Self::Csv => "`csv`",
            Self::Path => "a path",
            Self::Thresholds => "`thresholds`",
            Self::Metric => "a metric",
        }
    }
}

impl Kind {
    /// What a message expects if the TOML type of a value is wrong.
    pub(crate) fn expected(self) -> String {
        match self {
            Self::Text | Self::Filter | Self::Enum(_) | Self::Url(_) | Self::ProxyUrl => {
                "a string in quotes".into()
            }
            Self::Duration | Self::DurationOrZero => {
                r#"a duration in quotes, such as "250ms", "5s", "1m", "2h" or "1d""#.into()
            }
            Self::Size(_) => r#"a size in quotes, such as "64KiB" or "1MiB""#.into(),
            Self::Integer(min, max) => format!("a whole number from {min} to {max}"),
            Self::Number => "a number".into(),
            Self::Boolean => "`true` or `false`".into(),
            Self::TextList | Self::EnumList(_) => r#"a list of strings, such as ["a", "b"]"#.into(),
            Self::IntegerList(min, max) => {
                format!("a list of whole numbers from {min} to {max}")
            }
            Self::TextTable
            | Self::FilterTable
            | Self::FieldTable
            | Self::Table(_)
            | Self::NamedTables(_) => "a table".into(),
            Self::TableList(_) => "a list of tables, each with a `[[…]]` header".into(),
        }
    }
}
