//! How much of large bodies is evaluated together.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;

use super::error::ExtractError;
use super::extractor::MAX_INLINE_BYTES;
use crate::domain::Code;
use crate::process::Deadline;
use crate::text::format_duration;

/// Larger bodies than [`IN_PLACE`] are evaluated together up to this size, in bytes: as values they take up to fifty
/// times their text (`[{},{},…`), and sixty-four sources may have one each.
const REGULAR_BYTES: usize = 2 << 20;

/// The same for those who have waited for half their attempt: filters that hang must not keep everybody out.
const RESERVE_BYTES: usize = 4 << 20;

/// What is left of [`ROOM`] and of [`SPARE`].
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
    /// Takes room for a body of `bytes`; none if it needs none. Whoever waits for an evaluation holds its room, so none is
    /// lost with a thread.
    pub(crate) async fn acquire_permit(
        &self,
        bytes: usize,
        by: Deadline,
    ) -> Result<Option<SemaphorePermit<'_>>, ExtractError> {
        if bytes <= MAX_INLINE_BYTES {
            return Ok(None);
        }
        let wanted = bytes.min(REGULAR_BYTES) as u32;
        if let Ok(Ok(room)) =
            timeout_at(by.at - by.limit / 2, self.regular.acquire_many(wanted)).await
        {
            return Ok(Some(room));
        }
        match timeout_at(by.at, self.reserve.acquire_many(wanted)).await {
            Ok(Ok(room)) => Ok(Some(room)),
            _ => Err(budget_exhausted_error(by)),
        }
    }
}

fn budget_exhausted_error(by: Deadline) -> ExtractError {
    let (limit, room) = (
        format_duration(by.limit),
        (REGULAR_BYTES + RESERVE_BYTES) >> 20,
    );
    let what = format!(
        "no turn for the filter within the attempt's {limit}: other sources' large bodies take the {room} MiB that are \
         evaluated together; ask for less, or less often"
    );
    ExtractError::new(Code::ExtractTimeout, what)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::Redactor;
    use crate::process::Clock;

    #[tokio::test(start_paused = true)]
    async fn budget_limits_large_bodies() {
        let (room, clock) = (EvaluationBudget::default(), Clock::start());
        let by = clock.deadline(Duration::from_secs(8));
        let small = [
            room.acquire_permit(MAX_INLINE_BYTES, by).await,
            room.acquire_permit(1, by).await,
        ];
        assert!(small.into_iter().all(|taken| taken.unwrap().is_none()));
        let begun = clock.time_point();
        let first = room.acquire_permit(usize::MAX, by).await.unwrap();
        assert!(clock.elapsed_since(begun).is_zero());
        let spare = [
            room.acquire_permit(REGULAR_BYTES, by).await,
            room.acquire_permit(REGULAR_BYTES, by).await,
        ];
        assert_eq!(clock.elapsed_since(begun), Duration::from_secs(4));
        assert_eq!(
            room.acquire_permit(MAX_INLINE_BYTES + 1, by)
                .await
                .unwrap_err()
                .into_failure(&Redactor::default())
                .code,
            Code::ExtractTimeout
        );
        assert_eq!(clock.elapsed_since(begun), Duration::from_secs(8));
        drop(first);
        assert!(
            room.acquire_permit(REGULAR_BYTES, by)
                .await
                .unwrap()
                .is_some()
        );
        drop(spare);
    }
}
