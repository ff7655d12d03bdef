//! Clients that poll without a pause and remember every answer that was not what they came for.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

/// Clients at work.
pub struct PollingClients {
    stop: Arc<AtomicBool>,
    response_count: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Result<(), String>>>,
}

impl PollingClients {
    /// `size` clients that ask for `path` until they are called off. `lasting` ones keep their connection as long as the
    /// server does.
    pub fn new(size: usize, address: SocketAddr, path: &'static str, lasting: bool) -> Self {
        let (stop, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = |_| {
            let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
            spawn(move || {
                while !stop.load(Relaxed) {
                    poll_until_stopped(address, path, lasting, &stop, &answers)?;
                }
                Ok(())
            })
        };
        Self {
            clients: (0..size).map(client).collect(),
            stop,
            response_count: answers,
        }
    }

    /// How many good answers there were so far.
    pub fn response_count(&self) -> usize {
        self.response_count.load(Relaxed)
    }

    /// Calls them off; gives how many good answers there were, or what went wrong.
    pub fn stop_and_count(self) -> Result<usize, String> {
        self.stop.store(true, Relaxed);
        self.clients
            .into_iter()
            .try_for_each(|client| client.join().unwrap())?;
        Ok(self.response_count.load(Relaxed))
    }
}

/// One connection, for one answer or for as long as it lasts.
fn poll_until_stopped(
    address: SocketAddr,
    path: &str,
    lasting: bool,
    stop: &AtomicBool,
    answers: &AtomicUsize,
) -> Result<(), String> {
    let told = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let mut stream = TcpStream::connect(address).map_err(told("connecting"))?;
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .map_err(told("preparing"))?;
    let mut reader = BufReader::new(stream.try_clone().map_err(told("preparing"))?);
    let connection = if lasting { "keep-alive" } else { "close" };
    while !stop.load(Relaxed) {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: crowd\r\nconnection: {connection}\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .map_err(told("asking"))?;
        let last = read_one_response(&mut reader)?;
        answers.fetch_add(1, Relaxed);
        if last {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads one whole 200; tells whether the connection ends with it.
fn read_one_response(reader: &mut impl BufRead) -> Result<bool, String> {
    let (mut head, mut length, mut last) = (String::new(), 0, false);
    loop {
        let begun = head.len();
        let read = reader
            .read_line(&mut head)
            .map_err(|error| format!("reading: {error}, after {head:?}"))?;
        let line = head[begun..].trim_end().to_ascii_lowercase();
        if read == 0 {
            return Err(format!("the connection ended in the head: {head:?}"));
        }
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().map_err(|_| line.clone())?;
        }
        last |= line == "connection: close";
    }
    let mut body = vec![0; length];
    reader
        .read_exact(&mut body)
        .map_err(|error| format!("reading the body: {error}"))?;
    if head.starts_with("HTTP/1.1 200 ") {
        Ok(last)
    } else {
        Err(head + &String::from_utf8_lossy(&body))
    }
}
