//! The fast path sends the same bytes as hyper.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::fake_provider::FakeProvider;
use crate::support::test_app::{TestApp, source_tables};
use crate::support::wait::WAIT_LIMIT;

/// Headers of plain requests and the status of their responses. `{etag}` is the tag of the response.
const REQUEST_FIELDS: [(&str, &str); 16] = [
    ("", "200"),
    ("Accept-Encoding: gzip\r\n", "200"),
    (
        "Accept-Encoding: gzip, deflate, br, zstd\r\nUser-Agent: x\r\nAccept: */*\r\n",
        "200",
    ),
    ("accept-encoding: zstd;q=0.5, *;q=0\r\n", "200"),
    ("Accept-Encoding: identity;q=0, *;q=0\r\n", "406"),
    ("Accept-Encoding:\r\n", "200"),
    ("Accept-Encoding: identity;q=0\r\n", "406"),
    (
        "Accept-Encoding: identity;q=0, br\r\nOrigin: https://a.example\r\n",
        "200",
    ),
    ("If-None-Match: *\r\nOrigin: https://a.example\r\n", "304"),
    ("If-None-Match: \"unbalanced, {etag}\r\n", "200"),
    ("If-None-Match: {etag}\r\n", "304"),
    (
        "If-None-Match: \"a\", {etag}\r\nAccept-Encoding: br\r\n",
        "304",
    ),
    ("If-None-Match: \"a\"\r\n", "200"),
    ("Origin: https://a.example\r\n", "200"),
    (
        "Origin: https://b.example\r\nConnection: keep-alive\r\n",
        "200",
    ),
    (
        "Range: bytes=0-1\r\nIf-Modified-Since: x\r\nX-Forwarded-Host: evil\r\n",
        "200",
    ),
];

