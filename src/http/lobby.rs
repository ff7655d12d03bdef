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
        while self.0.front().is_some_and(|oldest| passed(oldest.since, now) >= patience) {
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
