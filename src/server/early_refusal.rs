//! Refuses requests where they are accepted, while every place is taken. A serving thread would take several times
//! as long for each, in which health checks wait behind them.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::metrics::{RouteId, ThreadCounters};

use super::client_stream::AcceptedStream;
use super::problem::ProblemDetails;
use super::response::encode_response;
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

    /// Answers 503 if a request has arrived that does not ask for the health of the process. Returns whether it did.
    /// By TLS it cannot read the request.
    pub(super) fn refuse(&self, stream: &AcceptedStream) -> bool {
        if self.context.tls().is_some() && stream.peer_ip().is_some() {
            return false;
        }
        let Some(route) = self.find_refused_route(stream) else {
            return false;
        };
        // It fails only if the client has closed the connection.
        let _ = self.answer_busy(stream);
        let status = StatusCode::SERVICE_UNAVAILABLE;
        self.counters.record_response(route, status, Duration::ZERO);
        true
    }

    /// The route of the request that has arrived, if one has and it may be refused.
    fn find_refused_route(&self, stream: &AcceptedStream) -> Option<RouteId> {
        let mut head = [0; PEEKED_BYTES];
        let (count, _) = recv(stream, &mut head[..], RecvFlags::PEEK).ok()?;
        let path = request_path(&head[..count])?;
        let route = self.context.request_metrics.route_of(path);
        (self.context.access_of(route) != RouteAccess::Everyone).then_some(route)
    }

    fn answer_busy(&self, stream: &impl AsFd) -> io::Result<()> {
        let problem = ProblemDetails::busy_connections().with_connection_close();
        let bytes = encode_response(&problem.to_response(), self.context.clock.wall_time());
        recv(stream, &mut [0; READ_BYTES][..], RecvFlags::DONTWAIT)?;
        send(stream, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        Ok(())
    }
}

/// The path in the request line (RFC 9112 §3) that `head` begins with; `None` unless it is whole and of the usual form.
fn request_path(head: &[u8]) -> Option<&str> {
    let (line, _) = std::str::from_utf8(head).ok()?.split_once("\r\n")?;
    let mut words = line.split(' ');
    let target = words.nth(1)?;
    let is_usual = words.next()?.starts_with("HTTP/1.") && target.starts_with('/');
    is_usual.then(|| target.split_once('?').map_or(target, |(path, _)| path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_usual_request_line_is_found() {
        for (head, expected) in [
            (
                &b"GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n"[..],
                Some("/resumen"),
            ),
            (b"HEAD /salud?a=%20 HTTP/1.0\r\nX: ", Some("/salud")),
            (b"GET /resumen HTTP/1.1", None),
            (b"GET http://a/salud HTTP/1.1\r\n", None),
            (b"GET /salud\r\n", None),
            (b"PRI * HTTP/2.0\r\n", None),
            (b"\x16\x03\x01\r\n", None),
            (b"", None),
        ] {
            assert_eq!(request_path(head), expected);
        }
    }
}
