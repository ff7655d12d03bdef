//! The scheduling state of one source: its flight, and when the next one may start.

use std::collections::HashMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::{
    Name, Outcome, ProviderAttempt, ProviderAttemptResult, SourceRecord, SourceState, Time,
};

use super::flight::Flight;
use super::prepared_source::PreparedSource;
use super::race::Candidate;

/// The slot of one source in the single-flight map.
pub(super) struct SourceSlot {
    pub(super) prepared: PreparedSource,
    pub(super) in_flight: Option<Flight>,
    /// When the latest flight began, here or at another replica.
    last_start: Option<Time>,
    /// Per provider, the end of its `Retry-After`.
    provider_holds: HashMap<Name, Time>,
    /// End of the lifetime of the latest reading. A fallback is not called before, either.
    lifetime_end: Option<Time>,
    /// Per provider, when it was called last.
    provider_calls: HashMap<Name, Time>,
    /// No flight starts before this time: an attempt of another replica is too recent, and nothing
    /// else is known about it.
    remote_hold_until: Option<Time>,
    /// When the newest attempt since the start of the program began, here or at another replica.
    newest_attempt: Option<Time>,
    /// Cancelled once the latest flight is reported to the other replicas.
    last_reported: Option<CancellationToken>,
}

impl SourceSlot {
    /// Returns a slot without a flight. `state` tells when the source was attempted last and which
    /// providers sent `Retry-After`.
    pub(super) fn new(prepared: PreparedSource, state: Option<&SourceState>) -> Self {
        let mut slot = Self {
            prepared,
            in_flight: None,
            last_start: None,
            provider_holds: HashMap::new(),
            lifetime_end: None,
            provider_calls: HashMap::new(),
            remote_hold_until: None,
            newest_attempt: None,
            last_reported: None,
        };
        if let Some(state) = state {
            let history = &state.history;
            slot.last_start = history.last_attempt;
            slot.record_provider_attempts(&history.provider_attempts, history.last_attempt);
        }
        slot
    }

    /// Returns this slot with a new definition of its source. If the identity changed, the flight is
    /// aborted: its outcome would belong to no source, and the first flight of the new definition
    /// need not wait for it.
    pub(super) fn with_definition(mut self, prepared: PreparedSource) -> Self {
        if self.prepared.identity != prepared.identity
            && let Some(flight) = self.in_flight.take()
        {
            flight.abort();
        }
        let has_moved =
            |name: &Name| (prepared.source).has_moved_provider(&self.prepared.source, name);
        self.provider_holds.retain(|name, _| !has_moved(name));
        // The lifetime is that of a response to a former request.
        let is_same = self.prepared.source.providers() == prepared.source.providers();
        let lifetime_end = self.lifetime_end.filter(|_| is_same);
        Self {
            prepared,
            lifetime_end,
            ..self
        }
    }

    /// Aborts the flight of a source that was removed.
    pub(super) fn abort_flight(self) {
        if let Some(flight) = self.in_flight {
            flight.abort();
        }
    }

    /// Returns until when no flight may start: for `min_interval` since the latest one, here or at
    /// another replica, or until providers may be called. `None` if a flight may start at `now`.
    pub(super) fn held_back_until(&self, now: Time) -> Option<Time> {
        let min_interval = self.prepared.schedule.min_interval;
        self.last_start
            .map(|last| last.plus(min_interval))
            .max(self.provider_calls_held_until(now))
            .max(self.remote_hold_until)
            .filter(|until| *until > now)
    }

    /// Returns when providers may be called again: the end of the latest reading's lifetime, or of the first
    /// `Retry-After` if one holds every provider. `None` if they may be called at `now`.
    pub(super) fn provider_calls_held_until(&self, now: Time) -> Option<Time> {
        let holds: Option<Vec<Time>> = self
            .prepared
            .providers
            .iter()
            .map(|(provider, _)| self.provider_hold(&provider.name, now))
            .collect();
        let first_end = holds.and_then(|holds| holds.into_iter().min());
        first_end.max(self.lifetime_end.filter(|end| *end > now))
    }

