//! Phases of a request, under one deadline.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use tokio::time::sleep_until;

use crate::domain::{Code, Failure};
use crate::process::Deadline;
use crate::text::{UnitStyle, format_duration};

/// Phase of a request. It determines the code of a deadline that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FetchPhase {
    /// Name lookup.
    Lookup,
    /// TCP connection, and tunnel through the proxy.
    Connect,
    /// TLS handshake.
    Tls,
    /// From the request to the end of the response headers.
    Head,
    /// Response body, including decoding.
    Body,
}

/// Number of bytes received so far.
#[derive(Debug, Default)]
pub(super) struct ByteCounter(AtomicU64);

/// Runs `work` until the deadline. After it, the error is the result of `late`. `work` is pinned by the caller: a future
/// that moves into another one takes its place in both.
pub(super) async fn run_until_deadline<T, E>(
    deadline: Deadline,
    late: impl FnOnce() -> E,
    mut work: Pin<&mut impl Future<Output = Result<T, E>>>,
) -> Result<T, E> {
    // `work` is polled first: a result that is ready at the deadline counts.
    let mut timer = pin!(sleep_until(deadline.at));
    let mut late = Some(late);
    poll_fn(|cx| {
        if let Poll::Ready(ended) = work.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        // The timer alone does not fire while a flood of data keeps the task busy.
        let is_late = timer.as_mut().poll(cx).is_ready() || deadline.has_passed();
        match late.take_if(|_| is_late) {
            Some(late) => Poll::Ready(Err(late())),
            None => Poll::Pending,
        }
    })
    .await
}

impl FetchPhase {
    /// Returns the phase with the discriminant `index`; [`FetchPhase::Connect`] for an invalid one.
    pub(super) fn from_index(index: u8) -> Self {
        let phases = [
            Self::Lookup,
            Self::Connect,
            Self::Tls,
            Self::Head,
            Self::Body,
        ];
        phases
            .get(usize::from(index))
            .copied()
            .unwrap_or(Self::Connect)
    }

    /// Returns the failure of a deadline that passed in this phase, after `bytes` of the response.
    pub(super) fn timeout_failure(
        self,
        deadline: Deadline,
        has_proxy: bool,
        bytes: u64,
    ) -> Failure {
        let so_far = match bytes {
            0 => String::new(),
            bytes => format!(", {bytes} bytes so far"),
        };
        let activity = match self {
            Self::Lookup => "looking up the name",
            Self::Connect if has_proxy => "connecting, or waiting for the proxy's tunnel",
            Self::Connect => "connecting",
            Self::Tls => "in the TLS handshake",
            Self::Head => "waiting for headers",
            Self::Body => "reading the body",
        };
        let code = match self {
            Self::Lookup => Code::DnsFailed,
            Self::Connect | Self::Tls => Code::ConnectTimeout,
            Self::Head | Self::Body => Code::Timeout,
        };
        timeout_failure(code, deadline, &format!("{activity}{so_far}"))
    }
}

/// Returns the failure of a deadline that passed during `activity`.
pub(super) fn timeout_failure(code: Code, deadline: Deadline, activity: &str) -> Failure {
    let limit = format_duration(deadline.limit, UnitStyle::Message);
    Failure::new(code, format!("no answer within {limit} ({activity})"))
}

impl ByteCounter {
    /// Adds `count` bytes.
    pub(super) fn add_bytes(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Returns the number of bytes received.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use super::*;
    use crate::process::Clock;

    #[tokio::test(start_paused = true)]
    async fn timeout_message_names_the_phase() {
        let late = async |phase: FetchPhase, bytes| {
            let deadline = Clock::start().deadline(Duration::from_secs(1));
            let late = || phase.timeout_failure(deadline, false, bytes);
            run_until_deadline(deadline, late, pin!(pending::<Result<(), Failure>>()))
                .await
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            late(FetchPhase::Lookup, 0).await,
            "no answer within 1 s (looking up the name) (dns_failed)"
        );
        assert_eq!(
            late(FetchPhase::Tls, 0).await,
            "no answer within 1 s (in the TLS handshake) (connect_timeout)"
        );
        assert_eq!(
            late(FetchPhase::Head, 0).await,
            "no answer within 1 s (waiting for headers) (timeout)"
        );
        assert_eq!(
            late(FetchPhase::Body, 512).await,
            "no answer within 1 s (reading the body, 512 bytes so far) (timeout)"
        );
    }
}