const CORS_ORIGINS: [&str; 3] = ["[]", r#"["*"]"#, r#"["https://a.example"]"#];

/// Requests for the same response off the fast path: only hyper skips an empty line before a request
/// (the first element), and only the router accepts a parameter.
const REQUEST_LINES: [(&str, &str, &str); 4] = [
    ("\r\n", "GET", "/resumen"),
    ("", "GET", "/resumen?_=1"),
    ("", "HEAD", "/resumen"),
    ("", "HEAD", "/resumen?_=1"),
];

/// Sends two requests on one connection, of which the first takes the fast path, and returns their
/// responses; for HEAD, both without their bodies.
fn request_by_both_paths(
    app: &TestApp,
    fields: &str,
    (prefix, method, target): (&str, &str, &str),
) -> (String, String) {
    let tail = format!("HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
    let mut stream = TcpStream::connect(app.address).unwrap();
    stream.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
    write!(
        stream,
        "GET /resumen {tail}{prefix}{method} {target} {tail}"
    )
    .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let second = text.rfind("HTTP/1.1 ").unwrap();
    let (mut fast, slow) = (without_date(&text[..second]), without_date(&text[second..]));
    if method == "HEAD" {
        assert!(slow.ends_with("\r\n\r\n"), "{slow}");
        fast.truncate(fast.find("\r\n\r\n").unwrap() + 4);
    }
    (fast, slow)
}

/// Removes the value of `date`, which may differ between two responses.
fn without_date(response: &str) -> String {
    let start = response.find("\r\ndate: ").unwrap() + 8;
    let end = start + response[start..].find("\r\n").unwrap();
    assert_eq!(end - start, "Sun, 06 Nov 1994 08:49:37 GMT".len());
    format!("{}{}", &response[..start], &response[end..])
}

#[test]
fn fast_path_matches_hyper_bytes() {
    let provider = FakeProvider::with_json(r#"{"usd": 97123.45}"#);
    for origins in CORS_ORIGINS {
        let text = source_tables(&[("btc", provider.url())]);
        let app = TestApp::start(&format!("[server]\ncors_origins = {origins}\n{text}"));
        let etag = app.get("/resumen").header("etag").unwrap().to_owned();
        for (fields, status) in REQUEST_FIELDS {
            let fields = fields.replace("{etag}", &etag);
            for line in REQUEST_LINES {
                // A rendering is valid for 20 ms: two responses may have different ones.
                let same = (0..100).find_map(|_| {
                    let (fast, slow) = request_by_both_paths(&app, &fields, line);
                    (fast == slow).then_some(fast)
                });
                let (fast, slow) = request_by_both_paths(&app, &fields, line);
                let response =
                    same.unwrap_or_else(|| panic!("{origins} {fields:?} {line:?}\n{fast}\n{slow}"));
                assert_eq!(
                    response.split(' ').nth(1),
                    Some(status),
                    "{fields:?}: {response}"
                );
            }
        }
    }
}

/// Targets of the fast path, and the media type of their answers.
const OTHER_TARGETS: [(&str, &str); 6] = [
    ("/resumen?sources=btc&timeout=2&_=1", "application/json"),
    ("/resumen?format=flat", "application/json"),
    ("/valor/btc", "application/json"),
    ("/valor/btc/usd", "text/plain; charset=utf-8"),
    ("/insignia/btc/usd", "image/svg+xml"),
    ("/insignia/none/usd", "image/svg+xml"),
];

#[test]
fn selections_match_hyper_bytes() {
    let provider = FakeProvider::with_json(r#"{"usd": 97123.45}"#);
    let app = TestApp::start(&source_tables(&[("btc", provider.url())]));
    app.get("/resumen");
    for (target, media) in OTHER_TARGETS {
        for fields in ["", "Accept-Encoding: gzip\r\n", "If-None-Match: *\r\n"] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n{fields}");
            // Only hyper answers a request with an identifier.
            let text = format!("{request}\r\n{request}X-Request-Id: a\r\n\r\n");
            let same = (0..100).find_map(|_| {
                let mut stream = TcpStream::connect(app.address).unwrap();
                stream.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
                stream.write_all(text.as_bytes()).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).unwrap();
                let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
                let second = text.rfind("HTTP/1.1 ").unwrap();
                let (fast, slow) = (without_date(&text[..second]), without_date(&text[second..]));
                (fast == slow.replace("x-request-id: a\r\n", "")).then_some(fast)
            });
            let fast = same.unwrap_or_else(|| panic!("{target} {fields:?}"));
            let is_200 = fast.starts_with("HTTP/1.1 200 OK\r\n");
            assert_eq!(
                is_200,
                !fields.starts_with("If"),
                "{target} {fields:?}: {fast}"
            );
            assert!(
                !is_200 || fast.contains(&format!("content-type: {media}\r\n")),
                "{fast}"
            );
        }
    }
}

#[test]
fn split_requests_are_answered_in_order() {
    let provider = FakeProvider::with_json(r#"{"usd": 97123.45}"#);
    let app = TestApp::start(&source_tables(&[("btc", provider.url())]));
    app.get("/resumen");
    let plain = "GET /resumen HTTP/1.1\r\nHost: test\r\nAccept: */*\r\n\r\n";
    let text = format!(
        "{}GET /salud HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
        plain.repeat(300)
    );
    for size in [1, 7, 64, 1000, 100_000] {
        let mut stream = TcpStream::connect(app.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let text = text.clone();
        let writing = std::thread::spawn(move || {
            text.as_bytes()
                .chunks(size)
                .try_for_each(|piece| writer.write_all(piece))
        });
        let mut responses = String::new();
        stream.read_to_string(&mut responses).unwrap();
        writing.join().unwrap().unwrap();
        assert_eq!(
            responses.matches("HTTP/1.1 200 OK\r\n").count(),
            301,
            "pieces of {size}"
        );
        assert!(
            responses.ends_with(r#"{"status":"ok"}"#),
            "pieces of {size}"
        );
    }
}
