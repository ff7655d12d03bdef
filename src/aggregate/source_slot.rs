//! What the table knows of one source, and when its next flight may start.

use std::collections::HashMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::{Name, Outcome, ProviderAttempt, SourceRecord, SourceState, Time};

use super::flight::Flight;
use super::prepared_source::PreparedSource;
use super::race::Candidate;

/// One source's place in the table.
pub(crate) struct SourceSlot {
    pub(crate) prepared: PreparedSource,
    pub(crate) in_flight: Option<Flight>,
    last_start: Option<Time>,
    provider_holds: HashMap<Name, Time>,
    /// When each provider was asked last.
    provider_calls: HashMap<Name, Time>,
    /// Until when other replicas' attempts forbid one, where that is all that is known of them.
    remote_hold_until: Option<Time>,
    /// When the newest attempt of this run began that is known of, here or elsewhere.
    newest_attempt: Option<Time>,
    /// Cancelled when other replicas have been told of the latest attempt.
    last_reported: Option<CancellationToken>,
}

impl SourceSlot {
    /// A lane that learns from what is known of its source when it was asked last and which providers are held.
    pub(crate) fn new(crew: PreparedSource, entry: Option<&SourceState>) -> Self {
        let mut lane = Self {
            prepared: crew,
            in_flight: None,
            last_start: None,
            provider_holds: HashMap::new(),
            provider_calls: HashMap::new(),
            remote_hold_until: None,
            newest_attempt: None,
            last_reported: None,
        };
        if let Some(entry) = entry {
            lane.last_start = entry.history.last_attempt;
            lane.record_provider_attempts(
                &entry.history.provider_attempts,
                entry.history.last_attempt,
            );
        }
        lane
    }

    /// The same lane under a new definition of its source. If its readings are others now, what is in the air ends, so
    /// that the first of the new ones need not wait for it.
    pub(crate) fn with_definition(mut self, crew: PreparedSource) -> Self {
        if self.prepared.identity != crew.identity
            && let Some(flight) = self.in_flight.take()
        {
            flight.abort();
        }
        Self {
            prepared: crew,
            ..self
        }
    }

    /// Ends what is in the air.
    pub(crate) fn abort_flight(self) {
        if let Some(flight) = self.in_flight {
            flight.abort();
        }
    }

    /// Until when nobody may start a flight: `min_interval` since the last one, here or elsewhere, or a `Retry-After` of
    /// every provider. None if somebody may now.
    pub(crate) fn held_back_until(&self, now: Time) -> Option<Time> {
        let spaced = self
            .last_start
            .map(|last| last.plus(self.prepared.schedule.min_interval));
        let until = spaced
            .max(self.providers_held_until(now))
            .max(self.remote_hold_until)?;
        (until > now).then_some(until)
    }

    /// When the first provider may be asked again, if all of them are held.
    pub(crate) fn providers_held_until(&self, now: Time) -> Option<Time> {
        let hold = |name: &Name| {
            self.provider_holds
                .get(name)
                .copied()
                .filter(|until| *until > now)
        };
        let each = self
            .prepared
            .providers
            .iter()
            .map(|(provider, _)| hold(&provider.name));
        each.collect::<Option<Vec<Time>>>()?.into_iter().min()
    }

    /// A flight has been wished for and others are to join it. Gives what the flight before waits for, if anything.
    pub(crate) fn register_flight(&mut self, flight: &Flight) -> Option<CancellationToken> {
        self.in_flight = Some(flight.clone());
        self.last_reported.replace(flight.reported_token().clone())
    }

    /// Marks the flight as begun; gives the providers that may take part, in order of preference.
    pub(crate) fn start_attempt(&mut self, now: Time) -> Vec<Candidate> {
        self.last_start = Some(now);
        let names = self
            .prepared
            .providers
            .iter()
            .map(|(provider, _)| &provider.name)
            .enumerate();
        let free = names.filter(|(_, name)| {
            self.provider_holds
                .get(*name)
                .is_none_or(|until| *until <= now)
        });
        free.map(|(position, name)| Candidate {
            position,
            start_delay: self.provider_start_delay(name, now),
        })
        .collect()
    }

    /// What is left of `min_interval` since the provider of this name was asked: it may have been the last of its flight.
    fn provider_start_delay(&self, name: &Name, now: Time) -> Duration {
        self.provider_calls
            .get(name)
            .map_or(Duration::ZERO, |asked| {
                asked.plus(self.prepared.schedule.min_interval).since(now)
            })
    }

    /// When the newest attempt of this run began, here or elsewhere. None if none is known: then whatever another replica
    /// knows is newer.
    pub(crate) fn newest_attempt(&self) -> Option<Time> {
        self.newest_attempt
    }

    /// Nobody may start a flight before `until`: another replica's attempt was too recent.
    pub(crate) fn hold_back_until(&mut self, until: Time) {
        self.remote_hold_until = Some(until);
    }

    /// Learns from an attempt of its own that ended.
    pub(crate) fn record_outcome(&mut self, outcome: &Outcome) {
        self.newest_attempt = self.newest_attempt.max(Some(outcome.started_at));
        self.record_provider_attempts(&outcome.provider_attempts, Some(outcome.started_at));
    }

    /// Learns from what another replica knows.
    pub(crate) fn record_remote(&mut self, saved: &SourceRecord) {
        let last = saved.history.last_attempt;
        self.newest_attempt = self.newest_attempt.max(last);
        if self.last_start <= last {
            self.last_start = last;
            self.record_provider_attempts(&saved.history.provider_attempts, last);
        }
    }

    /// Learns from a race that began then when providers were asked, and which of them want to be left alone.
    fn record_provider_attempts(&mut self, tries: &[ProviderAttempt], begun: Option<Time>) {
        for one in tries {
            // Counted from the start of the flight, which is a little earlier than that of its race: the first provider
            // needs no rest once the next flight may start.
            let after = begun.map_or(Duration::ZERO, |begun| one.started_at.since(begun));
            let asked = self
                .last_start
                .map_or(one.started_at, |start| start.plus(after));
            self.provider_calls.insert(one.provider.clone(), asked);
            match one.retry_at {
                Some(until) => self.provider_holds.insert(one.provider.clone(), until),
                None => self.provider_holds.remove(&one.provider),
            };
        }
    }
}
