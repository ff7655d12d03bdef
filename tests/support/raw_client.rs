//! A client over a raw socket: what is sent is exactly what the test says, and what comes back is read strictly.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a test waits for what must come.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// One connection.
pub struct RawHttpClient {
    stream: TcpStream,
    /// Bytes that have come and belong to no answer yet.
    unread_bytes: Vec<u8>,
}

/// A status, and names in lower case with their values.
pub type RawResponseHead = (u16, Vec<(String, String)>);

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawResponse {
    /// The status.
    pub status: u16,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl RawResponse {
    /// The value of a header that comes at most once.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "`{name}` comes twice in {self:?}");
        value
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// Names of all headers, but for those that change by themselves.
    pub fn header_names(&self) -> Vec<&str> {
        self.headers
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| *name != "date")
            .collect()
    }
}

impl RawHttpClient {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(READ_TIMEOUT)).unwrap();
        Self {
            stream,
            unread_bytes: Vec::new(),
        }
    }

    /// Sends these bytes; the server may have closed meanwhile.
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

    /// Sends of these bytes what the server takes within a short while; false once it has ended the connection.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream
            .set_write_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let sent = self.stream.write_all(bytes.as_ref());
        self.stream.set_write_timeout(Some(READ_TIMEOUT)).unwrap();
        !matches!(sent, Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Says that nothing more comes.
    pub fn shutdown_write(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Asks for a path as a well-behaved client does; `headers` are whole lines without their end.
    #[track_caller]
    pub fn send_request(&mut self, method: &str, target: &str, headers: &[&str]) -> RawResponse {
        let lines = [&["Host: test"], headers].concat().join("\r\n");
        self.send(format!("{method} {target} HTTP/1.1\r\n{lines}\r\n\r\n"));
        self.read_response(method)
    }

    /// `GET`
    #[track_caller]
    pub fn get(&mut self, target: &str) -> RawResponse {
        self.send_request("GET", target, &[])
    }

    /// The next answer, to a request of this method.
    #[track_caller]
    pub fn read_response(&mut self, method: &str) -> RawResponse {
        self.try_read_response(method)
            .expect("the connection ended without an answer")
    }

    /// The next answer, or none if the connection ends before one begins.
    #[track_caller]
    pub fn try_read_response(&mut self, method: &str) -> Option<RawResponse> {
        let (status, headers) = self.try_read_head()?;
        let mut answer = RawResponse {
            status,
            headers,
            body: Vec::new(),
        };
        let bodyless = method == "HEAD" || status == 204 || status == 304;
        let length = answer
            .header("content-length")
            .map(|text| text.parse::<usize>().unwrap());
        if !bodyless {
            let length = length.expect("an answer without Content-Length");
            while self.unread_bytes.len() < length {
                assert!(self.read_more(), "the connection ended in a body");
            }
            answer.body = self.unread_bytes.drain(..length).collect();
        }
        Some(answer)
    }

    /// Every answer until the connection ends, which it must.
    #[track_caller]
    pub fn read_responses_to_end(&mut self, method: &str) -> Vec<RawResponse> {
        std::iter::from_fn(|| self.try_read_response(method)).collect()
    }

    /// Whether the server has ended the connection, waiting at most that long.
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        self.stream.set_read_timeout(Some(limit)).unwrap();
        let mut byte = [0];
        let ended = match self.stream.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => {
                self.unread_bytes.push(byte[0]);
                false
            }
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        self.stream.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
        ended
    }

    /// The head of an answer whose body has no end.
    #[track_caller]
    pub fn read_head(&mut self) -> RawResponseHead {
        self.try_read_head()
            .expect("the connection ended without an answer")
    }

    /// The next chunk of a body; none at its end, or at that of the connection.
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

    /// Reads on, whatever it is; how many bytes came.
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

    /// What comes up to the end of this mark; none if the connection ends before anything does.
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
                "nothing came: {error}; so far {:?}",
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
