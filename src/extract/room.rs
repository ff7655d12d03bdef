//! How much of large bodies is evaluated together.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;

use super::complaint::Complaint;
use super::extractor::IN_PLACE;
use crate::clock::Deadline;
use crate::domain::{Code, spell};

/// Larger bodies than [`IN_PLACE`] are evaluated together up to this size, in bytes: as values they take up to fifty
/// times their text (`[{},{},…`), and sixty-four sources may have one each.
const ROOM: usize = 2 << 20;

/// The same for those who have waited for half their attempt: filters that hang must not keep everybody out.
const SPARE: usize = 4 << 20;

/// What is left of [`ROOM`] and of [`SPARE`].
#[derive(Debug, Clone)]
pub(super) struct Room {
    first: Arc<Semaphore>,
    spare: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            first: Arc::new(Semaphore::new(ROOM)),
            spare: Arc::new(Semaphore::new(SPARE)),
        }
    }
}

impl Room {
    /// Takes room for a body of `bytes`; none if it needs none. Whoever waits for an evaluation holds its room, so none is
    /// lost with a thread.
    pub(super) async fn take(
        &self,
        bytes: usize,
        by: Deadline,
    ) -> Result<Option<SemaphorePermit<'_>>, Complaint> {
        if bytes <= IN_PLACE {
            return Ok(None);
        }
        let wanted = bytes.min(ROOM) as u32;
        if let Ok(Ok(room)) =
            timeout_at(by.at - by.limit / 2, self.first.acquire_many(wanted)).await
        {
            return Ok(Some(room));
        }
        match timeout_at(by.at, self.spare.acquire_many(wanted)).await {
            Ok(Ok(room)) => Ok(Some(room)),
            _ => Err(no_room(by)),
        }
    }
}

fn no_room(by: Deadline) -> Complaint {
    let (limit, room) = (spell(by.limit), (ROOM + SPARE) >> 20);
    let what = format!(
        "no turn for the filter within the attempt's {limit}: other sources' large bodies take the {room} MiB that are \
         evaluated together; ask for less, or less often"
    );
    Complaint::new(Code::ExtractTimeout, what)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::domain::Veil;

    #[tokio::test(start_paused = true)]
    async fn large_bodies_share_room_that_has_an_end_and_small_ones_need_none() {
        let (room, clock) = (Room::default(), Clock::start());
        let by = clock.deadline(Duration::from_secs(8));
        let small = [room.take(IN_PLACE, by).await, room.take(1, by).await];
        assert!(small.into_iter().all(|taken| taken.unwrap().is_none()));
        let begun = clock.mark();
        let first = room.take(usize::MAX, by).await.unwrap();
        assert!(clock.since(begun).is_zero());
        let spare = [room.take(ROOM, by).await, room.take(ROOM, by).await];
        assert_eq!(clock.since(begun), Duration::from_secs(4));
        assert_eq!(
            room.take(IN_PLACE + 1, by)
                .await
                .unwrap_err()
                .into_failure(&Veil::default())
                .code,
            Code::ExtractTimeout
        );
        assert_eq!(clock.since(begun), Duration::from_secs(8));
        drop(first);
        assert!(room.take(ROOM, by).await.unwrap().is_some());
        drop(spare);
    }
}
