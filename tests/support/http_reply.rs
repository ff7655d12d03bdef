//! One HTTP request on a new connection, and its response as text.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::wait::WAIT_LIMIT;

/// A response. If the connection breaks, it holds what arrived before; `status` is 0 without a head.
#[derive(Debug)]
pub struct HttpReply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Sends a GET to `base` (`http://ADDRESS` or `ADDRESS`) and reads until the server closes.
pub fn http_get(base: &str, target: &str) -> HttpReply {
    send_request(base, &format_get(target))
}

/// Sends a GET through the Unix socket at `path` and reads until the server closes.
pub fn unix_get(path: &Path, target: &str) -> HttpReply {
    exchange(UnixStream::connect(path).unwrap(), &format_get(target))
}

fn format_get(target: &str) -> String {
    let fields = "Host: localhost\r\nConnection: close";
    format!("GET {target} HTTP/1.1\r\n{fields}\r\n\r\n")
}

/// Sends these bytes and reads until the server closes.
pub fn send_request(base: &str, request: &str) -> HttpReply {
    let stream = TcpStream::connect(base.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(WAIT_LIMIT * 2)).unwrap();
    exchange(stream, request)
}

/// Sends a request through this stream and reads until its end.
pub fn exchange(mut stream: impl Read + Write, request: &str) -> HttpReply {
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // A reset ends the response like a close; what arrived before it is the reply.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    HttpReply {
        status: status.unwrap_or_default(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

impl HttpReply {
    /// The value of the first header with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = fields.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    /// The body as JSON. Joins the chunks of a chunked body: other programs, such as Prometheus, send long responses so.
    #[track_caller]
    pub fn json(&self) -> Value {
        let body = if self.header("transfer-encoding") == Some("chunked") {
            join_chunks(&self.body)
        } else {
            self.body.clone()
        };
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn join_chunks(mut chunked: &str) -> String {
    let mut body = String::new();
    while let Some((length, rest)) = chunked.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        body.push_str(&rest[..length]);
        chunked = rest[length..].trim_start_matches("\r\n");
        if length == 0 {
            break;
        }
    }
    body
}
