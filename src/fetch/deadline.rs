//! The phases of an attempt and the one deadline over all of them.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use tokio::time::sleep_until;

use crate::domain::{Code, Failure};
use crate::process::Deadline;
use crate::text::format_duration;

/// What an attempt was doing when its deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchPhase {
    /// Looking up the host's name.
    Lookup,
    /// Connecting.
    Connect,
    /// Asking the proxy for a tunnel.
    Tunnel,
    /// Shaking hands over TLS.
    Tls,
    /// Sending the request and waiting for the end of the answer's headers.
    Head,
    /// Reading and decoding the answer's body.
    Body,
}

/// Bytes that have come, counted while they stream.
#[derive(Debug, Default)]
pub(crate) struct ByteCounter(AtomicU64);

/// Gives `work` until the deadline. When it passes, the failure tells `phase`, the limit and how many bytes had come.
pub(crate) async fn run_until_deadline<T>(
    deadline: Deadline,
    phase: FetchPhase,
    meter: &ByteCounter,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut work = pin!(work);
    let mut alarm = pin!(sleep_until(deadline.at));
    poll_fn(|cx| {
        if let Poll::Ready(ended) = work.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        // The alarm wakes who waits; who is kept busy, as by a flood, may never see it ring.
        let late = alarm.as_mut().poll(cx).is_ready() || deadline.has_passed();
        if late {
            Poll::Ready(Err(phase.timeout_failure(deadline, meter.bytes())))
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
    /// Counts `more` bytes.
    pub(crate) fn add_bytes(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// Counts from nothing again.
    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// How many bytes have come.
    pub(crate) fn bytes(&self) -> u64 {
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
            let meter = ByteCounter::default();
            meter.add_bytes(bytes);
            run_until_deadline(
                deadline,
                phase,
                &meter,
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
