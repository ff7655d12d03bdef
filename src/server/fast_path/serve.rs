//! The loop of the fast path: read, match, look up or build the cached response, write.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::metrics::{RouteId, ThreadCounters};
use crate::server::problem::catch_panic;
use crate::server::response::{encode_response, respond_with_rendering};
use crate::server::route_access::SNAPSHOT_ACCESS;
use crate::server::server_context::ServerContext;
use crate::server::socket::ClientSocket;

use super::parse::{MAX_HEAD_LENGTH, ParseResult, RequestFields, has_request_line, parse_head};
use super::response_cache::{CachedResponse, ResponseCache};

/// Size of the read buffer, in bytes.
const INPUT_CAPACITY: usize = 2 * MAX_HEAD_LENGTH;

/// Once this many bytes of responses are pending, they are written before the next request is
/// answered.
const OUTPUT_LIMIT: usize = 32 * 1024;

/// The fast path of one worker.
pub(crate) struct FastPath {
    context: Arc<ServerContext>,
    counters: Arc<ThreadCounters>,
    /// The route of `/resumen` in the request metrics.
    route: RouteId,
    /// Uncontended: all connections of the worker run on one thread, and no lock is held across an
    /// await.
    buffers: Mutex<FastPathBuffers>,
}

/// Buffers that the connections of a worker share. A connection uses them within one poll.
struct FastPathBuffers {
    input: Box<[u8]>,
    output: Vec<u8>,
    responses: ResponseCache,
}

/// One connection on the fast path.
#[derive(Default)]
struct FastConnection {
    /// Bytes read and not answered. Empty unless a head is incomplete, or the output limit was
    /// reached.
    unanswered: Vec<u8>,
    next_step: FastPathStep,
}

/// What a connection does next.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum FastPathStep {
    /// Reads from the socket.
    #[default]
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
        let route = context.request_metrics.route_of("/resumen");
        Self {
            context,
            counters,
            route,
            buffers: Mutex::new(FastPathBuffers {
                input: vec![0; INPUT_CAPACITY].into_boxed_slice(),
                output: Vec::with_capacity(OUTPUT_LIMIT),
                responses: ResponseCache::default(),
            }),
        }
    }

    /// Serves a connection while its requests match. Returns the bytes that were read and not
    /// answered, for hyper, or `None` if the client has closed its side.
    pub(crate) async fn serve(&self, socket: &mut ClientSocket) -> io::Result<Option<Vec<u8>>> {
        let mut connection = FastConnection::default();
        loop {
            let unwritten = poll_fn(|cx| self.poll_exchange(socket, &mut connection, cx)).await?;
            if !unwritten.is_empty() {
                AsyncWriteExt::write_all(socket, &unwritten).await?;
                socket.flush().await?;
            }
            match connection.next_step {
                FastPathStep::Read | FastPathStep::Respond => {}
                FastPathStep::HandOver => return Ok(Some(connection.unanswered)),
                FastPathStep::Close => return Ok(None),
            }
        }
    }

    /// Reads once, answers the requests that were read, and writes once. Returns the bytes that the
    /// socket did not take.
    fn poll_exchange(
        &self,
        socket: &mut ClientSocket,
        connection: &mut FastConnection,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Vec<u8>>> {
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
        let (answered, next_step) = self.respond(input.filled(), responses, output);
        // An empty slice does not allocate, so a request that is read whole costs no allocation.
        connection.unanswered = input.filled()[answered..].to_vec();
        connection.next_step = next_step;
        if output.is_empty() {
            return Poll::Ready(Ok(Vec::new()));
        }

        socket.begin_response();
        let written = match Pin::new(socket).poll_write(cx, output) {
            Poll::Ready(result) => result?,
            Poll::Pending => 0,
        };
        Poll::Ready(Ok(output[written..].to_vec()))
    }

    /// Appends the responses to the requests in `input`. Returns the length of the answered
    /// requests and the next step.
    fn respond(
        &self,
        input: &[u8],
        responses: &mut ResponseCache,
        output: &mut Vec<u8>,
    ) -> (usize, FastPathStep) {
        let clock = self.context.clock;
        let started_at = clock.time_point();
        // A response waits for the first round, and one that closes its connection is written by
        // hyper. After a panic in rendering, hyper's path meets the same panic and answers 500.
        let is_enabled = has_request_line(input)
            && self.context.is_first_round_done()
            && !self.context.is_draining()
            // A large summary is rendered and compressed by background threads.
            && !self.context.cache.is_large()
            && catch_panic(|| {
                let rendering = self.context.cache.current_rendering(started_at.time);
                responses.set_basis(rendering, self.context.access.generation());
            })
            .is_ok();

        let mut answered = 0;
        while answered < input.len() {
            let rest = &input[answered..];
            let repeated = is_enabled.then(|| responses.find_by_head(rest)).flatten();
            let response = match repeated {
                Some(index) => responses.get(index),
                None => match parse_head(rest) {
                    ParseResult::Complete(length, fields)
                        if is_enabled && self.is_admitted(&fields) =>
                    {
                        let Some(index) = self.find_or_build(responses, &fields) else {
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
            output.extend_from_slice(&response.bytes);
            let duration = clock.elapsed_since(started_at);
            self.counters
                .record_response(self.route, response.status, duration);
            answered += response.head.len();
            if output.len() >= OUTPUT_LIMIT {
                return (answered, FastPathStep::Respond);
            }
        }
        (answered, FastPathStep::Read)
    }

    /// Whether hyper's path would admit the request.
    fn is_admitted(&self, fields: &RequestFields<'_>) -> bool {
        let context = &self.context;
        context.hosts.allows_host(fields.host)
            && context
                .access
                .authorize(SNAPSHOT_ACCESS, fields.authorization)
                .is_ok()
    }

    /// The index of the response to a request with these fields; built and cached if it is new.
    /// `None` if a value is not valid or building panics; hyper's path then answers.
    fn find_or_build(
        &self,
        responses: &mut ResponseCache,
        fields: &RequestFields<'_>,
    ) -> Option<usize> {
        if let Some(index) = responses.find_by_fields(fields) {
            return Some(index);
        }
        let headers = fields.to_header_map()?;
        let rendering = responses.rendering()?;
        let response = catch_panic(|| {
            let mut response = respond_with_rendering(rendering, &headers);
            let allowed_origin = self.context.cors.allowed_origin(&headers);
            self.context
                .cors
                .add_response_headers(allowed_origin, response.headers_mut());
            self.context.access.restrict_caching(response.headers_mut());
            response
        })
        .ok()?;
        Some(responses.insert(CachedResponse {
            head: Vec::new(),
            field_values: fields.as_array().map(|value| value.map(Box::from)),
            status: response.status(),
            bytes: encode_response(&response, self.context.clock.wall_time()),
        }))
    }
}
