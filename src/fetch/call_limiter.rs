//! Limit of concurrent calls to one host and port.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::fetch_trait::CallPriority;

/// Default of `max_per_host`.
pub const DEFAULT_MAX_PER_HOST: usize = 6;

/// The calls to one host and port. An urgent call gets its permit before the others; otherwise the
/// order is first in, first out.
pub(super) struct CallLimiter {
    /// `max_per_host`; shared with the configuration, which may change.
    limit: Arc<AtomicUsize>,
    state: Mutex<LimiterState>,
}

#[derive(Default)]
struct LimiterState {
    running: usize,
    /// Whether the limit is lifted, because the server limits concurrent streams itself.
    is_http2: bool,
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    priority: CallPriority,
    permit: oneshot::Sender<CallPermit>,
}

/// Permit of one call, returned on drop.
pub(super) struct CallPermit(Arc<CallLimiter>);

impl CallLimiter {
    pub(super) fn new(limit: Arc<AtomicUsize>) -> Arc<Self> {
        Arc::new(Self {
            limit,
            state: Mutex::default(),
        })
    }

    /// Waits until one more call may run.
    pub(super) async fn acquire(self: &Arc<Self>, priority: &CallPriority) -> CallPermit {
        let (permit, granted) = oneshot::channel();
        self.state.lock().waiting.push_back(Waiter {
            priority: priority.clone(),
            permit,
        });
        self.grant_permits();
        match granted.await {
            Ok(permit) => permit,
            // The queue holds the sender until it sends, and the queue lives as long as `self`.
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns the maximum number of concurrent calls.
    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed).max(1)
    }

    /// Sets the protocol of the newest connection.
    pub(super) fn set_http2(self: &Arc<Self>, is_http2: bool) {
        self.state.lock().is_http2 = is_http2;
        self.grant_permits();
    }

    fn grant_permits(self: &Arc<Self>) {
        let mut granted = Vec::new();
        let mut state = self.state.lock();
        // The limit may have been lowered by a reload: calls above it run to their end.
        while state.is_http2 || state.running < self.limit() {
            let Some(waiter) = state.next_waiter() else {
                break;
            };
            state.running += 1;
            granted.push(waiter.permit);
        }
        // Dropping the permit of a cancelled waiter takes the lock again.
        drop(state);
        for waiter in granted {
            // A waiter whose deadline passed has no receiver: the permit comes back as the error
            // and is returned by its drop.
            let _ = waiter.send(CallPermit(Arc::clone(self)));
        }
    }
}

impl LimiterState {
    fn next_waiter(&mut self) -> Option<Waiter> {
        // Read now, not at the start of the wait: a call becomes urgent while it is queued.
        let urgent = self
            .waiting
            .iter()
            .position(|waiter| waiter.priority.is_urgent());
        self.waiting.remove(urgent.unwrap_or(0))
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        // A statement of its own, so that the lock is free before `grant_permits` takes it.
        self.0.state.lock().running -= 1;
        self.0.grant_permits();
    }
}

#[cfg(test)]
mod tests {
    use futures_test::poll_once;

    use super::*;

    /// Polls a future once, without a runtime.
    mod futures_test {
        use std::pin::Pin;
        use std::task::{Context, Poll, Waker};

        pub(super) fn poll_once<F: Future>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
            match future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            {
                Poll::Ready(output) => Some(output),
                Poll::Pending => None,
            }
        }
    }

    fn limiter(limit: usize) -> Arc<CallLimiter> {
        CallLimiter::new(Arc::new(AtomicUsize::new(limit)))
    }

    #[test]
    fn urgent_call_goes_first() {
        let limiter = limiter(1);
        let priorities: Vec<CallPriority> = (0..3).map(|_| CallPriority::default()).collect();
        let mut calls: Vec<_> = priorities
            .iter()
            .map(|priority| Box::pin(limiter.acquire(priority)))
            .collect();
        let first = poll_once(&mut calls[0]).expect("the first call runs");
        assert!(poll_once(&mut calls[1]).is_none() && poll_once(&mut calls[2]).is_none());
        priorities[2].mark_urgent();
        drop(first);
        assert!(poll_once(&mut calls[1]).is_none());
        let third = poll_once(&mut calls[2]).expect("the urgent call runs");
        drop(third);
        assert!(poll_once(&mut calls[1]).is_some());
    }

    #[test]
    fn abandoned_call_frees_its_place() {
        let limiter = limiter(1);
        let priority = CallPriority::default();
        let mut calls: Vec<_> = (0..3)
            .map(|_| Box::pin(limiter.acquire(&priority)))
            .collect();
        let first = poll_once(&mut calls[0]).expect("the first call runs");
        assert!(poll_once(&mut calls[1]).is_none() && poll_once(&mut calls[2]).is_none());
        drop(first);
        // It has its permit but was not polled since.
        drop(calls.remove(1));
        assert!(poll_once(&mut calls[1]).is_some());
        assert_eq!(limiter.state.lock().running, 0);
    }

    #[test]
    fn http2_lifts_the_limit() {
        let limiter = limiter(1);
        let priority = CallPriority::default();
        let mut calls: Vec<_> = (0..4)
            .map(|_| Box::pin(limiter.acquire(&priority)))
            .collect();
        let _first = poll_once(&mut calls[0]);
        assert!(calls[1..].iter_mut().all(|call| poll_once(call).is_none()));
        limiter.set_http2(true);
        let running: Vec<_> = calls[1..].iter_mut().filter_map(poll_once).collect();
        assert_eq!(running.len(), 3);
    }
}
