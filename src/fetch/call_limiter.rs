//! Limit of concurrent calls to one host and port.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::fetch_trait::CallPriority;

/// The calls to one host and port. An urgent call gets its permit before the others; otherwise the
/// order is first in, first out. Calls that share an HTTP/2 connection are not limited, because the
/// server limits its concurrent streams itself.
pub(super) struct CallLimiter {
    /// `max_per_host`; shared with the configuration, which may change.
    limit: Arc<AtomicUsize>,
    state: Mutex<LimiterState>,
}

#[derive(Default)]
struct LimiterState {
    /// Number of limited calls that run.
    running: usize,
    /// Protocol of the newest connection over TLS; `None` before the first one.
    protocol: Option<Protocol>,
    waiting: VecDeque<Waiter>,
}

/// Protocol that TLS negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// One call at a time on a connection.
    Http1,
    /// Concurrent calls on one connection.
    Http2,
}

struct Waiter {
    priority: CallPriority,
    /// Whether the call may use a connection together with others.
    may_share: bool,
    permit: oneshot::Sender<CallPermit>,
}

/// Permit of one call, returned on drop.
pub(super) struct CallPermit {
    limiter: Arc<CallLimiter>,
    is_limited: bool,
}

impl CallLimiter {
    pub(super) fn new(limit: Arc<AtomicUsize>) -> Arc<Self> {
        Arc::new(Self {
            limit,
            state: Mutex::default(),
        })
    }

    /// Waits until one more call may run. `may_share`: it may use an HTTP/2 connection together with
    /// others.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        priority: &CallPriority,
        may_share: bool,
    ) -> CallPermit {
        let granted = {
            let mut state = self.state.lock();
            let is_limited = state.is_limited(may_share);
            if state.waiting.is_empty() && state.may_run(may_share, self.limit()) {
                state.running += usize::from(is_limited);
                return self.permit(is_limited);
            }
            let (permit, granted) = oneshot::channel();
            state.waiting.push_back(Waiter {
                priority: priority.clone(),
                may_share,
                permit,
            });
            granted
        };
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

    /// Returns the protocol of the newest connection over TLS; `None` before the first one.
    pub(super) fn protocol(&self) -> Option<Protocol> {
        self.state.lock().protocol
    }

    /// Sets the protocol of the newest connection over TLS.
    pub(super) fn set_protocol(self: &Arc<Self>, protocol: Protocol) {
        self.state.lock().protocol = Some(protocol);
        self.grant_permits();
    }

    fn grant_permits(self: &Arc<Self>) {
        let mut granted = Vec::new();
        let mut state = self.state.lock();
        // The limit may have been lowered by a reload: calls above it run to their end.
        while let Some((waiter, is_limited)) = state.next_waiter(self.limit()) {
            state.running += usize::from(is_limited);
            granted.push((waiter.permit, self.permit(is_limited)));
        }
        // Dropping the permit of a cancelled waiter takes the lock again.
        drop(state);
        for (waiter, permit) in granted {
            // A waiter whose deadline passed has no receiver: the permit comes back as the error
            // and is returned by its drop.
            let _ = waiter.send(permit);
        }
    }

    fn permit(self: &Arc<Self>, is_limited: bool) -> CallPermit {
        CallPermit {
            limiter: Arc::clone(self),
            is_limited,
        }
    }
}

impl LimiterState {
    /// Returns whether a call counts for the limit.
    fn is_limited(&self, may_share: bool) -> bool {
        !(may_share && self.protocol == Some(Protocol::Http2))
    }

    /// Returns whether one more call may run.
    fn may_run(&self, may_share: bool, limit: usize) -> bool {
        self.running < limit || !self.is_limited(may_share)
    }

    /// Removes and returns the next call that may run, and whether it counts for the limit.
    fn next_waiter(&mut self, limit: usize) -> Option<(Waiter, bool)> {
        let may_run = |waiter: &Waiter| self.may_run(waiter.may_share, limit);
        // Read now, not at the start of the wait: a call becomes urgent while it is queued.
        let urgent = |waiter: &Waiter| waiter.priority.is_urgent() && may_run(waiter);
        let next = self.waiting.iter().position(urgent);
        let next = next.or_else(|| self.waiting.iter().position(may_run))?;
        let waiter = self.waiting.remove(next)?;
        let is_limited = self.is_limited(waiter.may_share);
        Some((waiter, is_limited))
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        // A statement of its own, so that the lock is free before `grant_permits` takes it.
        self.limiter.state.lock().running -= usize::from(self.is_limited);
        self.limiter.grant_permits();
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
            .map(|priority| Box::pin(limiter.acquire(priority, true)))
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
            .map(|_| Box::pin(limiter.acquire(&priority, true)))
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
        let mut calls: Vec<_> = [true, false, true, true]
            .map(|may_share| Box::pin(limiter.acquire(&priority, may_share)))
            .into();
        let first = poll_once(&mut calls[0]);
        assert!(calls[1..].iter_mut().all(|call| poll_once(call).is_none()));
        limiter.set_protocol(Protocol::Http2);
        let running: Vec<_> = calls[1..].iter_mut().filter_map(poll_once).collect();
        assert_eq!(running.len(), 2);
        // A call with a connection of its own stays limited.
        drop(first);
        assert!(poll_once(&mut calls[1]).is_some());
    }
}
