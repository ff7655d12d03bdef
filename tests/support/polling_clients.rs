//! Clients that send requests in a loop and report the first response that is not good.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use super::http_reply::http_get;
use super::service_process::ServiceProcess;
use super::wait::{WAIT_LIMIT, wait_until};

/// Clients that send one request after the other.
pub struct PollingClients {
    stop: Arc<AtomicBool>,
    response_count: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Result<(), String>>>,
}

impl PollingClients {
    /// Starts `count` clients. With `keep_alive` a client keeps its connection until the server
    /// closes it.
    pub fn new(count: usize, address: SocketAddr, path: &'static str, keep_alive: bool) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let response_count = Arc::<AtomicUsize>::default();
        let client = |_| {
            let (stop, response_count) = (Arc::clone(&stop), Arc::clone(&response_count));
            spawn(move || {
                while !stop.load(Relaxed) {
                    poll_on_one_connection(address, path, keep_alive, &stop, &response_count)?;
                }
                Ok(())
            })
        };
        Self {
            clients: (0..count).map(client).collect(),
            stop,
            response_count,
        }
    }

    /// Waits until `count` more responses have arrived.
    pub fn wait_for_responses(&self, count: usize) {
        let wanted = self.response_count.load(Relaxed) + count;
        wait_until("responses", || self.response_count.load(Relaxed) > wanted);
    }

    /// Stops the clients. Returns the number of good responses, or the first error.
    pub fn stop_and_count(self) -> Result<usize, String> {
        self.stop.store(true, Relaxed);
        for client in self.clients {
            client.join().unwrap()?;
        }
        Ok(self.response_count.load(Relaxed))
    }
}

fn poll_on_one_connection(
    address: SocketAddr,
    path: &str,
    keep_alive: bool,
    stop: &AtomicBool,
    response_count: &AtomicUsize,
) -> Result<(), String> {
    let failed = |action: &'static str| move |error: std::io::Error| format!("{action}: {error}");
    let mut stream = TcpStream::connect(address).map_err(failed("connect"))?;
    stream
        .set_read_timeout(Some(WAIT_LIMIT))
        .map_err(failed("prepare"))?;
    let mut reader = BufReader::new(stream.try_clone().map_err(failed("prepare"))?);
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: {connection}\r\n\r\n");
    while !stop.load(Relaxed) {
        stream
            .write_all(request.as_bytes())
            .map_err(failed("send"))?;
        let is_last = read_one_response(&mut reader)?;
        response_count.fetch_add(1, Relaxed);
        if is_last {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads one complete response with status 200; returns whether the server closes the connection.
pub fn read_one_response(reader: &mut impl BufRead) -> Result<bool, String> {
    let (mut head, mut length, mut is_last) = (String::new(), 0, false);
    loop {
        let start = head.len();
        let read = reader.read_line(&mut head);
        let read = read.map_err(|error| format!("read: {error}, after {head:?}"))?;
        let line = head[start..].trim_end().to_ascii_lowercase();
        if read == 0 {
            return Err(format!("the connection ended in the head: {head:?}"));
        }
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().map_err(|_| line.clone())?;
        }
        is_last |= line == "connection: close";
    }
    let mut body = vec![0; length];
    let read = reader.read_exact(&mut body);
    read.map_err(|error| format!("read the body: {error}"))?;
    if head.starts_with("HTTP/1.1 200 ") {
        Ok(is_last)
    } else {
        Err(head + &String::from_utf8_lossy(&body))
    }
}

/// A client that polls a replica ten times a second and expects fresh data of `a` every time.
pub struct FreshnessPoller {
    stop: Arc<AtomicBool>,
    client: JoinHandle<Result<PollSummary, String>>,
}

/// What a [`FreshnessPoller`] received.
#[derive(Debug, Default)]
pub struct PollSummary {
    pub responses: usize,
    /// The greatest age of `a`, in milliseconds.
    pub max_age_ms: i64,
}

impl FreshnessPoller {
    /// Starts one client for each replica.
    pub fn start_all(replicas: &[ServiceProcess]) -> Vec<Self> {
        replicas.iter().map(Self::new).collect()
    }

    pub fn new(replica: &ServiceProcess) -> Self {
        let (stop, base_url) = (Arc::<AtomicBool>::default(), replica.base_url.clone());
        let stopped = Arc::clone(&stop);
        let client = spawn(move || {
            let mut summary = PollSummary::default();
            while !stopped.load(Relaxed) {
                let reply = http_get(&base_url, "/resumen");
                let a = &reply.json()["resultados"]["a"];
                if reply.status != 200 || a["ok"] != true || a["stale"] != false {
                    return Err(format!("{reply:?}"));
                }
                summary.responses += 1;
                let age = a["age_ms"].as_i64().unwrap_or(i64::MAX);
                summary.max_age_ms = summary.max_age_ms.max(age);
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(summary)
        });
        Self { stop, client }
    }

    /// Stops the client. Panics with the first response that was not good.
    pub fn stop_and_summarise(self) -> PollSummary {
        self.stop.store(true, Relaxed);
        self.client.join().unwrap().unwrap()
    }
}
