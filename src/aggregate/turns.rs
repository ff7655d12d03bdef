//! Turns of background attempts that are due together at one host and port.
//!
//! An attempt starts when the previous one has ended or has run for [`TURN_TIME`], and at the latest
//! after the wait that the refresher permits. The module does no I/O: the refresher passes the time.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::Name;
use crate::fetch::Endpoint;

/// Time after the start of an attempt at which the next one at the same host and port may start.
const TURN_TIME: Duration = Duration::from_millis(500);

/// Attempts that wait for their turn, by host and port.
#[derive(Debug, Default)]
pub(super) struct Turns(HashMap<Endpoint, HostTurns>);

#[derive(Debug, Default)]
struct HostTurns {
    /// The latest attempt to start, and when the next one may. `None` once it has ended.
    running: Option<(Name, Instant)>,
    waiting: VecDeque<WaitingAttempt>,
}

#[derive(Debug)]
struct WaitingAttempt {
    source: Name,
    /// When the attempt starts at the latest, even if another one runs.
    start_by: Instant,
}

impl Turns {
    /// Queues an attempt at `source`, due at `now`, to start `max_wait` later at the latest. An
    /// attempt that is queued already keeps its place.
    pub(super) fn enqueue(
        &mut self,
        endpoint: Endpoint,
        source: &Name,
        now: Instant,
        max_wait: Duration,
    ) {
        let host = self.0.entry(endpoint).or_default();
        if host.waiting.iter().all(|one| one.source != *source) {
            host.waiting.push_back(WaitingAttempt {
                source: source.clone(),
                start_by: now + max_wait,
            });
        }
    }

    /// Removes the attempts that may start at `now` and returns their sources.
    pub(super) fn take_ready(&mut self, now: Instant) -> Vec<Name> {
        let mut ready = Vec::new();
        for host in self.0.values_mut() {
            let overdue = |one: &WaitingAttempt| one.start_by <= now;
            while let Some(next) = host
                .waiting
                .iter()
                .position(overdue)
                .or_else(|| host.is_free(now).then_some(0))
                && let Some(attempt) = host.waiting.remove(next)
            {
                host.running = Some((attempt.source.clone(), now + TURN_TIME));
                ready.push(attempt.source);
            }
        }
        ready
    }

    /// Ends the turn of `source` or its wait for one, because its attempt ended or was planned again.
    pub(super) fn end(&mut self, source: &Name) {
        self.retain_sources(|other| other != source);
    }

    /// Ends the turns of sources that were removed: no completion reports their aborted attempts.
    pub(super) fn retain_sources(&mut self, keep: impl Fn(&Name) -> bool) {
        self.0.retain(|_, host| {
            host.waiting.retain(|one| keep(&one.source));
            host.running.take_if(|(running, _)| !keep(running));
            host.running.is_some() || !host.waiting.is_empty()
        });
    }

    /// Returns when the next attempt starts, unless a running one ends before; `None` if no attempt
    /// waits.
    pub(super) fn next_start(&self) -> Option<Instant> {
        let waiting = self.0.values().filter(|host| !host.waiting.is_empty());
        waiting.filter_map(HostTurns::next_start).min()
    }
}

impl HostTurns {
    fn is_free(&self, now: Instant) -> bool {
        self.running.as_ref().is_none_or(|(_, until)| *until <= now)
    }

    fn next_start(&self) -> Option<Instant> {
        let forced = self.waiting.iter().map(|one| one.start_by).min();
        let turn = self.running.as_ref().map(|(_, until)| *until);
        forced.into_iter().chain(turn).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Clock;

    const LONG: Duration = Duration::from_secs(100);

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::from_url(&url.parse().unwrap()).unwrap()
    }

    fn ready_names(turns: &mut Turns, now: Instant) -> Vec<String> {
        let mut names: Vec<String> = turns.take_ready(now).iter().map(Name::to_string).collect();
        names.sort();
        names
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_at_one_host_take_turns() {
        let (mut turns, now) = (Turns::default(), Clock::start().instant());
        for (source, url) in [
            ("a", "http://one.example/a"),
            ("b", "http://one.example/b"),
            ("c", "http://one.example:81/"),
            ("d", "http://one.example/d"),
        ] {
            turns.enqueue(endpoint(url), &name(source), now, LONG);
        }
        assert_eq!(ready_names(&mut turns, now), ["a", "c"]);
        assert_eq!(turns.next_start(), Some(now + TURN_TIME));
        let soon = now + Duration::from_millis(100);
        assert!(turns.take_ready(soon).is_empty());
        turns.end(&name("a"));
        assert_eq!(ready_names(&mut turns, soon), ["b"]);
        assert!(turns.take_ready(soon + TURN_TIME / 2).is_empty());
        assert_eq!(ready_names(&mut turns, soon + TURN_TIME), ["d"]);
        assert_eq!(turns.next_start(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn turn_wait_is_bounded() {
        let (mut turns, now) = (Turns::default(), Clock::start().instant());
        let host = endpoint("http://one.example/");
        for source in ["a", "b", "c"] {
            turns.enqueue(host.clone(), &name(source), now, TURN_TIME / 5);
        }
        turns.enqueue(host, &name("d"), now, LONG);
        assert_eq!(ready_names(&mut turns, now), ["a"]);
        assert_eq!(turns.next_start(), Some(now + TURN_TIME / 5));
        assert_eq!(ready_names(&mut turns, now + TURN_TIME / 5), ["b", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn planned_attempt_leaves_the_queue() {
        let (mut turns, now) = (Turns::default(), Clock::start().instant());
        let host = endpoint("http://one.example/");
        for source in ["a", "b", "b", "c"] {
            turns.enqueue(host.clone(), &name(source), now, LONG);
        }
        assert_eq!(ready_names(&mut turns, now), ["a"]);
        turns.end(&name("b"));
        turns.end(&name("a"));
        assert_eq!(ready_names(&mut turns, now), ["c"]);
        turns.end(&name("c"));
        assert!(turns.0.is_empty());
    }

    #[test]
    fn removed_source_ends_its_turn() {
        let (mut turns, now) = (Turns::default(), Clock::start().instant());
        for source in ["a", "b", "c"] {
            turns.enqueue(endpoint("http://x/"), &name(source), now, LONG);
        }
        assert_eq!(ready_names(&mut turns, now), ["a"]);
        turns.retain_sources(|source| source.as_str() == "c");
        assert_eq!(ready_names(&mut turns, now), ["c"]);
    }
}
