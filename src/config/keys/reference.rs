//! Holds the documents to the declarations: the reference in `docs/configuration.md` is generated text.

use crate::text::{UnitStyle, format_size};

use super::declarations::{all_keys, section_keys};
use super::key::{Key, Kind, Section};

/// The tables of the reference, each with its heading and what holds for the table as a whole.
const TABLES: [(Section, &str, &str); 14] = [
    (
        Section::Server,
        "`[server]`",
        "How the service listens and answers.",
    ),
    (
        Section::Token,
        "`[server.tokens.NAME]`",
        "A token that clients send, and what it grants ([deploy.md](deploy.md#tokens)). With any token set, every request \
         but those for the health of the process needs one; without, everyone is admitted.",
    ),
    (
        Section::ServerTls,
        "`[server.tls]`",
        "HTTPS, by HTTP/1.1 and HTTP/2, on every address but Unix sockets ([deploy.md](deploy.md#tls)).",
    ),
    (
        Section::Store,
        "`[store]`",
        "Where readings survive a restart, and how replicas share them.",
    ),
    (
        Section::Defaults,
        "`[defaults]`",
        "Values that every source inherits. A value in a source takes precedence; `headers`, `query` and `form` merge \
         by name.",
    ),
    (
        Section::Source,
        "`[sources.NAME]`",
        "A fetched source: a `url`, or `providers` with one each. The providers inherit the keys that both tables have; \
         `headers`, `query` and `form` merge by name.",
    ),
    (
        Section::Provider,
        "`[[sources.NAME.providers]]`",
        "One table for each provider, in the order of preference.",
    ),
    (
        Section::Derived,
        "`[derived.NAME]`",
        "A source that is computed from other sources whenever one of them changes. It is as stale as the oldest of \
         them.",
    ),
    (
        Section::Auth,
        "`[auth.NAME]`",
        "A login whose token or cookies the sources send that name it in `auth` ([below](#tokens-and-sessions)). Of \
         `[defaults]` it inherits `allow_private`, the keys of TLS, `proxy`, `max_body`, `timeout` and `timezone`.",
    ),
    (
        Section::Refresh,
        "`refresh`",
        "The request that renews a token, in `[auth.NAME]`. It inherits the keys of that table; `headers`, `query` and \
         `form` merge by name.",
    ),
    (
        Section::Csv,
        "`csv`",
        "The rows of CSV (`format = \"csv\"`), in `[defaults]`, a source or a provider. Each key is inherited by itself.",
    ),
    (
        Section::Path,
        "`[sources.NAME.paths.\"PATH\"]`",
        "How the panel shows the value at a path of the data: keys and indexes with dots between, as in `fs.0.used`. Also \
         in `[derived.NAME]`.",
    ),
    (
        Section::Thresholds,
        "`thresholds`",
        "Limits of the numbers of a source or of one path. The panel marks a number at or beyond one. If `crit` is below \
         `warn`, low numbers are bad.",
    ),
    (
        Section::Metric,
        "`[[sources.NAME.metrics]]`",
        "A metric of `/metrics` under a name of your choice, of a source, a derived source, or in `[defaults]` of every \
         source without `metrics` ([below](#metrics-of-your-own)).",
    ),
];

/// The tables of all keys in Markdown.
fn reference_tables() -> String {
    let mut text = String::new();
    for (section, heading, intro) in TABLES {
        let (own, shared): (Vec<&Key>, Vec<&Key>) =
            section_keys(section).partition(|key| key.sections[0] == section);
        text += &["\n## ", heading, "\n\n", intro].concat();
        for (described, heading, _) in TABLES {
            let keys = shared.iter().filter(|key| key.sections[0] == described);
            let keys: Vec<String> = keys.map(|key| format!("`{}`", key.name)).collect();
            if !keys.is_empty() {
                text += &[" Also, as in ", heading, ": ", &keys.join(", "), "."].concat();
            }
        }
        text += "\n";
        if own.is_empty() {
            continue;
        }
        text += "\n| example | default | type | a change needs | meaning |\n";
        text += "|---|---|---|---|---|\n";
        text.extend(own.into_iter().map(reference_row));
    }
    text
}

fn reference_row(key: &Key) -> String {
    let is_toml = format!("x = {}", key.default)
        .parse::<toml::Table>()
        .is_ok();
    let default = match key.default {
        "" => "–".to_owned(),
        default if is_toml => format!("`{default}`"),
        rule => rule.to_owned(),
    };
    let change = if key.needs_restart {
        "restart"
    } else {
        "reload"
    };
    let cells = [
        format!("`{} = {}`", key.name, key.example),
        default,
        type_name(key.kind),
        change.to_owned(),
        key.doc.to_owned(),
    ];
    format!(
        "| {} |\n",
        cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
    )
}

fn type_name(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".into(),
        Kind::Filter => "jq".into(),
        Kind::Enum(words) => format!("one of {}", words.join(", ")),
        Kind::ProxyUrl => "URL: `http://`; or `env`".into(),
        Kind::Url(schemes) => format!("URL: `{}://`", schemes.join("://`, `")),
        Kind::Duration => "duration above 0".into(),
        Kind::DurationOrZero => "duration".into(),
        Kind::Size(max) => format!("size, 1B to {}", format_size(max, UnitStyle::Syntax)),
        Kind::Integer(min, max) => format!("integer, {min} to {max}"),
        Kind::Number => "number".into(),
        Kind::Boolean => "boolean".into(),
        Kind::TextList => "list of texts".into(),
        Kind::EnumList(words) => format!("list of {}", words.join(", ")),
        Kind::IntegerList(min, max) => format!("list of integers, {min} to {max}"),
        Kind::TextTable => "table of texts".into(),
        Kind::FilterTable => "table of jq".into(),
        Kind::FieldTable => "table of texts, numbers, booleans or lists of them".into(),
        Kind::Table(_) | Kind::NamedTables(_) => "table".into(),
        Kind::TableList(_) => "list of tables".into(),
    }
}

#[test]
fn documentation_has_generated_reference() {
    let page = std::fs::read_to_string("docs/configuration.md").unwrap();
    let (_, rest) = page.split_once("<!-- generated: begin -->\n").unwrap();
    let (written, _) = rest.split_once("\n<!-- generated: end -->").unwrap();
    let expected = reference_tables();
    assert!(
        written == expected,
        "docs/configuration.md differs from the declared keys; between its markers it must have:\n{expected}"
    );
}

/// A commented key shows its default or an example.
#[test]
fn reference_file_has_every_key() {
    let file = std::fs::read_to_string("config/resumen.toml").unwrap();
    let mut lines = file.lines().map(|line| line.trim_start_matches("# "));
    for key in all_keys() {
        let name = key.name;
        let headers = [format!("[{name}"), format!(".{name}]"), format!(".{name}.")];
        let is_key = |line: &str| {
            line.starts_with(&format!("{} = ", key.name))
                || headers.iter().any(|header| line.contains(header))
        };
        assert!(lines.clone().any(is_key), "{}", key.name);
    }
    assert!(lines.next().is_some());
}
