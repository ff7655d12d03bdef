//! The fields of the answers' heads.

use serde_json::{Map, Value, json};

/// What is told of one field.
struct HeaderSpec {
    name: &'static str,
    /// Whether it is always there, in the answers that name it.
    is_required: bool,
    description: &'static str,
    pattern: Option<&'static str>,
}

const fn required_header(
    name: &'static str,
    pattern: &'static str,
    description: &'static str,
) -> HeaderSpec {
    HeaderSpec {
        name,
        is_required: true,
        description,
        pattern: Some(pattern),
    }
}

const fn optional_header(name: &'static str, description: &'static str) -> HeaderSpec {
    HeaderSpec {
        name,
        is_required: false,
        description,
        pattern: None,
    }
}

/// Fields that any answer may have.
const COMMON_HEADERS: [&str; 4] = [
    "X-Content-Type-Options",
    "X-Request-Id",
    "Access-Control-Allow-Origin",
    "Vary",
];

const HEADER_SPECS: [HeaderSpec; 19] = [
    required_header(
        "Allow",
        "^GET, HEAD, OPTIONS$",
        "The methods that there are.",
    ),
    required_header(
        "Cache-Control",
        "^[ -~]+$",
        "What browsers may keep. `no-store` for everything that has an age.",
    ),
    required_header(
        "Cache-Status",
        "^resumen; [ -~]+$",
        "RFC 9211. `hit` with the smallest ttl − age in whole seconds (negative \
        when something is stale), `fwd=miss` without any reading, `fwd=request` on live answers, with `collapsed` when \
        every flight was joined.",
    ),
    required_header(
        "ETag",
        "^W/\"[0-9a-f]{16}\"$",
        "The version, for `If-None-Match`. Every new reading changes it; ages do not.",
    ),
    required_header(
        "Content-Security-Policy",
        "^default-src 'none'; [ -~]+$",
        "What the page may do: only what is ours.",
    ),
    required_header(
        "Referrer-Policy",
        "^no-referrer$",
        "No other site learns where the panel is.",
    ),
    required_header(
        "X-Accel-Buffering",
        "^no$",
        "Tells nginx and its kin to pass events on as they come.",
    ),
    optional_header(
        "Refusal-Cache-Control",
        "`no-store`, unless the head could not be parsed at all.",
    ),
    optional_header("X-Content-Type-Options", "`nosniff`"),
    optional_header(
        "CDN-Cache-Control",
        "RFC 9213, for shared caches: whole seconds until the next planned refresh of any \
        source in the answer. None on live answers and when no source is ok.",
    ),
    optional_header(
        "Content-Encoding",
        "`br`, `zstd` or `gzip`, if the request accepts one.",
    ),
    optional_header(
        "Server-Timing",
        "On live answers: how long each source was waited for, and why it gave nothing.",
    ),
    optional_header(
        "Vary",
        "`Accept-Encoding` where there are several encodings, `Origin` where origins are configured.",
    ),
    optional_header(
        "X-Request-Id",
        "The request's own if it had a short and visible one, else a new one; none without.",
    ),
    optional_header(
        "Access-Control-Allow-Origin",
        "If `server.cors_origins` allows the request's origin.",
    ),
    optional_header(
        "Access-Control-Expose-Headers",
        "Beside `Access-Control-Allow-Origin`: what a page's script may read.",
    ),
    optional_header(
        "Access-Control-Allow-Methods",
        "In the answer to a preflight.",
    ),
    optional_header(
        "Access-Control-Allow-Headers",
        "In the answer to a preflight.",
    ),
    optional_header(
        "Access-Control-Max-Age",
        "In the answer to a preflight: seconds for which it may be kept.",
    ),
];

/// All of them, as components.
pub(crate) fn header_components() -> Value {
    let one = |header: &HeaderSpec| {
        let mut schema = json!({"type": "string"});
        if let Some(pattern) = header.pattern {
            schema["pattern"] = json!(pattern);
        }
        let value = json!({"description": header.description, "required": header.is_required, "schema": schema});
        (header.name.to_owned(), value)
    };
    Value::Object(HEADER_SPECS.iter().map(one).collect())
}

/// References to these, and to those that any answer may have.
pub(crate) fn header_refs(names: &[&str]) -> Value {
    let own = names
        .iter()
        .chain(&COMMON_HEADERS)
        .chain(&["Access-Control-Expose-Headers"]);
    Value::Object(
        own.map(|name| ((*name).to_owned(), header_ref(name)))
            .collect::<Map<String, Value>>(),
    )
}

/// A reference to one of them.
pub(crate) fn header_ref(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}
