//! The short way of a plain request: from its bytes to the bytes of its answer, which were put together when the first
//! of its kind was answered from the same rendering. What is not plain goes on to the library, for the rest of its
//! connection.
//!
//! The answers are those of `representation`, header by header; only who writes them differs.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, HeaderName, IF_NONE_MATCH, ORIGIN};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use httpdate::fmt_http_date;
use tokio::io::{AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::domain::Time;
use crate::fetch::Fetch;
use crate::render::Rendering;

use super::front::Hall;
use super::io::Io;
use super::plain::{LONGEST, Sight, Wishes, begins, look};
use super::rescue::rescued;

/// Bytes that are read at once.
const INPUT: usize = 2 * LONGEST;

/// Once so many bytes are to be written, they are written before more is answered.
const OUTPUT: usize = 32 * 1024;

/// Kinds of answers that are kept at once.
const KINDS: usize = 8;

/// The fields of a [`Wishes`], in its order.
const NAMES: [HeaderName; 3] = [ACCEPT_ENCODING, IF_NONE_MATCH, ORIGIN];

/// What the connections of one thread take turns to use.
#[derive(Debug)]
pub(super) struct Desk(Mutex<Things>);

#[derive(Debug)]
struct Things {
    input: Box<[u8]>,
    output: Vec<u8>,
    drawer: Drawer,
}

/// One connection on its short way.
#[derive(Default)]
struct Lane {
    /// What was read and not answered.
    kept: Vec<u8>,
    next: Next,
}

/// What a connection does next.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Reads.
    #[default]
    Read,
    /// Answers what it has read.
    Answer,
    /// Leaves the short way.
    Leave,
    /// Ends: the client says no more.
    End,
}

impl Desk {
    pub(super) fn new() -> Self {
        let input = vec![0; INPUT].into_boxed_slice();
        Self(Mutex::new(Things {
            input,
            output: Vec::with_capacity(OUTPUT),
            drawer: Drawer::default(),
        }))
    }
}

/// Answers plain requests. Gives what was read beyond them, for the library, or nothing if the client has ended.
pub(super) async fn serve<F: Fetch>(hall: &Hall<F>, io: &mut Io) -> io::Result<Option<Vec<u8>>> {
    let mut lane = Lane::default();
    loop {
        let unwritten = poll_fn(|cx| {
            let mut things = hall.desk.0.lock().unwrap_or_else(PoisonError::into_inner);
            things.turn(hall, io, &mut lane, cx)
        });
        let unwritten = unwritten.await?;
        if !unwritten.is_empty() {
            AsyncWriteExt::write_all(io, &unwritten).await?;
            io.flush().await?;
        }
        match lane.next {
            Next::Leave => return Ok(Some(lane.kept)),
            Next::End => return Ok(None),
            Next::Read | Next::Answer => {}
        }
    }
}

