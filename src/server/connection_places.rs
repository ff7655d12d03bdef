//! The places of a listener's connections: the connection limit, and a reserve beyond it for health
//! checks.
//!
//! A connection beyond the limit is accepted in the reserve. It gets an answer about the health of the
//! service, for which no limit of clients applies, and is closed. Any other request waits for a
//! regular place, which the eviction of clients that stall makes free, or is answered 503 `busy`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::metrics::ThreadCounters;

use super::client_limit::ClientPermit;
use super::route_access::ListenerScope;

/// Bounds of the number of reserved places. Between them it is an eighth of the connections for which
/// there are descriptors.
const MIN_RESERVE: usize = 4;
const MAX_RESERVE: usize = 128;

/// How long a request in the reserve waits for a regular place.
const MAX_PLACE_WAIT: Duration = Duration::from_millis(1500);

/// Time between two requests for eviction while a connection waits for a regular place.
const EVICTION_INTERVAL: Duration = Duration::from_millis(10);

/// The places of one listener.
pub(super) struct ConnectionPlaces {
    scope: ListenerScope,
    regular: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    /// Requests in the reserve that may wait for a regular place: half of it, so that the other half
    /// is left for health checks.
    waiting: Semaphore,
    max_waiting: usize,
    /// Notified when a connection waits for a regular place.
    pub(super) eviction_needed: Notify,
}

/// A place, which is free again when the value is dropped.
pub(super) struct ConnectionPlace {
    _permit: OwnedSemaphorePermit,
    places: Arc<ConnectionPlaces>,
    is_reserved: bool,
}

/// Counts one connection in its worker's counters and for its client, and occupies its place, until
/// it is dropped.
pub(super) struct ConnectionPermit {
    counters: Arc<ThreadCounters>,
    place: Mutex<ConnectionPlace>,
    _client: ClientPermit,
}

impl ConnectionPlaces {
    /// Places of these numbers.
    pub(super) fn new(scope: ListenerScope, regular: usize, reserve: usize) -> Arc<Self> {
        Arc::new(Self {
            scope,
            regular: Arc::new(Semaphore::new(regular)),
            reserve: Arc::new(Semaphore::new(reserve)),
            waiting: Semaphore::new(reserve / 2),
            max_waiting: reserve / 2,
            eviction_needed: Notify::new(),
        })
    }

    /// A regular place, if one is free.
    pub(super) fn take_regular(self: &Arc<Self>) -> Option<ConnectionPlace> {
        let permit = Arc::clone(&self.regular).try_acquire_owned().ok()?;
        Some(self.place(permit, false))
    }

    /// A reserved place, if one is free.
    pub(super) fn take_reserved(self: &Arc<Self>) -> Option<ConnectionPlace> {
        let permit = Arc::clone(&self.reserve).try_acquire_owned().ok()?;
        Some(self.place(permit, true))
    }

    /// Number of requests in the reserve that wait for a regular place.
    pub(super) fn waiting_count(&self) -> usize {
        self.max_waiting - self.waiting.available_permits()
    }

    /// Whether one more request in the reserve may wait for a regular place.
    pub(super) fn may_wait(&self) -> bool {
        self.waiting.available_permits() > 0
    }

    /// Waits for a place of either kind.
    pub(super) async fn wait_for_place(self: &Arc<Self>) -> Option<ConnectionPlace> {
        let (regular, reserve) = (Arc::clone(&self.regular), Arc::clone(&self.reserve));
        tokio::select! {
            biased;
            permit = regular.acquire_owned() => permit.ok().map(|permit| self.place(permit, false)),
            permit = reserve.acquire_owned() => permit.ok().map(|permit| self.place(permit, true)),
        }
    }

    fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit, is_reserved: bool) -> ConnectionPlace {
        ConnectionPlace {
            _permit: permit,
            places: Arc::clone(self),
            is_reserved,
        }
    }

    /// Waits at most [`MAX_PLACE_WAIT`] for a regular place. `None` at once if too many wait.
    async fn wait_for_regular(self: &Arc<Self>) -> Option<ConnectionPlace> {
        let _waiting = self.waiting.try_acquire().ok()?;
        let place = async {
            loop {
                self.eviction_needed.notify_one();
                let permit = Arc::clone(&self.regular).acquire_owned();
                if let Ok(permit) = timeout(EVICTION_INTERVAL, permit).await {
                    return permit.ok().map(|permit| self.place(permit, false));
                }
            }
        };
        timeout(MAX_PLACE_WAIT, place).await.ok().flatten()
    }
}

/// The number of reserved places where descriptors allow `available` connections in total.
pub(super) fn reserve_of(available: usize) -> usize {
    (available / 8).clamp(MIN_RESERVE, MAX_RESERVE)
}

impl ConnectionPermit {
    /// Counts a connection in `counters`.
    pub(super) fn new(
        counters: Arc<ThreadCounters>,
        place: ConnectionPlace,
        client: ClientPermit,
    ) -> Self {
        counters.open_connections.fetch_add(1, Relaxed);
        Self {
            counters,
            place: Mutex::new(place),
            _client: client,
        }
    }

    /// Whether the connection is in the reserve.
    pub(super) fn is_reserved(&self) -> bool {
        self.place.lock().is_reserved
    }

    /// Which routes the connection's listener answers.
    pub(super) fn scope(&self) -> ListenerScope {
        self.place.lock().places.scope
    }

    /// Moves a connection of the reserve to a regular place. Returns whether it has one then.
    pub(super) async fn move_to_regular(&self) -> bool {
        if !self.is_reserved() {
            return true;
        }
        let places = Arc::clone(&self.place.lock().places);
        let Some(place) = places.wait_for_regular().await else {
            return false;
        };
        *self.place.lock() = place;
        true
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.counters.open_connections.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::metrics::RequestMetrics;

    fn reserved_permit(places: &Arc<ConnectionPlaces>) -> ConnectionPermit {
        let counters = RequestMetrics::register(&mut Registry::default(), &[]).register_thread();
        let place = places.take_reserved().unwrap();
        ConnectionPermit::new(counters, place, ClientPermit::default())
    }

    #[tokio::test(start_paused = true)]
    async fn reserved_connection_moves_when_place_is_free() {
        let places = ConnectionPlaces::new(ListenerScope::Everything, 1, 4);
        let regular = places.take_regular();
        assert!(regular.is_some() && places.take_regular().is_none());
        let permit = reserved_permit(&places);
        assert!(!permit.move_to_regular().await, "no place becomes free");
        assert!(permit.is_reserved());
        let moved = tokio::join!(permit.move_to_regular(), async {
            places.eviction_needed.notified().await;
            drop(regular);
        });
        assert!(moved.0 && !permit.is_reserved());
        assert_eq!(places.reserve.available_permits(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_reserve_may_wait() {
        let places = ConnectionPlaces::new(ListenerScope::Everything, 0, 4);
        let permits: Vec<_> = (0..4).map(|_| reserved_permit(&places)).collect();
        let waiting =
            async { tokio::join!(permits[0].move_to_regular(), permits[1].move_to_regular()) };
        let third = async {
            tokio::task::yield_now().await;
            timeout(Duration::ZERO, permits[2].move_to_regular()).await
        };
        let (_, third) = tokio::join!(waiting, third);
        assert_eq!(third.ok(), Some(false), "it is refused without waiting");
    }
}
