//! Refuses requests where they are accepted, while every place is taken. A serving thread would take several times
//! as long for each, in which health checks wait behind them.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::metrics::ThreadCounters;

use super::access_record::AccessRecord;
use super::client_stream::AcceptedStream;
use super::problem::ProblemDetails;
use super::response::encode_head;
use super::route_access::RouteAccess;
use super::server_context::ServerContext;

/// How much of a head is looked at, in bytes.
const PEEKED_BYTES: usize = 256;

/// How much of a request is read before the connection is closed, in bytes. Unread bytes would make the kernel reset it,
/// and the client would lose the response.
const READ_BYTES: usize = 16 << 10;

/// Refuses requests for want of a place.
pub(super) struct EarlyRefusal {
    context: Arc<ServerContext>,
    counters: Arc<ThreadCounters>,
}

impl EarlyRefusal {
    pub(super) fn new(context: Arc<ServerContext>) -> Self {
        let counters = context.request_metrics.register_thread();
        Self { context, counters }
    }

    /// Answers 503 if a request has arrived that does not ask for the health of the process. Returns whether it did. What
    /// is encrypted by TLS is no request here.
    pub(super) fn refuse(&self, stream: &AcceptedStream) -> bool {
        let context = &self.context;
        let mut head = [0; PEEKED_BYTES];
        let Ok((count, _)) = recv(stream, &mut head[..], RecvFlags::PEEK) else {
            return false;
        };
        let Some(line) = RequestLine::parse(&head[..count]) else {
            return false;
        };
        let route = context.request_metrics.route_of(line.path);
        if context.access_of(route) == RouteAccess::Everyone {
            return false;
        }
        let problem = ProblemDetails::busy_connections().with_connection_close();
        let mut response = problem.to_response();
        let (status, time) = (response.status(), context.clock.wall_time());
        // The length in the head is that of the response to GET (RFC 9110, section 9.3.2).
        let head = encode_head(&response, time);
        if line.method == "HEAD" {
            *response.body_mut() = Bytes::new();
        }
        // It fails only if the client has closed the connection.
        let _ = answer(stream, &[head.as_slice(), response.body()].concat());
        self.counters.record_response(route, status, Duration::ZERO);
        if context.logs_requests() {
            context.log_request(&AccessRecord {
                time,
                client: stream.peer_ip(),
                method: line.method,
                path: line.path,
                query: line.query,
                status,
                body_length: Some(response.body().len() as u64),
                duration: Duration::ZERO,
                request_id: None,
                user_agent: None,
                token: None,
            });
        }
        true
    }
}

/// Reads the request that has arrived, and writes its response.
fn answer(stream: &impl AsFd, response: &[u8]) -> io::Result<()> {
    recv(stream, &mut [0; READ_BYTES][..], RecvFlags::DONTWAIT)?;
    send(stream, response, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

/// A request line (RFC 9112, section 3).
#[derive(Debug, PartialEq, Eq)]
struct RequestLine<'h> {
    method: &'h str,
    path: &'h str,
    query: Option<&'h str>,
}

impl<'h> RequestLine<'h> {
    /// The line that `head` begins with; `None` unless it is whole, and its target a path.
    fn parse(head: &'h [u8]) -> Option<Self> {
        let end = head.windows(2).position(|two| two == b"\r\n")?;
        let mut words = std::str::from_utf8(&head[..end]).ok()?.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        if !words.next()?.starts_with("HTTP/1.") || !target.starts_with('/') {
            return None;
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        Some(Self {
            method,
            path,
            query,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_request_line_is_parsed() {
        let line = |method, path, query| {
            Some(RequestLine {
                method,
                path,
                query,
            })
        };
        for (head, expected) in [
            (
                &b"GET /resumen HTTP/1.1\r\nHost: \xff"[..],
                line("GET", "/resumen", None),
            ),
            (
                b"HEAD /salud?a=%20 HTTP/1.0\r\n",
                line("HEAD", "/salud", Some("a=%20")),
            ),
            (b"GET /resumen HTTP/1.1", None),
            (b"GET http://a/salud HTTP/1.1\r\n", None),
            (b"GET /salud\r\n", None),
            (b"PRI * HTTP/2.0\r\n", None),
            (b"\x16\x03\x01\r\n", None),
            (b"", None),
        ] {
            assert_eq!(RequestLine::parse(head), expected);
        }
    }
}
