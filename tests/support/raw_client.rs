//! An HTTP client on a raw socket: it sends exactly the bytes of the test and parses responses
//! strictly.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Time limit of a read or write.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// One connection.
pub struct RawHttpClient {
    stream: TcpStream,
    /// Bytes received after the last response.
    unread_bytes: Vec<u8>,
}

/// A status, and headers with names in lower case.
pub type RawResponseHead = (u16, Vec<(String, String)>);

/// One response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawResponse {
    pub status: u16,
    /// Names in lower case, in the order of the response.
    pub headers: Vec<(String, String)>,
    /// Without decoding.
    pub body: Vec<u8>,
}

impl RawResponse {
    /// The value of a header. Panics if the response has it twice.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "`{name}` is repeated in {self:?}");
        value
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// The names of all headers but `date`.
    pub fn header_names(&self) -> Vec<&str> {
        self.headers
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| *name != "date")
            .collect()
    }
}

impl RawHttpClient {
    pub fn connect(address: SocketAddr) -> Self {
        Self::from_stream(TcpStream::connect(address).unwrap())
    }

    pub fn from_stream(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(READ_TIMEOUT)).unwrap();
        Self {
            stream,
            unread_bytes: Vec::new(),
        }
    }

    /// Sends these bytes. The server may have closed the connection.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.stream.write_all(bytes.as_ref()) {
            Err(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                ) =>
            {
                panic!("{error}")
            }
            _ => {}
        }
    }

    /// Sends as many of these bytes as the server accepts within 50 ms; returns `false` once the
    /// server has closed the connection.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream
            .set_write_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let sent = self.stream.write_all(bytes.as_ref());
        self.stream.set_write_timeout(Some(READ_TIMEOUT)).unwrap();
        !matches!(sent, Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Sends FIN.
    pub fn shutdown_write(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Sends a request and reads its response. `headers` are lines without CRLF.
    #[track_caller]
    pub fn send_request(&mut self, method: &str, target: &str, headers: &[&str]) -> RawResponse {
        let lines = [&["Host: test"], headers].concat().join("\r\n");
        self.send(format!("{method} {target} HTTP/1.1\r\n{lines}\r\n\r\n"));
        self.read_response(method)
    }

    #[track_caller]
    pub fn get(&mut self, target: &str) -> RawResponse {
        self.send_request("GET", target, &[])
    }

    /// Reads the response to a request with this method.
    #[track_caller]
    pub fn read_response(&mut self, method: &str) -> RawResponse {
        self.try_read_response(method)
            .expect("the connection ended without a response")
    }

    /// The same; `None` if the connection ends before the response.
    #[track_caller]
    pub fn try_read_response(&mut self, method: &str) -> Option<RawResponse> {
        let (status, headers) = self.try_read_head()?;
        let mut response = RawResponse {
            status,
            headers,
            body: Vec::new(),
        };
        let is_bodyless = method == "HEAD" || status == 204 || status == 304;
        let length = response
            .header("content-length")
            .map(|text| text.parse::<usize>().unwrap());
        if !is_bodyless {
            let length = length.expect("a response without Content-Length");
            while self.unread_bytes.len() < length {
                assert!(self.read_more(), "the connection ended in a body");
            }
            response.body = self.unread_bytes.drain(..length).collect();
        }
        Some(response)
    }

    /// Reads responses until the server closes the connection.
    #[track_caller]
    pub fn read_responses_to_end(&mut self, method: &str) -> Vec<RawResponse> {
        std::iter::from_fn(|| self.try_read_response(method)).collect()
    }

    /// Whether the server closes the connection within `limit`.
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        self.stream.set_read_timeout(Some(limit)).unwrap();
        let mut byte = [0];
        let is_closed = match self.stream.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => {
                self.unread_bytes.push(byte[0]);
                false
            }
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        self.stream.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
        is_closed
    }

    /// Reads the head of a response whose body is endless.
    #[track_caller]
    pub fn read_head(&mut self) -> RawResponseHead {
        self.try_read_head()
            .expect("the connection ended without a response")
    }

    /// Reads the next chunk of a body. `None` at the end of the body or of the connection.
    #[track_caller]
    pub fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.read_through(b"\r\n")?;
        let length =
            usize::from_str_radix(std::str::from_utf8(&line[..line.len() - 2]).unwrap(), 16)
                .unwrap();
        while self.unread_bytes.len() < length + 2 {
            if !self.read_more() {
                return None;
            }
        }
        let mut chunk: Vec<u8> = self.unread_bytes.drain(..length + 2).collect();
        chunk.truncate(length);
        Some(chunk).filter(|chunk| !chunk.is_empty())
    }

    /// Reads and discards bytes; returns their number, 0 at the end of the connection.
    pub fn read_byte_count(&mut self) -> usize {
        self.unread_bytes.clear();
        if self.read_more() {
            self.unread_bytes.len()
        } else {
            0
        }
    }

    fn try_read_head(&mut self) -> Option<RawResponseHead> {
        let head = self.read_through(b"\r\n\r\n")?;
        Some(parse_head(
            std::str::from_utf8(&head[..head.len() - 4]).unwrap(),
        ))
    }

    /// Reads up to the end of `mark`. `None` if the connection ends before the first byte.
    fn read_through(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        let end = loop {
            if let Some(at) = find_subslice(&self.unread_bytes, mark) {
                break at + mark.len();
            }
            if !self.read_more() {
                assert!(
                    self.unread_bytes.is_empty(),
                    "the connection ended within {:?}",
                    String::from_utf8_lossy(&self.unread_bytes)
                );
                return None;
            }
        };
        Some(self.unread_bytes.drain(..end).collect())
    }

    fn read_more(&mut self) -> bool {
        let mut chunk = [0; 8192];
        match self.stream.read(&mut chunk) {
            Ok(count) => {
                self.unread_bytes.extend_from_slice(&chunk[..count]);
                count > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!(
                "read: {error}; after {:?}",
                String::from_utf8_lossy(&self.unread_bytes)
            ),
        }
    }
}

fn parse_head(head: &str) -> RawResponseHead {
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap();
    assert!(
        status.starts_with("HTTP/1.1 ") || status.starts_with("HTTP/1.0 "),
        "{status:?}"
    );
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
        (name.to_ascii_lowercase(), value.to_owned())
    };
    (status[9..12].parse().unwrap(), lines.map(header).collect())
}

fn find_subslice(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len())
        .position(|window| window == needle)
}
