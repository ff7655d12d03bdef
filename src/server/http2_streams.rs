//! The responses in progress of an HTTP/2 connection.
//!
//! A client holds back a response by its flow control, while its socket takes other bytes. So each
//! response records since when a part of it waits for the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use super::coarse_clock::duration_between;

/// The responses in progress of a connection.
#[derive(Debug, Default)]
pub(super) struct Http2Streams(Mutex<Vec<Arc<ResponseProgress>>>);

/// What the client has not taken of one response.
#[derive(Debug, Default)]
pub(super) struct ResponseProgress {
    /// Parts that were handed to hyper and not written.
    pending_parts: AtomicUsize,
    /// When the latest part was handed over or written.
    since: AtomicU64,
}

impl Http2Streams {
    /// Whether no response is in progress.
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// For how long at `now` the response has waited for the client that has waited longest.
    pub(super) fn longest_wait(&self, now: u64) -> Option<Duration> {
        let responses = self.0.lock();
        let waiting = responses
            .iter()
            .filter(|response| response.pending_parts.load(Relaxed) > 0);
        waiting
            .map(|response| duration_between(response.since.load(Relaxed), now))
            .max()
    }

    /// Adds a response.
    pub(super) fn begin(&self) -> Arc<ResponseProgress> {
        let response = Arc::<ResponseProgress>::default();
        self.0.lock().push(Arc::clone(&response));
        response
    }

    /// Removes a response. Returns whether it was the last one.
    pub(super) fn end(&self, response: &Arc<ResponseProgress>) -> bool {
        let mut responses = self.0.lock();
        responses.retain(|known| !Arc::ptr_eq(known, response));
        responses.is_empty()
    }
}

impl ResponseProgress {
    /// Records that a part was handed to hyper at `now` on the coarse clock.
    pub(super) fn begin_part(&self, now: u64) {
        self.pending_parts.fetch_add(1, Relaxed);
        self.since.store(now, Relaxed);
    }

    /// Records that a part was written.
    pub(super) fn end_part(&self, now: u64) {
        self.pending_parts.fetch_sub(1, Relaxed);
        self.since.store(now, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_wait_is_that_of_pending_parts() {
        let streams = Http2Streams::default();
        let (first, second) = (streams.begin(), streams.begin());
        assert_eq!(streams.longest_wait(9000), None);
        first.begin_part(1000);
        second.begin_part(3000);
        assert_eq!(streams.longest_wait(9000), Some(Duration::from_secs(8)));
        first.end_part(4000);
        assert_eq!(streams.longest_wait(9000), Some(Duration::from_secs(6)));
        assert!(!streams.end(&second) && streams.end(&first));
        assert!(streams.is_empty() && streams.longest_wait(9000).is_none());
    }
}
