//! The fields of the answers' heads.

use serde_json::{Map, Value, json};

/// What is told of one field.
struct Header {
    name: &'static str,
    /// Whether it is always there, in the answers that name it.
    required: bool,
    description: &'static str,
    pattern: Option<&'static str>,
}

const fn always(name: &'static str, pattern: &'static str, description: &'static str) -> Header {
    Header {
        name,
        required: true,
        description,
        pattern: Some(pattern),
    }
}

const fn sometimes(name: &'static str, description: &'static str) -> Header {
    Header {
        name,
        required: false,
        description,
        pattern: None,
    }
}

/// Fields that any answer may have.
const ANY: [&str; 4] = [
    "X-Content-Type-Options",
    "X-Request-Id",
    "Access-Control-Allow-Origin",
    "Vary",
];

const HEADERS: [Header; 19] = [
    always(
        "Allow",
        "^GET, HEAD, OPTIONS$",
        "The methods that there are.",
    ),
    always(
        "Cache-Control",
        "^[ -~]+$",
        "What browsers may keep. `no-store` for everything that has an age.",
    ),
    always(
        "Cache-Status",
        "^resumen; [ -~]+$",
        "RFC 9211. `hit` with the smallest ttl − age in whole seconds (negative \
        when something is stale), `fwd=miss` without any reading, `fwd=request` on live answers, with `collapsed` when \
        every flight was joined.",
    ),
    always(
        "ETag",
        "^W/\"[0-9a-f]{16}\"$",
        "The version, for `If-None-Match`. Every new reading changes it; ages do not.",
    ),
    always(
        "Content-Security-Policy",
        "^default-src 'none'; [ -~]+$",
        "What the page may do: only what is ours.",
    ),
    always(
        "Referrer-Policy",
        "^no-referrer$",
        "No other site learns where the panel is.",
    ),
    always(
        "X-Accel-Buffering",
        "^no$",
        "Tells nginx and its kin to pass events on as they come.",
    ),
    sometimes(
        "Refusal-Cache-Control",
        "`no-store`, unless the head could not be parsed at all.",
    ),
    sometimes("X-Content-Type-Options", "`nosniff`"),
    sometimes(
        "CDN-Cache-Control",
        "RFC 9213, for shared caches: whole seconds until the next planned refresh of any \
        source in the answer. None on live answers and when no source is ok.",
    ),
    sometimes(
        "Content-Encoding",
        "`br`, `zstd` or `gzip`, if the request accepts one.",
    ),
    sometimes(
        "Server-Timing",
        "On live answers: how long each source was waited for, and why it gave nothing.",
    ),
    sometimes(
        "Vary",
        "`Accept-Encoding` where there are several encodings, `Origin` where origins are configured.",
    ),
    sometimes(
        "X-Request-Id",
        "The request's own if it had a short and visible one, else a new one; none without.",
    ),
    sometimes(
        "Access-Control-Allow-Origin",
        "If `server.cors_origins` allows the request's origin.",
    ),
    sometimes(
        "Access-Control-Expose-Headers",
        "Beside `Access-Control-Allow-Origin`: what a page's script may read.",
    ),
    sometimes(
        "Access-Control-Allow-Methods",
        "In the answer to a preflight.",
    ),
    sometimes(
        "Access-Control-Allow-Headers",
        "In the answer to a preflight.",
    ),
    sometimes(
        "Access-Control-Max-Age",
        "In the answer to a preflight: seconds for which it may be kept.",
    ),
];

/// All of them, as components.
pub(super) fn all() -> Value {
    let one = |header: &Header| {
        let mut schema = json!({"type": "string"});
        if let Some(pattern) = header.pattern {
            schema["pattern"] = json!(pattern);
        }
        let value = json!({"description": header.description, "required": header.required, "schema": schema});
        (header.name.to_owned(), value)
    };
    Value::Object(HEADERS.iter().map(one).collect())
}

/// References to these, and to those that any answer may have.
pub(super) fn of(names: &[&str]) -> Value {
    let own = names
        .iter()
        .chain(&ANY)
        .chain(&["Access-Control-Expose-Headers"]);
    Value::Object(
        own.map(|name| ((*name).to_owned(), refer(name)))
            .collect::<Map<String, Value>>(),
    )
}

/// A reference to one of them.
pub(super) fn refer(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}
