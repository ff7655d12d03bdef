//! What requests may say.

use serde_json::{Value, json};

use super::operation::DocumentContext;
use super::pattern;

/// `If-None-Match`
pub(crate) fn if_none_match() -> Value {
    let description = "Entity tags that the client has; 304 if the current version is among them (weak comparison, lists, \
        `*`). A field that is not well formed is ignored.";
    header_parameter("If-None-Match", description)
}

/// `Accept-Encoding`
pub(crate) fn accept_encoding() -> Value {
    header_parameter(
        "Accept-Encoding",
        "`br`, `zstd` and `gzip` are there; 406 if this refuses them and `identity` too.",
    )
}

/// `Last-Event-ID`
pub(crate) fn last_event_id() -> Value {
    header_parameter(
        "Last-Event-ID",
        "Changes nothing: the first event is always the current snapshot.",
    )
}

fn header_parameter(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "header", "required": false, "description": description, "schema": {"type": "string"}})
}

/// A part of the path.
pub(crate) fn path_parameter(name: &str, description: &str, schema: &Value) -> Value {
    json!({"name": name, "in": "path", "required": true, "description": description, "schema": schema})
}

/// `fresh` or `max_age`: two of which a request may have one, so they are one object whose members are parameters.
pub(crate) fn freshness() -> Value {
    let fresh = json!({
        "type": "string", "enum": ["1", "0", "true", "false"],
        "description": "`1` or `true`: ask all providers now and answer when they have, or at the deadline.",
    });
    let max_age = json!({
        "type": "string", "pattern": pattern::SECONDS_PATTERN,
        "description": "Like `fresh=1`, but only for sources whose reading is older than so many seconds.",
    });
    json!({
        "name": "freshness", "in": "query", "required": false, "style": "form", "explode": true,
        "description": "`fresh` or `max_age`, not both. Without either, the answer comes from memory.",
        "schema": {
            "type": "object",
            "properties": {"fresh": fresh, "max_age": max_age},
            "patternProperties": {"^_": {}},
            "additionalProperties": false,
            "not": {"required": ["fresh", "max_age"]},
        },
    })
}

/// `timeout`
pub(crate) fn timeout(terms: &DocumentContext<'_>) -> Value {
    let (default, max) = (
        terms.default_timeout.as_secs_f64(),
        terms.max_timeout.as_secs_f64(),
    );
    let description = format!(
        "Seconds, more than 0 and at most {max}; {default} if it is not given. The deadline of a live answer; without \
         `fresh` or `max_age` it bounds the wait for the first round, and nothing else."
    );
    let schema = json!({"type": "string", "pattern": pattern::seconds_up_to(terms.max_timeout)});
    json!({"name": "timeout", "in": "query", "required": false, "description": description, "schema": schema})
}

/// `sources`
pub(crate) fn sources(terms: &DocumentContext<'_>) -> Value {
    let schema = json!({
        "type": "array", "minItems": 1, "uniqueItems": true, "items": {"type": "string", "enum": terms.source_names},
    });
    json!({
        "name": "sources", "in": "query", "required": false, "style": "form", "explode": false,
        "description": "Only these sources, in this order, separated by commas. All of them if it is not given.",
        "schema": schema,
    })
}
