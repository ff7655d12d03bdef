//! What the table knows of one source, and when its next flight may start.

use std::collections::HashMap;

use crate::domain::{Entry, Name, Time, Try};

use super::{Crew, Flight};

/// One source's place in the table.
pub(super) struct Lane {
    pub(super) crew: Crew,
    pub(super) flying: Option<Flight>,
    last_start: Option<Time>,
    held: HashMap<Name, Time>,
}

impl Lane {
    /// A lane that learns from what is known of its source when it was asked last and which providers are held.
    pub(super) fn new(crew: Crew, entry: Option<&Entry>) -> Self {
        let mut lane = Self { crew, flying: None, last_start: None, held: HashMap::new() };
        if let Some(entry) = entry {
            lane.last_start = entry.trail.last;
            lane.note(&entry.trail.tries);
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

    /// Until when nobody may start a flight: `min_interval` since the last one, or a `Retry-After` of every provider.
    /// None if somebody may now.
    pub(super) fn rests_until(&self, now: Time) -> Option<Time> {
        let spaced = self.last_start.map(|last| last.after(self.crew.pace.min_interval));
        let until = spaced.max(self.held_until(now))?;
        (until > now).then_some(until)
    }

    /// When the first provider may be asked again, if all of them are held.
    pub(super) fn held_until(&self, now: Time) -> Option<Time> {
        let hold = |name: &Name| self.held.get(name).copied().filter(|until| *until > now);
        let each = self.crew.providers.iter().map(|(provider, _)| hold(&provider.name));
        each.collect::<Option<Vec<Time>>>()?.into_iter().min()
    }

    /// Marks a flight as begun; gives the positions of the providers that may take part, in order of preference.
    pub(super) fn begin(&mut self, flight: Flight) -> Vec<usize> {
        let now = flight.began;
        self.last_start = Some(now);
        self.flying = Some(flight);
        let free = |at: &usize| self.held.get(&self.crew.providers[*at].0.name).is_none_or(|until| *until <= now);
        (0..self.crew.providers.len()).filter(free).collect()
    }

    /// Learns which providers want to be left alone.
    pub(super) fn note(&mut self, tries: &[Try]) {
        for one in tries {
            match one.held_until {
                Some(until) => self.held.insert(one.provider.clone(), until),
                None => self.held.remove(&one.provider),
            };
        }
    }
}
