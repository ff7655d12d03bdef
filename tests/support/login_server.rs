//! An HTTP server whose answers a closure computes from the requests: logins and the APIs behind them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One request: its first line, its headers and its body.
#[derive(Debug, Clone, Default)]
pub struct LoginRequest {
    pub line: String,
    pub head: String,
    pub body: String,
}

impl LoginRequest {
    /// Returns whether the path begins with `path`.
    pub fn is_for(&self, path: &str) -> bool {
        self.line.split(' ').nth(1).unwrap().starts_with(path)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// A server on loopback that ends with the process. Each response closes its connection; an empty one is not sent.
#[derive(Clone)]
pub struct LoginServer {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<LoginRequest>>>,
}

impl LoginServer {
    pub fn start(respond: impl Fn(&LoginRequest) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
        };
        let (requests, respond) = (Arc::clone(&server.requests), Arc::new(respond));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (requests, respond) = (Arc::clone(&requests), Arc::clone(&respond));
                std::thread::spawn(move || {
                    let Some(request) = read_request(&stream) else {
                        return;
                    };
                    requests.lock().unwrap().push(request.clone());
                    let _ = (&stream).write_all(respond(&request).as_bytes());
                });
            }
        });
        server
    }

    /// The requests whose path begins with `path`.
    pub fn requests_for(&self, path: &str) -> Vec<LoginRequest> {
        let requests = self.requests.lock().unwrap();
        let matching = requests.iter().filter(|request| request.is_for(path));
        matching.cloned().collect()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A response with this status line, these header lines and this body.
pub fn response(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
    )
}

fn read_request(stream: &TcpStream) -> Option<LoginRequest> {
    let mut reader = BufReader::new(stream);
    let mut request = LoginRequest::default();
    reader.read_line(&mut request.line).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        request.head += &line;
    }
    let length = request.header("content-length");
    let length = length.map_or(0, |length| length.trim().parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).unwrap();
    (!request.line.is_empty()).then_some(request)
}
