//! The loop of the fast path: read, match, look up or build the cached response, write.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::domain::Time;
use crate::metrics::ThreadCounters;
use crate::process::SendCharge;
use crate::server::access_control::AccessGrant;
use crate::server::access_record::AccessRecord;
use crate::server::problem::catch_panic;
use crate::server::response::{encode_head, encode_response, respond_with_rendering};
use crate::server::route_access::{DATA_ACCESS, ListenerScope, SNAPSHOT_ACCESS};
use crate::server::server_context::ServerContext;
use crate::server::socket::ClientSocket;

use super::parse::{MAX_HEAD_LENGTH, ParseResult, RequestFields, parse_head};
use super::response_cache::{CachedResponse, ResponseCache};

/// Size of the read buffer, in bytes.
const INPUT_CAPACITY: usize = 2 * MAX_HEAD_LENGTH;

/// Once this many bytes or this many parts of responses are pending, they are written before the next
/// request is answered.
const OUTPUT_LIMIT: usize = 32 * 1024;
const MAX_OUTPUT_PARTS: usize = 64;

/// A body of at most this size, in bytes, is copied behind its head: one part is written faster than
/// two.
const JOINED_BODY_BYTES: usize = 16 * 1024;

/// The fast path of one worker.
pub(crate) struct FastPath {
    context: Arc<ServerContext>,
    counters: Arc<ThreadCounters>,
    /// Uncontended: all connections of the worker run on one thread, and no lock is held across an
    /// await.
    buffers: Mutex<FastPathBuffers>,
}

/// Buffers that the connections of a worker share. A connection uses them within one poll.
struct FastPathBuffers {
    input: Box<[u8]>,
    /// Parts of responses. They share the bytes of the cached responses.
    output: Vec<Bytes>,
    responses: ResponseCache,
}

/// One connection on the fast path.
struct FastConnection {
    /// Bytes read and not answered. Empty unless a head is incomplete, or an output limit was
    /// reached.
    unanswered: Vec<u8>,
    /// Counts them in the send budget.
    charge: Option<SendCharge>,
    next_step: FastPathStep,
}

/// What a connection does next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FastPathStep {
    /// Reads from the socket.
    Read,
    /// Answers requests that were read already.
    Respond,
    /// Continues on hyper.
    HandOver,
    /// Closes: the client has closed its side.
    Close,
}

impl FastPath {
    /// The fast path of a worker that counts in `counters`.
    pub(crate) fn new(context: Arc<ServerContext>, counters: Arc<ThreadCounters>) -> Self {
        Self {
            context,
            counters,
            buffers: Mutex::new(FastPathBuffers {
                input: vec![0; INPUT_CAPACITY].into_boxed_slice(),
                output: Vec::with_capacity(MAX_OUTPUT_PARTS + 1),
                responses: ResponseCache::default(),
            }),
        }
    }

    /// Serves a connection while its requests match. Returns the bytes that were read and not
    /// answered, for hyper, or `None` if the client has closed its side.
    /// `unanswered` are bytes that were read before.
    pub(crate) async fn serve(
        &self,
        socket: &mut ClientSocket,
        unanswered: Vec<u8>,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut connection = FastConnection {
            next_step: if unanswered.is_empty() {
                FastPathStep::Read
            } else {
                FastPathStep::Respond
            },
            unanswered,
            charge: None,
        };
        loop {
            let unwritten = poll_fn(|cx| self.poll_exchange(socket, &mut connection, cx)).await?;
            if !unwritten.is_empty() {
                for part in unwritten {
                    AsyncWriteExt::write_all(socket, &part).await?;
                }
                socket.flush().await?;
            } else if socket.has_unsent_bytes() {
                socket.flush().await?;
            }
            match connection.next_step {
                FastPathStep::Read | FastPathStep::Respond => {}
                FastPathStep::HandOver => return Ok(Some(connection.unanswered)),
                FastPathStep::Close => return Ok(None),
            }
        }
    }

