//! The phases of an attempt and its one deadline.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use tokio::time::sleep_until;

use crate::domain::{Code, Failure};
use crate::process::Deadline;
use crate::text::format_duration;

/// What an attempt is doing. The code of a passed deadline depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FetchPhase {
    /// Looks up the host's name.
    Lookup,
    /// Opens a TCP connection, and a tunnel through the proxy.
    Connect,
    /// Negotiates TLS.
    Tls,
    /// Sends the request and waits for the end of the answer's head.
    Head,
    /// Reads and decodes the answer's body.
    Body,
}

/// Counts bytes while they come.
#[derive(Debug, Default)]
pub(crate) struct ByteCounter(AtomicU64);

/// Runs `work` until it ends or the deadline passes; then the error is that of `late`.
pub(crate) async fn run_until_deadline<T, E>(
    deadline: Deadline,
    late: impl FnOnce() -> E,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut work = pin!(work);
    let mut timer = pin!(sleep_until(deadline.at));
    let mut late = Some(late);
    poll_fn(|cx| {
        if let Poll::Ready(ended) = work.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        // The timer wakes a task that waits. A task that is busy with a flood may not see it fire.
        let is_late = timer.as_mut().poll(cx).is_ready() || deadline.has_passed();
        match late.take_if(|_| is_late) {
            Some(late) => Poll::Ready(Err(late())),
            None => Poll::Pending,
        }
    })
    .await
}

impl FetchPhase {
    /// The phase whose number is `index`; the first one for a number of none.
    pub(crate) fn from_index(index: u8) -> Self {
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

    /// The failure of a deadline that passed in this phase, after `bytes` of the answer.
    pub(crate) fn timeout_failure(
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

/// The failure of a deadline that passed during `activity`.
pub(crate) fn timeout_failure(code: Code, deadline: Deadline, activity: &str) -> Failure {
    let limit = format_duration(deadline.limit);
    Failure::new(code, format!("no answer within {limit} ({activity})"))
}

impl ByteCounter {
    /// Counts `more` bytes.
    pub(crate) fn add_bytes(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// How many bytes have come.
    pub(crate) fn bytes(&self) -> u64 {
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
            run_until_deadline(deadline, late, pending::<Result<(), Failure>>())
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
