//! The JSON Schema (draft 2020-12) of the configuration file, for editors and other programs.

use serde_json::{Map, Value, json};

use super::declarations::section_keys;
use super::key::{Key, Kind, Section};

/// The pattern of the names of sources.
const NAME_PATTERN: &str = "^[a-z0-9][a-z0-9_-]{0,63}$";

/// The sections with a definition of their own, and its name.
const DEFINITIONS: &[(Section, &str)] = &[
    (Section::Server, "server"),
    (Section::Store, "store"),
    (Section::Defaults, "defaults"),
    (Section::Source, "source"),
    (Section::Provider, "provider"),
    (Section::Derived, "derived"),
    (Section::Auth, "auth"),
    (Section::Refresh, "refresh"),
    (Section::Token, "token"),
    (Section::ServerTls, "server_tls"),
    (Section::Csv, "csv"),
    (Section::Path, "path"),
    (Section::Thresholds, "thresholds"),
    (Section::Metric, "metric"),
];

/// The JSON Schema of a configuration file. It refuses unknown keys and values of a wrong type or form. Relations between
/// keys are beyond it.
pub fn json_schema() -> Value {
    let mut schema = table_schema(Section::Root);
    schema.insert(
        "$schema".into(),
        "https://json-schema.org/draft/2020-12/schema".into(),
    );
    schema.insert("title".into(), "resumen configuration".into());
    let definitions = DEFINITIONS.iter().map(|(section, name)| {
        let mut table = table_schema(*section);
        if *section == Section::Source {
            // A source requires a `url` or `providers`; no single declaration states that.
            let either = json!([{"required": ["url"]}, {"required": ["providers"]}]);
            table.insert("oneOf".into(), either);
        }
        ((*name).to_owned(), table.into())
    });
    schema.insert("$defs".into(), definitions.collect::<Map<_, _>>().into());
    schema.into()
}

fn table_schema(section: Section) -> Map<String, Value> {
    let properties = section_keys(section).map(|key| (key.name.to_owned(), key_schema(key)));
    let properties: Map<String, Value> = properties.collect();
    let required = section_keys(section).filter(|key| key.required_in.contains(&section));
    let required: Vec<&str> = required.map(|key| key.name).collect();
    let mut schema = Map::new();
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), properties.into());
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    schema.insert("additionalProperties".into(), false.into());
    schema
}

fn key_schema(key: &Key) -> Value {
    let mut schema = kind_schema(key.kind, matches!(key.default, r#""""# | "[]"));
    let mut description = key.doc.to_owned();
    match toml_value(key.default) {
        Some(default) => schema["default"] = default,
        None if key.default.is_empty() => {}
        None => description = format!("{description} Default: {}.", key.default),
    }
    schema["description"] = description.into();
    if let Some(example) = toml_value(key.example) {
        schema["examples"] = json!([example]);
    }
    schema
}

fn kind_schema(kind: Kind, may_be_empty: bool) -> Value {
    match kind {
        Kind::Text | Kind::Filter => json!({"type": "string"}),
        Kind::Enum(texts) => {
            json!({"type": "string", "anyOf": [{"enum": texts}, {"pattern": r"\$\{"}]})
        }
        Kind::Url(schemes) => {
            let empty = if may_be_empty { "|^$" } else { "" };
            text_pattern(&format!("^({})://{empty}", schemes.join("|")))
        }
        Kind::ProxyUrl => text_pattern("^http://|^(env)?$"),
        Kind::Duration | Kind::DurationOrZero => text_pattern("^([0-9]+(ms|s|m|h|d))+$"),
        Kind::Size(_) => text_pattern("^[0-9]+(B|KiB|MiB|GiB|kB|MB|GB)$"),
        Kind::Integer(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Number => json!({"type": "number"}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::TextList => json!({"type": "array", "items": {"type": "string"}}),
        Kind::EnumList(texts) => {
            json!({"type": "array", "minItems": 1, "items": kind_schema(Kind::Enum(texts), false)})
        }
        Kind::IntegerList(min, max) => json!({
            "type": "array",
            "items": {"type": "integer", "minimum": min, "maximum": max},
        }),
        Kind::FieldTable => {
            let scalar = json!({"type": ["string", "number", "boolean"]});
            let values = json!({"anyOf": [scalar, {"type": "array", "items": scalar}]});
            json!({"type": "object", "additionalProperties": values})
        }
        Kind::TextTable | Kind::FilterTable => {
            json!({"type": "object", "additionalProperties": {"type": "string"}})
        }
        Kind::Table(section) => reference(section),
        // Paths have the names of a provider's choice.
        Kind::NamedTables(Section::Path) => {
            json!({"type": "object", "additionalProperties": reference(Section::Path)})
        }
        Kind::NamedTables(section) => json!({
            "type": "object",
            "propertyNames": {"pattern": NAME_PATTERN},
            "additionalProperties": reference(section),
        }),
        Kind::TableList(section) if may_be_empty => {
            json!({"type": "array", "items": reference(section)})
        }
        Kind::TableList(section) => {
            json!({"type": "array", "minItems": 1, "items": reference(section)})
        }
    }
}

/// A text that matches `pattern` or contains a reference, which is unknown before the environment is.
fn text_pattern(pattern: &str) -> Value {
    json!({"type": "string", "pattern": format!(r"{pattern}|\$\{{")})
}

fn reference(section: Section) -> Value {
    let name = DEFINITIONS.iter().find(|(known, _)| *known == section);
    json!({"$ref": format!("#/$defs/{}", name.map_or("", |(_, name)| name))})
}

/// A TOML value as JSON. `None` for prose and for an empty text.
fn toml_value(text: &str) -> Option<Value> {
    let mut table: Map<String, Value> = toml::from_str(&format!("value = {text}")).ok()?;
    table.remove("value")
}