    /// Reads once, answers the requests that were read, and writes once. Returns what the socket did not
    /// take.
    fn poll_exchange(
        &self,
        socket: &mut ClientSocket,
        connection: &mut FastConnection,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Vec<Bytes>>> {
        let mut buffers = self.buffers.lock();
        let FastPathBuffers {
            input,
            output,
            responses,
        } = &mut *buffers;

        let mut input = ReadBuf::new(input);
        input.put_slice(&connection.unanswered);
        if connection.next_step == FastPathStep::Read {
            ready!(socket.poll_fill(cx, &mut input))?;
            if input.filled().len() == connection.unanswered.len() {
                // End of stream. hyper decides what to do with an incomplete head.
                connection.next_step = if connection.unanswered.is_empty() {
                    FastPathStep::Close
                } else {
                    FastPathStep::HandOver
                };
                return Poll::Ready(Ok(Vec::new()));
            }
        }

        output.clear();
        let logs_requests = self.context.logs_requests();
        let peer = logs_requests.then(|| socket.peer_ip()).flatten();
        let (answered, next_step) =
            self.respond(socket.scope, input.filled(), peer, responses, output);
        // An empty slice does not allocate, so a request that is read whole costs no allocation.
        connection.unanswered = input.filled()[answered..].to_vec();
        connection.charge = (!connection.unanswered.is_empty()).then(|| {
            let budget = self.context.cache.send_budget();
            budget.charge(connection.unanswered.len())
        });
        connection.next_step = next_step;
        if output.is_empty() {
            return Poll::Ready(Ok(Vec::new()));
        }

        socket.begin_response();
        let written = match poll_write_parts(socket, cx, output) {
            Poll::Ready(result) => result?,
            Poll::Pending => 0,
        };
        Poll::Ready(Ok(take_unwritten(output, written)))
    }

    /// Appends the responses to the requests in `input`. Returns the length of the answered
    /// requests and the next step.
    fn respond(
        &self,
        scope: ListenerScope,
        input: &[u8],
        peer: Option<IpAddr>,
        responses: &mut ResponseCache,
        output: &mut Vec<Bytes>,
    ) -> (usize, FastPathStep) {
        let clock = self.context.clock;
        let started_at = clock.time_point();
        let now = started_at.time;
        // A response waits for the first round, and one that closes its connection is written by hyper.
        let is_enabled = scope != ListenerScope::Admin
            && self.context.is_first_round_done()
            && !self.context.is_draining();
        let publication = self.context.cache.publication();
        responses.set_basis(publication, self.context.access.generation());

        let logs_requests = self.context.logs_requests();
        let mut answered = 0;
        let mut output_bytes = 0;
        while answered < input.len() {
            let rest = &input[answered..];
            // A logged request is parsed again for what its line has.
            let repeated =
                (is_enabled && !logs_requests).then(|| responses.find_by_head(rest, now));
            let mut logged = None;
            let response = match repeated.flatten() {
                Some(index) => responses.get(index),
                None => match parse_head(rest) {
                    ParseResult::Complete(length, fields) if is_enabled => {
                        let Some(grant) = self.admit(&fields) else {
                            return (answered, FastPathStep::HandOver);
                        };
                        logged = logs_requests.then_some((fields, grant));
                        let Some(index) = self.find_or_build(responses, &fields, now) else {
                            return (answered, FastPathStep::HandOver);
                        };
                        responses.remember_head(index, &rest[..length])
                    }
                    ParseResult::Incomplete => break,
                    ParseResult::Complete(..) | ParseResult::Unsupported => {
                        return (answered, FastPathStep::HandOver);
                    }
                },
            };
            output.push(response.start.clone());
            if !response.rest.is_empty() {
                output.push(response.rest.clone());
            }
            output_bytes += response.start.len() + response.rest.len();
            let duration = clock.elapsed_since(started_at);
            self.counters
                .record_response(response.route, response.status, duration);
            if let Some((fields, grant)) = &logged {
                self.log_request(fields, grant, peer, response, (started_at.time, duration));
            }
            answered += response.head.len();
            if output_bytes >= OUTPUT_LIMIT || output.len() >= MAX_OUTPUT_PARTS {
                return (answered, FastPathStep::Respond);
            }
        }
        (answered, FastPathStep::Read)
    }

    /// The grant of a request; `None` if hyper's path must refuse it.
    fn admit(&self, fields: &RequestFields<'_>) -> Option<AccessGrant> {
        let context = &self.context;
        if !context.hosts.allows_host(fields.host) {
            return None;
        }
        let access = match fields.path() {
            "/resumen" => SNAPSHOT_ACCESS,
            _ => DATA_ACCESS,
        };
        context.access.authorize(access, fields.authorization).ok()
    }

    fn log_request(
        &self,
        fields: &RequestFields<'_>,
        grant: &AccessGrant,
        peer: Option<IpAddr>,
        response: &CachedResponse,
        (time, duration): (Time, Duration),
    ) {
        let context = &self.context;
        let forwarded_for = fields.forwarded_for.into_iter();
        context.log_request(&AccessRecord {
            time: context.clock.shift().apply(time),
            client: peer.map(|peer| context.trusted_proxies.find_client(peer, forwarded_for)),
            method: "GET",
            path: fields.path(),
            query: fields.target.split_once('?').map(|(_, query)| query),
            status: response.status,
            body_length: Some(response.body_length),
            duration,
            request_id: None,
            user_agent: fields.user_agent,
            token: grant.token_name(),
        });
    }

    /// The index of the response to a request with these fields; built and cached if it is new.
    /// `None` if there is no small answer from the snapshot or building panics; hyper's path then answers.
    fn find_or_build(
        &self,
        responses: &mut ResponseCache,
        fields: &RequestFields<'_>,
        now: Time,
    ) -> Option<usize> {
        if let Some(index) = responses.find_by_fields(fields, now) {
            return Some(index);
        }
        let headers = fields.to_header_map()?;
        let (rendering, response) = catch_panic(|| {
            let rendering = self.context.find_rendering(fields.target, &headers)?;
            let mut response = respond_with_rendering(&rendering, &headers);
            let allowed_origin = self.context.cors.allowed_origin(&headers);
            self.context
                .cors
                .add_response_headers(allowed_origin, response.headers_mut());
            self.context.access.restrict_caching(response.headers_mut());
            Some((rendering, response))
        })
        .ok()??;
        let budget = self.context.cache.send_budget();
        let date = self.context.clock.wall_time();
        let (start, rest) = if response.body().len() <= JOINED_BODY_BYTES {
            (encode_response(&response, date), Bytes::new())
        } else {
            (encode_head(&response, date), response.body().clone())
        };
        let response = CachedResponse {
            head: Vec::new(),
            key: fields.as_key().map(|value| value.map(Box::from)),
            valid_until: rendering.valid_until,
            route: self.context.request_metrics.route_of(fields.path()),
            status: response.status(),
            body_length: response.body().len() as u64,
            start: budget.share(start),
            rest,
        };
        Some(responses.insert(response, now))
    }
}

fn poll_write_parts(
    socket: &mut ClientSocket,
    cx: &mut Context<'_>,
    parts: &[Bytes],
) -> Poll<io::Result<usize>> {
    let socket = Pin::new(socket);
    if let [part] = parts {
        return socket.poll_write(cx, part);
    }
    let mut slices = [IoSlice::new(&[]); MAX_OUTPUT_PARTS + 1];
    for (slice, part) in slices.iter_mut().zip(parts) {
        *slice = IoSlice::new(part);
    }
    socket.poll_write_vectored(cx, &slices[..parts.len()])
}

/// Takes all parts out of `output`, and returns them without their first `written` bytes.
fn take_unwritten(output: &mut Vec<Bytes>, mut written: usize) -> Vec<Bytes> {
    let unwritten = output.drain(..).filter_map(|mut part| {
        let skipped = written.min(part.len());
        written -= skipped;
        part.advance(skipped);
        Some(part).filter(|part| !part.is_empty())
    });
    unwritten.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_bytes_are_removed() {
        for (written, expected) in [
            (0, &["ab", "cde", "f"][..]),
            (1, &["b", "cde", "f"]),
            (2, &["cde", "f"]),
            (4, &["e", "f"]),
            (6, &[]),
        ] {
            let mut output = ["ab", "cde", "f"].map(Bytes::from).to_vec();
            assert_eq!(take_unwritten(&mut output, written), expected);
            assert!(output.is_empty());
        }
    }
}
