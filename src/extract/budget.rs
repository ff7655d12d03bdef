//! Memory budget of concurrent evaluations.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;

use super::error::ExtractError;
use crate::domain::Code;
use crate::process::Deadline;
use crate::text::format_duration;

/// Maximum size of a body that needs no permit, in bytes. The identity filter runs on it inline:
/// the evaluation takes less time than starting a thread.
pub(super) const MAX_INLINE_BYTES: usize = 32 << 10;

/// Total size of the larger bodies that are evaluated concurrently, in bytes. A parsed body can
/// take 50 times its size (`[{},{},…`), and 64 sources can have one at the same time.
const REGULAR_BYTES: usize = 2 << 20;

/// Additional size for evaluations that have waited for half of their time limit, in bytes: filters
/// that do not end must not block all others.
const RESERVE_BYTES: usize = 4 << 20;

/// Remaining parts of [`REGULAR_BYTES`] and [`RESERVE_BYTES`]. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct EvaluationBudget {
    regular: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
}

impl Default for EvaluationBudget {
    fn default() -> Self {
        Self {
            regular: Arc::new(Semaphore::new(REGULAR_BYTES)),
            reserve: Arc::new(Semaphore::new(RESERVE_BYTES)),
        }
    }
}

impl EvaluationBudget {
    /// Waits for a permit for a body of `bytes` until the deadline; `None` if it needs no permit.
    /// The waiting request holds the permit, not the thread, so an abandoned evaluation does not
    /// keep it.
    pub(crate) async fn acquire_permit(
        &self,
        bytes: usize,
        deadline: Deadline,
    ) -> Result<Option<SemaphorePermit<'_>>, ExtractError> {
        if bytes <= MAX_INLINE_BYTES {
            return Ok(None);
        }
        let permits = bytes.min(REGULAR_BYTES) as u32;
        let half_time = deadline.at - deadline.limit / 2;
        if let Ok(Ok(permit)) = timeout_at(half_time, self.regular.acquire_many(permits)).await {
            return Ok(Some(permit));
        }
        match timeout_at(deadline.at, self.reserve.acquire_many(permits)).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            _ => Err(budget_exhausted_error(deadline)),
        }
    }
}

fn budget_exhausted_error(deadline: Deadline) -> ExtractError {
    let limit = format_duration(deadline.limit);
    let budget = (REGULAR_BYTES + RESERVE_BYTES) >> 20;
    let message = format!(
        "no turn for the filter within the attempt's {limit}: other sources' large bodies take the {budget} MiB that are \
         evaluated together; ask for less, or less often"
    );
    ExtractError::new(Code::ExtractTimeout, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::Redactor;
    use crate::process::Clock;

    #[tokio::test(start_paused = true)]
    async fn budget_limits_large_bodies() {
        let (budget, clock) = (EvaluationBudget::default(), Clock::start());
        let deadline = clock.deadline(Duration::from_secs(8));
        let small = [
            budget.acquire_permit(MAX_INLINE_BYTES, deadline).await,
            budget.acquire_permit(1, deadline).await,
        ];
        assert!(small.into_iter().all(|permit| permit.unwrap().is_none()));
        let start = clock.time_point();
        let first = budget.acquire_permit(usize::MAX, deadline).await.unwrap();
        assert!(clock.elapsed_since(start).is_zero());
        let reserve = [
            budget.acquire_permit(REGULAR_BYTES, deadline).await,
            budget.acquire_permit(REGULAR_BYTES, deadline).await,
        ];
        assert_eq!(clock.elapsed_since(start), Duration::from_secs(4));
        assert_eq!(
            budget
                .acquire_permit(MAX_INLINE_BYTES + 1, deadline)
                .await
                .unwrap_err()
                .into_failure(&Redactor::default())
                .code,
            Code::ExtractTimeout
        );
        assert_eq!(clock.elapsed_since(start), Duration::from_secs(8));
        drop(first);
        assert!(
            budget
                .acquire_permit(REGULAR_BYTES, deadline)
                .await
                .unwrap()
                .is_some()
        );
        drop(reserve);
    }
}
