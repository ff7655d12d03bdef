//! The short way of a plain request: from its bytes to the bytes of its answer, which were put together when the first
//! of its kind was answered from the same rendering. What is not plain goes on to the library, for the rest of its
//! connection.
//!
//! The answers are those of `representation`, header by header; only who writes them differs.

mod parse;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, HeaderName, IF_NONE_MATCH, ORIGIN};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use httpdate::fmt_http_date;
use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::domain::Time;
use crate::render::Rendering;

use self::parse::{MAX_HEAD_LENGTH, ParseResult, RequestFields, has_request_line, parse_head};
use super::panic::catch_panic;
use super::service::WorkerState;
use super::socket::ClientSocket;

/// Bytes that are read at once.
const INPUT_CAPACITY: usize = 2 * MAX_HEAD_LENGTH;

/// Once so many bytes are to be written, they are written before more is answered.
const OUTPUT_LIMIT: usize = 32 * 1024;

/// Kinds of answers that are kept at once.
const MAX_CACHED_RESPONSES: usize = 8;

/// The fields of a [`Wishes`], in its order.
const FIELD_NAMES: [HeaderName; 3] = [ACCEPT_ENCODING, IF_NONE_MATCH, ORIGIN];

/// What the connections of one thread take turns to use.
#[derive(Debug)]
pub(crate) struct SharedBuffers(Mutex<FastPathBuffers>);

#[derive(Debug)]
struct FastPathBuffers {
    input: Box<[u8]>,
    output: Vec<u8>,
    response_cache: ResponseCache,
}

/// One connection on its short way.
#[derive(Default)]
struct FastConnection {
    /// What was read and not answered.
    unconsumed: Vec<u8>,
    next_step: FastPathStep,
}

/// What a connection does next.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum FastPathStep {
    /// Reads.
    #[default]
    Read,
    /// Answers what it has read.
    Respond,
    /// Leaves the short way.
    HandOver,
    /// Ends: the client says no more.
    Close,
}

impl SharedBuffers {
    pub(crate) fn new() -> Self {
        let input = vec![0; INPUT_CAPACITY].into_boxed_slice();
        Self(Mutex::new(FastPathBuffers {
            input,
            output: Vec::with_capacity(OUTPUT_LIMIT),
            response_cache: ResponseCache::default(),
        }))
    }
}

/// Answers plain requests. Gives what was read beyond them, for the library, or nothing if the client has ended.
pub(crate) async fn serve_fast_path(
    hall: &WorkerState,
    io: &mut ClientSocket,
) -> io::Result<Option<Vec<u8>>> {
    let mut lane = FastConnection::default();
    loop {
        let unwritten = poll_fn(|cx| {
            let mut things = hall.fast_path.0.lock();
            things.poll_exchange(hall, io, &mut lane, cx)
        });
        let unwritten = unwritten.await?;
        if !unwritten.is_empty() {
            AsyncWriteExt::write_all(io, &unwritten).await?;
            io.flush().await?;
        }
        match lane.next_step {
            FastPathStep::HandOver => return Ok(Some(lane.unconsumed)),
            FastPathStep::Close => return Ok(None),
            FastPathStep::Read | FastPathStep::Respond => {}
        }
    }
}

