//! Computations in progress, at most one for each source.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use crate::domain::Name;

/// Maximum number of computations in progress, so that one slow filter delays no other source.
const MAX_CONCURRENT: usize = 8;

/// The computations in progress of one task.
#[derive(Default)]
pub(super) struct RunningComputations<'d>(Vec<RunningComputation<'d>>);

/// A computation in progress.
struct RunningComputation<'d> {
    source: Name,
    future: Pin<Box<dyn Future<Output = ()> + Send + 'd>>,
}

impl<'d> RunningComputations<'d> {
    /// Whether a computation for this source can be started now.
    pub(super) fn accepts(&self, source: &Name) -> bool {
        let is_running = self.0.iter().any(|running| running.source == *source);
        !is_running && self.0.len() < MAX_CONCURRENT
    }

    /// Adds a computation. It runs while [`Self::wait_first_finished`] is polled.
    pub(super) fn push(&mut self, source: Name, future: impl Future<Output = ()> + Send + 'd) {
        self.0.push(RunningComputation {
            source,
            future: Box::pin(future),
        });
    }

    /// Waits for the first computation that finishes, and removes it. Never ends if there is none.
    pub(super) async fn wait_first_finished(&mut self) {
        poll_fn(|cx| {
            let finished = self
                .0
                .iter_mut()
                .position(|computation| computation.future.as_mut().poll(cx).is_ready());
            match finished {
                Some(index) => {
                    self.0.remove(index);
                    Poll::Ready(())
                }
                None => Poll::Pending,
            }
        })
        .await;
    }
}
