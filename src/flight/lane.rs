//! What the table knows of one source, and when its next flight may start.

use std::collections::HashMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::{Entry, Name, Outcome, Saved, Time, Try};

use super::race::Entrant;
use super::{Crew, Flight};

/// One source's place in the table.
pub(super) struct Lane {
    pub(super) crew: Crew,
    pub(super) flying: Option<Flight>,
    last_start: Option<Time>,
    held: HashMap<Name, Time>,
    /// When each provider was asked last.
    asked: HashMap<Name, Time>,
    /// Until when other replicas' attempts forbid one, where that is all that is known of them.
    resting: Option<Time>,
    /// When the newest attempt of this run began that is known of, here or elsewhere.
    known: Option<Time>,
    /// Cancelled when other replicas have been told of the latest attempt.
    settled: Option<CancellationToken>,
}

impl Lane {
    /// A lane that learns from what is known of its source when it was asked last and which providers are held.
    pub(super) fn new(crew: Crew, entry: Option<&Entry>) -> Self {
        let mut lane = Self {
            crew,
            flying: None,
            last_start: None,
            held: HashMap::new(),
            asked: HashMap::new(),
            resting: None,
            known: None,
            settled: None,
        };
        if let Some(entry) = entry {
            lane.last_start = entry.trail.last;
            lane.note(&entry.trail.tries, entry.trail.last);
        }
        lane
    }

    /// The same lane under a new definition of its source. If its readings are others now, what is in the air ends, so
    /// that the first of the new ones need not wait for it.
    pub(super) fn manned_by(mut self, crew: Crew) -> Self {
        if self.crew.identity != crew.identity
            && let Some(flight) = self.flying.take()
        {
            flight.abort();
        }
        Self { crew, ..self }
    }

    /// Ends what is in the air.
    pub(super) fn close(self) {
        if let Some(flight) = self.flying {
            flight.abort();
        }
    }

    /// Until when nobody may start a flight: `min_interval` since the last one, here or elsewhere, or a `Retry-After` of
    /// every provider. None if somebody may now.
    pub(super) fn rests_until(&self, now: Time) -> Option<Time> {
        let spaced = self
            .last_start
            .map(|last| last.after(self.crew.pace.min_interval));
        let until = spaced.max(self.held_until(now)).max(self.resting)?;
        (until > now).then_some(until)
    }

    /// When the first provider may be asked again, if all of them are held.
    pub(super) fn held_until(&self, now: Time) -> Option<Time> {
        let hold = |name: &Name| self.held.get(name).copied().filter(|until| *until > now);
        let each = self
            .crew
            .providers
            .iter()
            .map(|(provider, _)| hold(&provider.name));
        each.collect::<Option<Vec<Time>>>()?.into_iter().min()
    }

    /// A flight has been wished for and others are to join it. Gives what the flight before waits for, if anything.
    pub(super) fn assign(&mut self, flight: &Flight) -> Option<CancellationToken> {
        self.flying = Some(flight.clone());
        self.settled.replace(flight.settled().clone())
    }

    /// Marks the flight as begun; gives the providers that may take part, in order of preference.
    pub(super) fn begin(&mut self, now: Time) -> Vec<Entrant> {
        self.last_start = Some(now);
        let names = self
            .crew
            .providers
            .iter()
            .map(|(provider, _)| &provider.name)
            .enumerate();
        let free = names.filter(|(_, name)| self.held.get(*name).is_none_or(|until| *until <= now));
        free.map(|(position, name)| Entrant {
            position,
            rest: self.rest_of(name, now),
        })
        .collect()
    }

    /// What is left of `min_interval` since the provider of this name was asked: it may have been the last of its flight.
    fn rest_of(&self, name: &Name, now: Time) -> Duration {
        self.asked.get(name).map_or(Duration::ZERO, |asked| {
            asked.after(self.crew.pace.min_interval).since(now)
        })
    }

    /// When the newest attempt of this run began, here or elsewhere. None if none is known: then whatever another replica
    /// knows is newer.
    pub(super) fn known(&self) -> Option<Time> {
        self.known
    }

    /// Nobody may start a flight before `until`: another replica's attempt was too recent.
    pub(super) fn rest(&mut self, until: Time) {
        self.resting = Some(until);
    }

    /// Learns from an attempt of its own that ended.
    pub(super) fn landed(&mut self, outcome: &Outcome) {
        self.known = self.known.max(Some(outcome.at));
        self.note(&outcome.tries, Some(outcome.at));
    }

    /// Learns from what another replica knows.
    pub(super) fn hear(&mut self, saved: &Saved) {
        let last = saved.trail.last;
        self.known = self.known.max(last);
        if self.last_start <= last {
            self.last_start = last;
            self.note(&saved.trail.tries, last);
        }
    }

    /// Learns from a race that began then when providers were asked, and which of them want to be left alone.
    fn note(&mut self, tries: &[Try], begun: Option<Time>) {
        for one in tries {
            // Counted from the start of the flight, which is a little earlier than that of its race: the first provider
            // needs no rest once the next flight may start.
            let after = begun.map_or(Duration::ZERO, |begun| one.at.since(begun));
            let asked = self.last_start.map_or(one.at, |start| start.after(after));
            self.asked.insert(one.provider.clone(), asked);
            match one.held_until {
                Some(until) => self.held.insert(one.provider.clone(), until),
                None => self.held.remove(&one.provider),
            };
        }
    }
}
