//! The short way of plain requests gives what the library would have written, byte for byte.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::fake_provider::FakeProvider;
use crate::support::test_app::{TestApp, WAIT_LIMIT, source_tables};

/// Fields of plain requests, `{etag}` for the tag of the answer; and its status.
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

/// Other ways to the same answer, after what comes before the request: by the library's front, which alone passes over
/// an empty line; by the routes, which alone see a parameter; and without the body.
const REQUEST_LINES: [(&str, &str, &str); 4] = [
    ("\r\n", "GET", "/resumen"),
    ("", "GET", "/resumen?_=1"),
    ("", "HEAD", "/resumen"),
    ("", "HEAD", "/resumen?_=1"),
];

/// Two answers on one connection, the first by the short way. Of one to HEAD, and of the one that it is compared with,
/// only the head.
fn request_by_both_paths(
    served: &TestApp,
    fields: &str,
    (before, method, target): (&str, &str, &str),
) -> (String, String) {
    let tail = format!("HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
    write!(
        stream,
        "GET /resumen {tail}{before}{method} {target} {tail}"
    )
    .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let second = text.rfind("HTTP/1.1 ").unwrap();
    let (mut short, other) = (without_date(&text[..second]), without_date(&text[second..]));
    if method == "HEAD" {
        assert!(other.ends_with("\r\n\r\n"), "{other}");
        short.truncate(short.find("\r\n\r\n").unwrap() + 4);
    }
    (short, other)
}

/// The machine's clock may move on between two answers; that there is a date, and where, is compared.
fn without_date(answer: &str) -> String {
    let begin = answer.find("\r\ndate: ").unwrap() + 8;
    let end = begin + answer[begin..].find("\r\n").unwrap();
    assert_eq!(end - begin, "Sun, 06 Nov 1994 08:49:37 GMT".len());
    format!("{}{}", &answer[..begin], &answer[end..])
}

#[test]
fn fast_path_matches_hyper_bytes() {
    let stub = FakeProvider::with_json(r#"{"usd": 97123.45}"#);
    for origins in CORS_ORIGINS {
        let text = source_tables(&[("btc", stub.url())]);
        let served = TestApp::start(&format!("[server]\ncors_origins = {origins}\n{text}"));
        let etag = served.get("/resumen").header("etag").unwrap().to_owned();
        for (fields, status) in REQUEST_FIELDS {
            let fields = fields.replace("{etag}", &etag);
            for way in REQUEST_LINES {
                // A rendering lives for some milliseconds, and two answers may be of two.
                let same = (0..100).find_map(|_| {
                    let (short, other) = request_by_both_paths(&served, &fields, way);
                    (short == other).then_some(short)
                });
                let (short, other) = request_by_both_paths(&served, &fields, way);
                let answer = same
                    .unwrap_or_else(|| panic!("{origins} {fields:?} {way:?}\n{short}\n{other}"));
                assert_eq!(
                    answer.split(' ').nth(1),
                    Some(status),
                    "{fields:?}: {answer}"
                );
            }
        }
    }
}

#[test]
fn split_requests_are_answered_in_order() {
    let stub = FakeProvider::with_json(r#"{"usd": 97123.45}"#);
    let served = TestApp::start(&source_tables(&[("btc", stub.url())]));
    served.get("/resumen");
    let plain = "GET /resumen HTTP/1.1\r\nHost: test\r\nAccept: */*\r\n\r\n";
    let text = format!(
        "{}GET /salud HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
        plain.repeat(300)
    );
    for size in [1, 7, 64, 1000, 100_000] {
        let mut stream = TcpStream::connect(served.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let text = text.clone();
        let writing = std::thread::spawn(move || {
            text.as_bytes()
                .chunks(size)
                .try_for_each(|piece| writer.write_all(piece))
        });
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        writing.join().unwrap().unwrap();
        assert_eq!(
            answers.matches("HTTP/1.1 200 OK\r\n").count(),
            301,
            "pieces of {size}"
        );
        assert!(answers.ends_with(r#"{"status":"ok"}"#), "pieces of {size}");
    }
}
