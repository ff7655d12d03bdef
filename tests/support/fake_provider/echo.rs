//! Responses that contain the whole request: they show whether a secret of the request can leak.

use std::fmt::Write as _;

/// The parts of a response that can hold the request. The first segment of the path chooses one.
pub const ECHO_PLACES: &[&str] = &[
    "data", "problem", "reason", "status", "head", "header", "html", "jsonp", "text", "filter",
    "redirect", "coding", "chunk", "early", "deep", "many", "retry",
];

/// The response to `request`, which holds the request in the place that its path names.
pub(super) fn build_echo_response(request: &str) -> Vec<u8> {
    let place = request.split(['/', '?']).nth(1).unwrap_or_default();
    let line = request.replace(['\r', '\n'], " ");
    let json = serde_json::to_string(request).unwrap();
    let escaped = escape_markup_in_json(&json);
    let text = match place {
        "problem" => {
            format!(
                "HTTP/1.1 500 Oops\r\nContent-Type: application/problem+json\r\n\r\n{{\"title\":{escaped}}}"
            )
        }
        "reason" => format!("HTTP/1.1 503 {line}\r\nContent-Length: 0\r\n\r\n"),
        "status" => format!("HTTP/1.1 {line}\r\n\r\n"),
        "head" => line,
        "header" => format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n{{}}"),
        "html" => format!(
            "HTTP/1.1 200 OK\r\n\r\n<p>{}",
            line.replace('&', "&amp;").replace('"', "&quot;")
        ),
        "jsonp" => format!("HTTP/1.1 200 OK\r\n\r\ncallback({escaped})"),
        "text" => format!("HTTP/1.1 200 OK\r\n\r\n{line}"),
        "filter" => format!("HTTP/1.1 200 OK\r\n\r\n{{\"why\":{escaped}}}"),
        "redirect" => {
            format!("HTTP/1.1 302 Found\r\nLocation: {line}\r\nContent-Length: 0\r\n\r\n")
        }
        "coding" => {
            format!("HTTP/1.1 200 OK\r\nContent-Encoding: {line}\r\nContent-Length: 2\r\n\r\n{{}}")
        }
        "chunk" => format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{line}\r\n{{}}\r\n0\r\n\r\n"
        ),
        "early" => format!("HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{line}"),
        "deep" => format!("HTTP/1.1 200 OK\r\n\r\n{}{json}", "[".repeat(99)),
        "many" => format!("HTTP/1.1 200 OK\r\n\r\n{json} {json}"),
        "retry" => format!("HTTP/1.1 429 No\r\nRetry-After: {line}\r\nContent-Length: 0\r\n\r\n"),
        _ => "HTTP/1.1 200 OK\r\n\r\n{\"n\":1}".to_owned(),
    };
    text.into_bytes()
}

/// JSON as some encoders write it: `/` and characters outside of ASCII are escaped.
fn escape_markup_in_json(json: &str) -> String {
    let mut escaped = String::new();
    for c in json.replace('/', "\\/").chars() {
        if c.is_ascii() {
            escaped.push(c);
        } else {
            c.encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| write!(escaped, "\\u{unit:04x}").unwrap());
        }
    }
    escaped
}