    fn provider_hold(&self, provider: &Name, now: Time) -> Option<Time> {
        let until = self.provider_holds.get(provider).copied();
        until.filter(|until| *until > now)
    }

    /// Stores a requested flight for others to join. Returns the token that is cancelled once the
    /// previous flight is reported.
    pub(super) fn register_flight(&mut self, flight: &Flight) -> Option<CancellationToken> {
        self.in_flight = Some(flight.clone());
        std::mem::replace(&mut self.last_reported, flight.reported_token().cloned())
    }

    /// Starts an attempt at `now`. Returns the providers without a `Retry-After`, in order of
    /// preference.
    pub(super) fn start_attempt(&mut self, now: Time) -> Vec<Candidate> {
        self.last_start = Some(now);
        let min_interval = self.prepared.schedule.min_interval;
        let names = self
            .prepared
            .providers
            .iter()
            .map(|(provider, _)| &provider.name);
        names
            .enumerate()
            .filter(|(_, name)| self.provider_hold(name, now).is_none())
            .map(|(position, name)| Candidate {
                position,
                // A provider may have been called late in the previous flight.
                start_delay: self
                    .provider_calls
                    .get(name)
                    .map_or(Duration::ZERO, |called| {
                        called.plus(min_interval).since(now)
                    }),
            })
            .collect()
    }

    /// Returns when the newest attempt since the start of the program began, here or at another
    /// replica. `None` makes every state of another replica count as newer.
    pub(super) fn newest_attempt(&self) -> Option<Time> {
        self.newest_attempt
    }

    /// Allows no flight before `until`, because another replica's attempt is too recent.
    pub(super) fn hold_back_until(&mut self, until: Time) {
        self.remote_hold_until = Some(until);
    }

    /// Records an attempt of this replica.
    pub(super) fn record_outcome(&mut self, outcome: &Outcome) {
        self.newest_attempt = self.newest_attempt.max(Some(outcome.started_at));
        self.record_provider_attempts(&outcome.provider_attempts, Some(outcome.started_at));
        self.record_lifetime(&outcome.provider_attempts, outcome.result.is_ok());
    }

    /// Records the latest attempt of another replica.
    pub(super) fn record_remote(&mut self, record: &SourceRecord) {
        let last_attempt = record.history.last_attempt;
        self.newest_attempt = self.newest_attempt.max(last_attempt);
        // Published states may arrive late: an older attempt moves nothing.
        if self.last_start <= last_attempt {
            self.last_start = last_attempt;
            self.record_provider_attempts(&record.history.provider_attempts, last_attempt);
            self.record_lifetime(&record.history.provider_attempts, record.reading.is_some());
        }
    }

    fn record_provider_attempts(&mut self, attempts: &[ProviderAttempt], race_start: Option<Time>) {
        for attempt in attempts {
            // The time of the call is counted from the start of the flight, which is a little
            // earlier than that of the race. Otherwise the first provider would still be within
            // `min_interval` when the next flight may start.
            let delay = race_start.map_or(Duration::ZERO, |start| attempt.started_at.since(start));
            let called_at = self
                .last_start
                .map_or(attempt.started_at, |start| start.plus(delay));
            self.provider_calls
                .insert(attempt.provider.clone(), called_at);
            let is_failed = attempt.result != ProviderAttemptResult::Succeeded;
            match attempt.held_until.filter(|_| is_failed) {
                Some(until) => self.provider_holds.insert(attempt.provider.clone(), until),
                None => self.provider_holds.remove(&attempt.provider),
            };
        }
    }

    /// Records the lifetime of the reading that `attempts` supplied; none if the reading was refused.
    fn record_lifetime(&mut self, attempts: &[ProviderAttempt], has_reading: bool) {
        let mut attempts = attempts.iter();
        let supplier = attempts.find(|attempt| attempt.result == ProviderAttemptResult::Succeeded);
        if let Some(supplier) = supplier {
            self.lifetime_end = supplier.held_until.filter(|_| has_reading);
        }
    }
}
