//! A provider that tells everything it was sent to everybody, in every place of an answer.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// The places in which it tells; the first part of the path chooses.
pub const ECHO_PLACES: &[&str] = &[
    "data", "problem", "reason", "status", "head", "header", "html", "jsonp", "text", "filter",
    "redirect", "coding", "chunk", "early", "deep", "many", "retry",
];

/// Listens on a free port of 127.0.0.1; it ends with the test's process.
pub fn start_echo_provider() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve_echo(stream));
        }
    });
    address
}

fn serve_echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut asked = Vec::new();
    let mut piece = [0; 4096];
    let whole = |asked: &[u8]| {
        let text = String::from_utf8_lossy(asked).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok())
            .unwrap_or(0);
        (body.len() >= length).then(|| text.clone())
    };
    let asked = loop {
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        asked.extend_from_slice(&piece[..read]);
        if let Some(text) = whole(&asked) {
            break text;
        }
    };
    let place = asked.split(['/', '?']).nth(1).unwrap_or_default();
    stream.write_all(&build_echo_response(place, &asked))?;
    stream.shutdown(std::net::Shutdown::Write)?;
    while stream.read(&mut piece)? > 0 {}
    Ok(())
}

/// An answer that holds all of `asked` in that place.
fn build_echo_response(place: &str, asked: &str) -> Vec<u8> {
    let line = asked.replace(['\r', '\n'], " ");
    let json = serde_json::to_string(asked).unwrap();
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

/// JSON as writers have it who escape `/` and whatever is not ASCII.
fn escape_markup_in_json(json: &str) -> String {
    let mut cautious = String::new();
    for c in json.replace('/', "\\/").chars() {
        if c.is_ascii() {
            cautious.push(c);
        } else {
            c.encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| write!(cautious, "\\u{unit:04x}").unwrap());
        }
    }
    cautious
}
