//! Connections that were accepted and that no thread has taken on yet. There are some only while a thread has its hands
//! full.
//!
//! The newest goes first. Whoever has waited long has perhaps given up, and then all that is done for it is lost; served
//! in the order of coming, a crowd that gives up and comes again would only ever be answered too late.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::time::Duration;

use super::connection::passed;
use super::worker::Place;

/// Who has waited for less than this keeps its place when others want one.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// Those who wait, the newest last.
#[derive(Default)]
pub(super) struct Lobby(VecDeque<Newcomer>);

/// An accepted connection.
pub(super) struct Newcomer {
    /// When it was accepted, in ticks of its thread.
    pub(super) since: u64,
    pub(super) stream: TcpStream,
    pub(super) place: Place,
}

impl Lobby {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn enter(&mut self, newcomer: Newcomer) {
        self.0.push_back(newcomer);
    }

    /// The newest.
    pub(super) fn newest(&mut self) -> Option<Newcomer> {
        self.0.pop_back()
    }

    /// Sends those away who have waited for this long: the time for their request's head is over.
    pub(super) fn leave(&mut self, now: u64, patience: Duration) {
        while self
            .0
            .front()
            .is_some_and(|oldest| passed(oldest.since, now) >= patience)
        {
            self.0.pop_front();
        }
    }

    /// Sends those away who have waited longest: a hundredth of all. Whether there was one.
    pub(super) fn make_room(&mut self, now: u64) -> bool {
        let share = self.0.len().div_ceil(100);
        let before = self.0.len();
        let long = |newcomer: &Newcomer| passed(newcomer.since, now) >= LEAST_WAIT;
        while before - self.0.len() < share && self.0.front().is_some_and(long) {
            self.0.pop_front();
        }
        self.0.len() < before
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::Ordering::Relaxed;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::http::counters::Counters;

    /// A lobby into which somebody came every 100 ms, the counters, and the places under the cap.
    fn crowd(count: u64) -> (Lobby, Arc<Counters>, Arc<Semaphore>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (stats, room) = (
            Arc::<Counters>::default(),
            Arc::new(Semaphore::new(count as usize)),
        );
        let mut lobby = Lobby::default();
        for at in 0..count {
            stats.connections.fetch_add(1, Relaxed);
            let place = Place::new(
                Arc::clone(&stats),
                Arc::clone(&room).try_acquire_owned().unwrap(),
            );
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            lobby.enter(Newcomer {
                since: at * 100,
                stream,
                place,
            });
        }
        (lobby, stats, room)
    }

    #[test]
    fn the_newest_goes_first_and_who_has_waited_as_long_as_a_head_may_take_leaves() {
        let (mut lobby, stats, room) = crowd(20);
        assert_eq!(lobby.newest().map(|newcomer| newcomer.since), Some(1900));
        lobby.leave(10_450, Duration::from_secs(10));
        assert_eq!(
            (stats.connections.load(Relaxed), room.available_permits()),
            (14, 6)
        );
        let rest: Vec<u64> = std::iter::from_fn(|| lobby.newest())
            .map(|newcomer| newcomer.since)
            .collect();
        assert_eq!((rest[0], rest.last(), rest.len()), (1800, Some(&500), 14));
        assert!(lobby.is_empty() && stats.connections.load(Relaxed) == 0);
    }

    #[test]
    fn who_has_waited_longest_makes_room_but_not_who_came_a_moment_ago() {
        let (mut lobby, stats, _) = crowd(101);
        assert!(lobby.make_room(20_000));
        assert_eq!(stats.connections.load(Relaxed), 99);
        assert!(!lobby.make_room(1_100));
        assert_eq!(stats.connections.load(Relaxed), 99);
    }
}