impl Things {
    /// Reads, answers and writes once. Gives what the client did not take.
    fn turn<F: Fetch>(
        &mut self,
        hall: &Hall<F>,
        io: &mut Io,
        lane: &mut Lane,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Vec<u8>>> {
        let mut input = ReadBuf::new(&mut self.input);
        input.put_slice(&lane.kept);
        if lane.next == Next::Read {
            ready!(io.poll_fill(cx, &mut input))?;
            if input.filled().len() == lane.kept.len() {
                lane.next = if lane.kept.is_empty() {
                    Next::End
                } else {
                    Next::Leave
                };
                return Poll::Ready(Ok(Vec::new()));
            }
        }
        self.output.clear();
        lane.take(input.filled(), hall, &mut self.drawer, &mut self.output);
        if self.output.is_empty() {
            return Poll::Ready(Ok(Vec::new()));
        }
        io.answering();
        let written = match Pin::new(io).poll_write(cx, &self.output) {
            Poll::Ready(result) => result?,
            Poll::Pending => 0,
        };
        Poll::Ready(Ok(self.output[written..].to_vec()))
    }
}

impl Lane {
    /// Answers what is plain in `input` and keeps the rest.
    fn take<F: Fetch>(
        &mut self,
        input: &[u8],
        hall: &Hall<F>,
        drawer: &mut Drawer,
        output: &mut Vec<u8>,
    ) {
        let mut at = 0;
        self.next = Next::Read;
        let began = hall.site.clock.mark();
        // Where a bug of ours gives nothing, the library's way meets it again and answers.
        let mut fill = || rescued(|| drawer.refill(hall.site.cache.current(began.time))).is_ok();
        let express = hall.is_express() && begins(input) && fill();
        while at < input.len() && self.next == Next::Read {
            match drawer.find(hall, &input[at..], express) {
                Found::Answer(length, answer) => {
                    output.extend_from_slice(&answer.bytes);
                    hall.count_resumen(answer.status, began);
                    at += length;
                    if output.len() >= OUTPUT {
                        self.next = Next::Answer;
                    }
                }
                Found::Partial => break,
                Found::Nothing => self.next = Next::Leave,
            }
        }
        self.kept = input[at..].to_vec();
    }
}

/// Whole answers from one rendering, as they were asked for.
#[derive(Debug, Default)]
struct Drawer {
    rendering: Option<Arc<Rendering>>,
    answers: Vec<Answer>,
    /// Which one gives way to the next when all places are taken.
    oldest: usize,
}

/// One whole answer, as it goes out.
#[derive(Debug)]
struct Answer {
    /// The head of the request that was answered so last. Dashboards send the same one all day, and the same bytes mean
    /// the same.
    head: Vec<u8>,
    asked: [Option<Box<[u8]>>; 3],
    status: StatusCode,
    bytes: Vec<u8>,
}

/// What there is to say to what was read.
enum Found<'a> {
    /// The answer to the first request, whose length this is.
    Answer(usize, &'a Answer),
    /// Nothing yet: the first request is not whole.
    Partial,
    /// Nothing on this way.
    Nothing,
}

impl Drawer {
    /// Answers are made from this from now on.
    fn refill(&mut self, rendering: Arc<Rendering>) {
        if !self
            .rendering
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &rendering))
        {
            self.answers.clear();
            self.rendering = Some(rendering);
        }
    }

    /// What to say to the first request in `input`; if `express`, a plain one may be answered.
    fn find<F: Fetch>(&mut self, hall: &Hall<F>, input: &[u8], express: bool) -> Found<'_> {
        let again = |answer: &Answer| input.starts_with(&answer.head);
        if express && let Some(at) = self.answers.iter().position(again) {
            let answer = &self.answers[at];
            return Found::Answer(answer.head.len(), answer);
        }
        match look(input) {
            Sight::Plain(length, wishes) if express => {
                match self.answer(hall, &input[..length], &wishes) {
                    Some(answer) => Found::Answer(length, answer),
                    None => Found::Nothing,
                }
            }
            Sight::Partial => Found::Partial,
            Sight::Plain(..) | Sight::Other => Found::Nothing,
        }
    }

    fn answer<F: Fetch>(
        &mut self,
        hall: &Hall<F>,
        head: &[u8],
        wishes: &Wishes<'_>,
    ) -> Option<&Answer> {
        let known = self.answers.iter().position(|answer| answer.is_for(wishes));
        let at = known.or_else(|| self.make(hall, wishes))?;
        let answer = self.answers.get_mut(at)?;
        answer.head.clear();
        answer.head.extend_from_slice(head);
        Some(answer)
    }

    fn make<F: Fetch>(&mut self, hall: &Hall<F>, wishes: &Wishes<'_>) -> Option<usize> {
        let request = wishes.headers()?;
        let rendering = self.rendering.as_deref()?;
        let response = rescued(|| hall.respond(rendering, &request)).ok()?;
        let asked = wishes.fields().map(|value| value.map(Box::from));
        let bytes = written(&response, hall.site.clock.wall());
        let made = Answer {
            head: Vec::new(),
            asked,
            status: response.status(),
            bytes,
        };
        if self.answers.len() < KINDS {
            self.answers.push(made);
            return Some(self.answers.len() - 1);
        }
        let at = self.oldest % KINDS;
        self.oldest = at + 1;
        self.answers[at] = made;
        Some(at)
    }
}

impl Answer {
    fn is_for(&self, wishes: &Wishes<'_>) -> bool {
        self.asked
            .iter()
            .zip(wishes.fields())
            .all(|(asked, wish)| asked.as_deref() == wish)
    }
}

impl<'a> Wishes<'a> {
    fn fields(&self) -> [Option<&'a [u8]>; 3] {
        [self.encoding, self.none_match, self.origin]
    }

    /// As the library would have read them.
    fn headers(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in NAMES.into_iter().zip(self.fields()) {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_bytes(value).ok()?);
            }
        }
        Some(headers)
    }
}

/// A whole response as the library writes it.
pub(super) fn written(response: &Response<Bytes>, date: Time) -> Vec<u8> {
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
