//! Descriptions of the parameters: query, path and header fields.

use serde_json::{Value, json};

use super::operation::DocumentContext;
use super::pattern;

/// `If-None-Match`
pub(super) fn if_none_match() -> Value {
    let description = "Entity tags that the client has; 304 if the current version is among them (weak comparison, lists, \
        `*`). A malformed field is ignored.";
    header_parameter("If-None-Match", description)
}

/// `Accept`
pub(super) fn accept() -> Value {
    header_parameter(
        "Accept",
        "OpenMetrics if it is preferred to the text format of Prometheus; that format if neither is accepted.",
    )
}

/// `Accept-Encoding`
pub(super) fn accept_encoding() -> Value {
    header_parameter(
        "Accept-Encoding",
        "`br`, `zstd` and `gzip` are available; 406 if the field excludes them and `identity`.",
    )
}

/// `Last-Event-ID`
pub(super) fn last_event_id() -> Value {
    header_parameter(
        "Last-Event-ID",
        "Ignored: the first event is always the current snapshot.",
    )
}

fn header_parameter(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "header", "required": false, "description": description, "schema": {"type": "string"}})
}

/// A parameter of the path.
pub(super) fn path_parameter(name: &str, description: &str, schema: &Value) -> Value {
    json!({"name": name, "in": "path", "required": true, "description": description, "schema": schema})
}

/// `fresh` and `max_age`. A request may have one of them, which `OpenAPI` can express only as the
/// members of one object.
pub(super) fn freshness() -> Value {
    let fresh = json!({
        "type": "string", "enum": ["1", "0", "true", "false"],
        "description": "`1` or `true`: fetch all sources now and respond when they have finished, or at the deadline.",
    });
    let max_age = json!({
        "type": "string", "pattern": pattern::SECONDS_PATTERN,
        "description": "Like `fresh=1`, but only for sources whose reading is older than this number of seconds.",
    });
    json!({
        "name": "freshness", "in": "query", "required": false, "style": "form", "explode": true,
        "description": "`fresh` or `max_age`, not both. Without either, the response comes from memory.",
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
pub(super) fn timeout(context: &DocumentContext<'_>) -> Value {
    let (default, max) = (
        context.default_timeout.as_secs_f64(),
        context.max_timeout.as_secs_f64(),
    );
    let description = format!(
        "Seconds, more than 0 and at most {max}; default {default}. The deadline of a live answer; without `fresh` or \
         `max_age` it bounds only the wait for the first attempts after a start."
    );
    let schema = json!({"type": "string", "pattern": pattern::seconds_up_to(context.max_timeout)});
    json!({"name": "timeout", "in": "query", "required": false, "description": description, "schema": schema})
}

/// `sources`
pub(super) fn sources(context: &DocumentContext<'_>) -> Value {
    let schema = json!({
        "type": "array", "minItems": 1, "uniqueItems": true, "items": {"type": "string", "enum": context.source_names},
    });
    json!({
        "name": "sources", "in": "query", "required": false, "style": "form", "explode": false,
        "description": "Names of sources separated by commas: only these, in this order. Default: all sources.",
        "schema": schema,
    })
}