impl FastPathBuffers {
    /// Reads, answers and writes once. Gives what the client did not take.
    fn poll_exchange(
        &mut self,
        hall: &WorkerState,
        io: &mut ClientSocket,
        lane: &mut FastConnection,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Vec<u8>>> {
        let mut input = ReadBuf::new(&mut self.input);
        input.put_slice(&lane.unconsumed);
        if lane.next_step == FastPathStep::Read {
            ready!(io.poll_fill(cx, &mut input))?;
            if input.filled().len() == lane.unconsumed.len() {
                lane.next_step = if lane.unconsumed.is_empty() {
                    FastPathStep::Close
                } else {
                    FastPathStep::HandOver
                };
                return Poll::Ready(Ok(Vec::new()));
            }
        }
        self.output.clear();
        lane.respond_to_input(
            input.filled(),
            hall,
            &mut self.response_cache,
            &mut self.output,
        );
        if self.output.is_empty() {
            return Poll::Ready(Ok(Vec::new()));
        }
        io.begin_response();
        let written = match Pin::new(io).poll_write(cx, &self.output) {
            Poll::Ready(result) => result?,
            Poll::Pending => 0,
        };
        Poll::Ready(Ok(self.output[written..].to_vec()))
    }
}

impl FastConnection {
    /// Answers what is plain in `input` and keeps the rest.
    fn respond_to_input(
        &mut self,
        input: &[u8],
        hall: &WorkerState,
        drawer: &mut ResponseCache,
        output: &mut Vec<u8>,
    ) {
        let mut at = 0;
        self.next_step = FastPathStep::Read;
        let began = hall.app_state.clock.time_point();
        // Where a bug of ours gives nothing, the library's way meets it again and answers.
        let mut fill = || {
            catch_panic(|| drawer.set_rendering(hall.app_state.cache.current_rendering(began.time)))
                .is_ok()
        };
        let express = hall.allows_fast_path() && has_request_line(input) && fill();
        while at < input.len() && self.next_step == FastPathStep::Read {
            match drawer.find_response(hall, &input[at..], express) {
                CacheLookup::Hit(length, answer) => {
                    output.extend_from_slice(&answer.bytes);
                    hall.count_resumen(answer.status, began);
                    at += length;
                    if output.len() >= OUTPUT_LIMIT {
                        self.next_step = FastPathStep::Respond;
                    }
                }
                CacheLookup::Incomplete => break,
                CacheLookup::Miss => self.next_step = FastPathStep::HandOver,
            }
        }
        self.unconsumed = input[at..].to_vec();
    }
}

/// Whole answers from one rendering, as they were asked for.
#[derive(Debug, Default)]
struct ResponseCache {
    rendering: Option<Arc<Rendering>>,
    responses: Vec<CachedResponse>,
    /// Which one gives way to the next when all places are taken.
    next_evicted: usize,
}

/// One whole answer, as it goes out.
#[derive(Debug)]
struct CachedResponse {
    /// The head of the request that was answered so last. Dashboards send the same one all day, and the same bytes mean
    /// the same.
    last_head: Vec<u8>,
    field_values: [Option<Box<[u8]>>; 3],
    status: StatusCode,
    bytes: Vec<u8>,
}

/// What there is to say to what was read.
enum CacheLookup<'a> {
    /// The answer to the first request, whose length this is.
    Hit(usize, &'a CachedResponse),
    /// Nothing yet: the first request is not whole.
    Incomplete,
    /// Nothing on this way.
    Miss,
}

impl ResponseCache {
    /// Answers are made from this from now on.
    fn set_rendering(&mut self, rendering: Arc<Rendering>) {
        if !self
            .rendering
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &rendering))
        {
            self.responses.clear();
            self.rendering = Some(rendering);
        }
    }

    /// What to say to the first request in `input`; if `express`, a plain one may be answered.
    fn find_response(
        &mut self,
        hall: &WorkerState,
        input: &[u8],
        express: bool,
    ) -> CacheLookup<'_> {
        let again = |answer: &CachedResponse| input.starts_with(&answer.last_head);
        if express && let Some(at) = self.responses.iter().position(again) {
            let answer = &self.responses[at];
            return CacheLookup::Hit(answer.last_head.len(), answer);
        }
        match parse_head(input) {
            ParseResult::Complete(length, wishes) if express => {
                match self.get_or_build(hall, &input[..length], &wishes) {
                    Some(answer) => CacheLookup::Hit(length, answer),
                    None => CacheLookup::Miss,
                }
            }
            ParseResult::Incomplete => CacheLookup::Incomplete,
            ParseResult::Complete(..) | ParseResult::Unsupported => CacheLookup::Miss,
        }
    }

    fn get_or_build(
        &mut self,
        hall: &WorkerState,
        head: &[u8],
        wishes: &RequestFields<'_>,
    ) -> Option<&CachedResponse> {
        let known = self
            .responses
            .iter()
            .position(|answer| answer.matches_fields(wishes));
        let at = known.or_else(|| self.build_and_insert(hall, wishes))?;
        let answer = self.responses.get_mut(at)?;
        answer.last_head.clear();
        answer.last_head.extend_from_slice(head);
        Some(answer)
    }

    fn build_and_insert(
        &mut self,
        hall: &WorkerState,
        wishes: &RequestFields<'_>,
    ) -> Option<usize> {
        let request = wishes.to_header_map()?;
        let rendering = self.rendering.as_deref()?;
        let response = catch_panic(|| hall.build_response(rendering, &request)).ok()?;
        let asked = wishes.as_array().map(|value| value.map(Box::from));
        let bytes = encode_response(&response, hall.app_state.clock.wall_time());
        let made = CachedResponse {
            last_head: Vec::new(),
            field_values: asked,
            status: response.status(),
            bytes,
        };
        if self.responses.len() < MAX_CACHED_RESPONSES {
            self.responses.push(made);
            return Some(self.responses.len() - 1);
        }
        let at = self.next_evicted % MAX_CACHED_RESPONSES;
        self.next_evicted = at + 1;
        self.responses[at] = made;
        Some(at)
    }
}

impl CachedResponse {
    fn matches_fields(&self, wishes: &RequestFields<'_>) -> bool {
        self.field_values
            .iter()
            .zip(wishes.as_array())
            .all(|(asked, wish)| asked.as_deref() == wish)
    }
}

impl<'a> RequestFields<'a> {
    fn as_array(&self) -> [Option<&'a [u8]>; 3] {
        [self.accept_encoding, self.if_none_match, self.origin]
    }

    /// As the library would have read them.
    fn to_header_map(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in FIELD_NAMES.into_iter().zip(self.as_array()) {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_bytes(value).ok()?);
            }
        }
        Some(headers)
    }
}

/// A whole response as the library writes it.
pub(crate) fn encode_response(response: &Response<Bytes>, date: Time) -> Vec<u8> {
    let status = response.status();
    let mut out = Vec::with_capacity(512 + response.body().len());
    let reason = status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
    for (name, value) in response.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    let date = UNIX_EPOCH + Duration::from_millis(date.as_millis().max(0).unsigned_abs());
    out.extend_from_slice(format!("date: {}\r\n\r\n", fmt_http_date(date)).as_bytes());
    out.extend_from_slice(response.body());
    out
}
