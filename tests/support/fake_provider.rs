//! An HTTP provider whose answer a test may change while it runs.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a stub answers.
#[derive(Debug, Clone)]
pub struct FakeResponse {
    /// The status with its reason: `200 OK`.
    pub status: &'static str,
    /// Further header lines, each with its CRLF.
    pub headers: String,
    /// The body.
    pub body: String,
    /// How long it takes.
    pub delay: Duration,
}

/// A provider on a free port of 127.0.0.1; it ends with the test's process.
#[derive(Clone)]
pub struct FakeProvider {
    /// Where it listens.
    pub address: SocketAddr,
    response: Arc<Mutex<FakeResponse>>,
    calls: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl FakeProvider {
    /// A provider that answers 200 with this JSON.
    pub fn with_json(body: &str) -> Self {
        Self::with_json_at("127.0.0.1", body)
    }

    /// The same at another address of this machine.
    pub fn with_json_at(host: &str, body: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let answer = FakeResponse {
            status: "200 OK",
            headers: String::new(),
            body: body.into(),
            delay: Duration::ZERO,
        };
        let stub = Self {
            address,
            response: Arc::new(Mutex::new(answer)),
            calls: Arc::default(),
            connections: Arc::default(),
        };
        let accepting = stub.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let stub = accepting.clone();
                stub.connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || stub.serve_connection(&stream));
            }
        });
        stub
    }

    /// Answers this JSON from now on.
    pub fn set_json(&self, body: &str) {
        self.update_response(|answer| (answer.status, answer.body) = ("200 OK", body.into()));
    }

    /// Changes what it answers.
    pub fn update_response(&self, change: impl FnOnce(&mut FakeResponse)) {
        change(&mut self.response.lock().unwrap());
    }

    /// How many requests came.
    pub fn call_count(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// How many connections came.
    pub fn connection_count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn serve_connection(&self, stream: &TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut lines = BufReader::new(stream).lines();
        loop {
            while !lines.next()?.ok()?.is_empty() {}
            self.calls.fetch_add(1, Ordering::SeqCst);
            let answer = self.response.lock().unwrap().clone();
            std::thread::sleep(answer.delay);
            let (status, headers, body) = (answer.status, answer.headers, answer.body);
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n",
                body.len()
            );
            let mut out = stream;
            out.write_all(format!("{head}{body}").as_bytes()).ok()?;
        }
    }
}
