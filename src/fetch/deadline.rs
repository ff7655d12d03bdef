//! Phases of a request, under one deadline.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use tokio::time::sleep_until;

use crate::domain::{Code, Failure};
use crate::process::Deadline;
use crate::text::format_duration;

/// Phase of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FetchPhase {
    /// Name lookup.
    Lookup,
    /// TCP connection.
    Connect,
    /// CONNECT request to the proxy.
    Tunnel,
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

/// Runs `work` until the deadline. After it, the failure states `phase`, the limit and the bytes of
/// `counter`.
pub(super) async fn run_until_deadline<T>(
    deadline: Deadline,
    phase: FetchPhase,
    counter: &ByteCounter,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut work = pin!(work);
    let mut timer = pin!(sleep_until(deadline.at));
    poll_fn(|cx| {
        if let Poll::Ready(ended) = work.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        // The timer alone does not fire while a flood of data keeps the task busy.
        let late = timer.as_mut().poll(cx).is_ready() || deadline.has_passed();
        if late {
            Poll::Ready(Err(phase.timeout_failure(deadline, counter.bytes())))
        } else {
            Poll::Pending
        }
    })
    .await
}

impl FetchPhase {
    fn timeout_failure(self, deadline: Deadline, bytes: u64) -> Failure {
        let so_far = if bytes == 0 {
            String::new()
        } else {
            format!(", {bytes} bytes so far")
        };
        let limit = format_duration(deadline.limit);
        Failure::new(
            self.timeout_code(),
            format!(
                "no answer within {limit} ({}{so_far})",
                self.describe_activity()
            ),
        )
    }

    fn timeout_code(self) -> Code {
        match self {
            Self::Lookup => Code::DnsFailed,
            Self::Connect | Self::Tunnel | Self::Tls => Code::ConnectTimeout,
            Self::Head | Self::Body => Code::Timeout,
        }
    }

    fn describe_activity(self) -> &'static str {
        match self {
            Self::Lookup => "looking up the name",
            Self::Connect => "connecting",
            Self::Tunnel => "waiting for the proxy's tunnel",
            Self::Tls => "in the TLS handshake",
            Self::Head => "waiting for headers",
            Self::Body => "reading the body",
        }
    }
}

impl ByteCounter {
    /// Adds `count` bytes.
    pub(super) fn add_bytes(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Sets the number to zero.
    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Returns the number of bytes received.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::process::Clock;

    #[tokio::test(start_paused = true)]
    async fn timeout_message_names_the_phase() {
        let late = async |phase, bytes| {
            let deadline = Clock::start().deadline(Duration::from_secs(1));
            let counter = ByteCounter::default();
            counter.add_bytes(bytes);
            run_until_deadline(
                deadline,
                phase,
                &counter,
                std::future::pending::<Result<(), _>>(),
            )
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
