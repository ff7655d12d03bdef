//! Descriptions of the response headers.

use serde_json::{Map, Value, json};

/// The description of one header.
struct HeaderSpec {
    name: &'static str,
    /// Whether every response that lists the header has it.
    is_required: bool,
    description: &'static str,
    /// Regular expression that the value matches.
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

/// Headers that any response may have.
const COMMON_HEADERS: [&str; 4] = [
    "X-Content-Type-Options",
    "X-Request-Id",
    "Access-Control-Allow-Origin",
    "Vary",
];

const HEADER_SPECS: [HeaderSpec; 19] = [
    required_header("Allow", "^GET, HEAD, OPTIONS$", "The supported methods."),
    required_header(
        "Cache-Control",
        "^[ -~]+$",
        "Whether a browser may cache the response. `no-store` for every response with data.",
    ),
    required_header(
        "Cache-Status",
        "^resumen; [ -~]+$",
        "RFC 9211. `hit` with the smallest ttl − age in whole seconds (negative \
        when a source is stale), `fwd=miss` without any reading, `fwd=request` on live answers, with `collapsed` when \
        every attempt was already in progress.",
    ),
    required_header(
        "ETag",
        "^W/\"[0-9a-f]{16}\"$",
        "The version, for `If-None-Match`. Every new reading changes it; a greater age does not.",
    ),
    required_header(
        "Content-Security-Policy",
        "^default-src 'none'; [ -~]+$",
        "Restricts the page to this server's own files and endpoints.",
    ),
    required_header(
        "Referrer-Policy",
        "^no-referrer$",
        "Hides the panel's address from other sites.",
    ),
    required_header(
        "X-Accel-Buffering",
        "^no$",
        "Disables response buffering in nginx and compatible proxies.",
    ),
    optional_header(
        "Refusal-Cache-Control",
        "`no-store`; absent if the head could not be parsed.",
    ),
    optional_header("X-Content-Type-Options", "`nosniff`"),
    optional_header(
        "CDN-Cache-Control",
        "RFC 9213, for shared caches: whole seconds until the next planned refresh of any \
        source in the response. Absent on live answers and when no source is ok.",
    ),
    optional_header(
        "Content-Encoding",
        "`br`, `zstd` or `gzip`, if the request accepts one.",
    ),
    optional_header(
        "Server-Timing",
        "On live answers: the wait for each source, and the failure code if it has no new reading.",
    ),
    optional_header(
        "Vary",
        "`Accept-Encoding` if several codings are available, `Accept` for metrics, `Origin` if origins are configured.",
    ),
    optional_header(
        "X-Request-Id",
        "The request's `X-Request-Id` if it is short and visible ASCII, else a new one; absent if the request had none.",
    ),
    optional_header(
        "Access-Control-Allow-Origin",
        "Present if `server.cors_origins` allows the request's origin.",
    ),
    optional_header(
        "Access-Control-Expose-Headers",
        "With `Access-Control-Allow-Origin`: the headers that a script may read.",
    ),
    optional_header(
        "Access-Control-Allow-Methods",
        "In the response to a preflight.",
    ),
    optional_header(
        "Access-Control-Allow-Headers",
        "In the response to a preflight.",
    ),
    optional_header(
        "Access-Control-Max-Age",
        "In the response to a preflight: seconds for which it may be cached.",
    ),
];

/// Every header, as components.
pub(super) fn header_components() -> Value {
    let component = |header: &HeaderSpec| {
        let mut schema = json!({"type": "string"});
        if let Some(pattern) = header.pattern {
            schema["pattern"] = json!(pattern);
        }
        let value = json!({"description": header.description, "required": header.is_required, "schema": schema});
        (header.name.to_owned(), value)
    };
    Value::Object(HEADER_SPECS.iter().map(component).collect())
}

/// References to these headers and to those that any response may have.
pub(super) fn header_refs(names: &[&str]) -> Value {
    let all_names = names
        .iter()
        .chain(&COMMON_HEADERS)
        .chain(&["Access-Control-Expose-Headers"]);
    Value::Object(
        all_names
            .map(|name| ((*name).to_owned(), header_ref(name)))
            .collect::<Map<String, Value>>(),
    )
}

/// A reference to one header.
pub(super) fn header_ref(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}
