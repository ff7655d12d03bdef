//! What is known of one source: the newest reading, the newest failure, and diagnostics beside them.

use std::sync::Arc;
use std::time::Duration;

use super::{Data, End, Failure, Identity, Lapse, Name, Outcome, Reading, Source, Time, Try};

/// The state of one source within a snapshot. Reading and failure are two maxima over everything ever merged, so the
/// order, repetition and lateness of outcomes do not matter.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The definition.
    pub source: Arc<Source>,
    /// The reading with the latest `fetched_at`.
    pub reading: Option<Arc<Reading>>,
    /// The failure with the latest `at`. It counts only while it is newer than the reading. Of a derived source: the
    /// latest computation's, none if that succeeded.
    pub failure: Option<Arc<Lapse>>,
    /// Of a derived source's reading: which readings of which fetched sources went into it.
    pub stamps: Arc<[(Name, Time)]>,
    /// Of a derived source: which readings went into the latest computation, failed or not.
    pub footing: Arc<[(Name, Time)]>,
    /// Diagnostics, outside of the merge laws and of the version.
    pub trail: Trail,
    /// Whether a first answer waits for this source's first attempt. False for one that a reload added.
    pub awaited: bool,
}

/// How the latest attempts went.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    /// When the newest finished attempt began.
    pub last: Option<Time>,
    /// How long it took.
    pub took: Option<Duration>,
    /// When the first failed attempt since the last success began.
    pub failing_since: Option<Time>,
    /// Failed attempts since the last success.
    pub failures: u32,
    /// When the next attempt is planned.
    pub next: Option<Time>,
    /// Per provider, what it did last.
    pub tries: Arc<[Try]>,
    /// The providers whose latest requests failed.
    pub streaks: Arc<[Streak]>,
}

/// A provider's failures since it last gave a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streak {
    /// Whose.
    pub provider: Name,
    /// When the first of them began.
    pub since: Time,
    /// How many there are.
    pub failures: u32,
}

/// One computation of a derived source.
#[derive(Debug, Clone)]
pub struct Derivation {
    /// Of which definition: a reload may have changed the filters meanwhile.
    pub identity: Identity,
    /// Which readings went into it, by fetched source.
    pub stamps: Vec<(Name, Time)>,
    /// When it was computed.
    pub at: Time,
    /// How long it took.
    pub took: Duration,
    /// The data, or why there is none.
    pub result: Result<Data, Failure>,
}

/// What an outcome changed about the health of a source or of one of its providers; what is worth a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Turn {
    /// As healthy or as ill as before.
    #[default]
    Same,
    /// The first failure after a success, or the first attempt of all.
    Failed,
    /// The first success after failures; how long they lasted.
    Recovered(Duration),
}

/// What an outcome changed about a source's health.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turns {
    /// The source's own.
    pub source: Turn,
    /// Those of its providers, if it has several: one that fails is hidden by the next.
    pub providers: Vec<(Name, Turn)>,
}

impl Entry {
    /// An entry about which nothing is known yet.
    pub fn new(source: Arc<Source>, awaited: bool) -> Self {
        Self {
            source,
            reading: None,
            failure: None,
            stamps: Arc::default(),
            footing: Arc::default(),
            trail: Trail::default(),
            awaited,
        }
    }

    /// The latest failure, while it is newer than the reading.
    pub fn failing(&self) -> Option<&Lapse> {
        let lapse = self.failure.as_deref()?;
        let derived = self.source.pace().is_none();
        let newer = self
            .reading
            .as_ref()
            .is_none_or(|reading| derived || lapse.at > reading.fetched_at);
        newer.then_some(lapse)
    }

    /// The providers that fail, in order of preference: since when, and why at last. While one answers, those that are
    /// preferred to it: nobody asks the others, and what they did when they were asked says nothing of now.
    pub fn broken(&self) -> impl Iterator<Item = (&Streak, &Failure)> {
        let answering = self
            .reading
            .as_deref()
            .filter(|_| self.failing().is_none())
            .map(|reading| &reading.provider);
        let preferred = self
            .source
            .providers()
            .iter()
            .take_while(move |one| Some(&one.name) != answering);
        preferred.filter_map(|provider| {
            Some((
                self.trail.streak(&provider.name)?,
                self.trail.latest(&provider.name)?.failure()?,
            ))
        })
    }

    /// This entry with an outcome merged in, newest wins, and what that changed.
    pub fn merge(&self, outcome: &Outcome) -> (Self, Turns) {
        let mut merged = self.clone();
        match &outcome.result {
            Ok(reading) => {
                if self.reading.as_deref().is_none_or(|known| known < reading) {
                    merged.reading = Some(Arc::new(reading.clone()));
                }
            }
            Err(failure) => {
                let lapse = Lapse {
                    at: outcome.at,
                    failure: failure.clone(),
                };
                if self.failure.as_deref().is_none_or(|known| *known < lapse) {
                    merged.failure = Some(Arc::new(lapse));
                }
            }
        }
        merged.trail = self.trail.follow(outcome, merged.failing());
        let turns = self.turns(&merged, outcome.at);
        (merged, turns)
    }

    /// This entry with a newer computation of a derived source.
    #[must_use]
    pub fn derive(&self, name: &Name, derivation: &Derivation) -> Self {
        let mut derived = Self {
            footing: derivation.stamps.clone().into(),
            ..self.clone()
        };
        let oldest = derivation
            .stamps
            .iter()
            .map(|(_, at)| *at)
            .min()
            .unwrap_or(derivation.at);
        match &derivation.result {
            Ok(data) => {
                let reading = Reading {
                    fetched_at: oldest,
                    provider: name.clone(),
                    data: data.clone(),
                };
                derived.reading = Some(Arc::new(reading));
                derived.stamps = Arc::clone(&derived.footing);
                derived.failure = None;
            }
            Err(failure) => {
                let lapse = Lapse {
                    at: derivation.at,
                    failure: failure.clone(),
                };
                derived.failure = Some(Arc::new(lapse));
            }
        }
        let failing = derivation.result.is_err();
        derived.trail.last = Some(derivation.at);
        derived.trail.took = Some(derivation.took);
        derived.trail.failures = if failing {
            self.trail.failures.saturating_add(1)
        } else {
            0
        };
        derived.trail.failing_since =
            failing.then(|| self.trail.failing_since.unwrap_or(derivation.at));
        derived
    }

    /// What became of its health by a merge of what began at `at`.
    pub(super) fn turns(&self, merged: &Self, at: Time) -> Turns {
        let source = match (self.failing(), merged.failing()) {
            (None, Some(_)) => Turn::Failed,
            (Some(lapse), None) => {
                Turn::Recovered(at.since(self.trail.failing_since.unwrap_or(lapse.at)))
            }
            _ => Turn::Same,
        };
        let several = self.source.providers().len() > 1;
        let providers = if several {
            self.turns_of_providers(merged)
        } else {
            Vec::new()
        };
        Turns { source, providers }
    }

    /// Which providers are [broken](Self::broken) in `merged` and were not before, and which have given a reading again.
    fn turns_of_providers(&self, merged: &Self) -> Vec<(Name, Turn)> {
        let is_broken =
            |entry: &Self, name: &Name| entry.broken().any(|(streak, _)| streak.provider == *name);
        let turn = |name: &Name| match (self.trail.streak(name), merged.trail.latest(name)) {
            _ if is_broken(merged, name) => (!is_broken(self, name)).then_some(Turn::Failed),
            (
                Some(streak),
                Some(Try {
                    at, end: End::Won, ..
                }),
            ) => Some(Turn::Recovered(at.since(streak.since))),
            _ => None,
        };
        self.source
            .providers()
            .iter()
            .filter_map(|one| Some((one.name.clone(), turn(&one.name)?)))
            .collect()
    }
}

impl Trail {
    fn follow(&self, outcome: &Outcome, failing: Option<&Lapse>) -> Self {
        let newest = self.last.is_none_or(|last| outcome.at >= last);
        let mut next = self.clone();
        if newest {
            next.last = Some(outcome.at);
            next.took = Some(outcome.took);
        }
        next.streaks = self.streaks_after(&outcome.tries);
        next.tries = merge_tries(&self.tries, &outcome.tries);
        match failing {
            None => (next.failing_since, next.failures) = (None, 0),
            Some(lapse) => {
                next.failing_since = Some(self.failing_since.unwrap_or(lapse.at));
                let counts = newest && outcome.result.is_err();
                next.failures = self.failures.saturating_add(u32::from(counts));
            }
        }
        next
    }
}

impl Trail {
    /// The streak of the provider of this name.
    pub fn streak(&self, provider: &Name) -> Option<&Streak> {
        self.streaks
            .iter()
            .find(|streak| streak.provider == *provider)
    }

    /// What the provider of this name did last.
    fn latest(&self, provider: &Name) -> Option<&Try> {
        self.tries.iter().find(|one| one.provider == *provider)
    }

    /// A success ends a provider's streak, a failure lengthens it; what came late or was given up changes nothing.
    fn streaks_after(&self, more: &[Try]) -> Arc<[Streak]> {
        let newest = |new: &&Try| {
            !self
                .tries
                .iter()
                .any(|old| old.provider == new.provider && old.at > new.at)
        };
        let more: Vec<&Try> = more
            .iter()
            .filter(newest)
            .filter(|one| one.end != End::Outrun)
            .collect();
        if self.streaks.is_empty() && more.iter().all(|one| one.failure().is_none()) {
            return Arc::clone(&self.streaks);
        }
        let others = self
            .streaks
            .iter()
            .filter(|old| !more.iter().any(|new| new.provider == old.provider));
        let longer = more
            .iter()
            .filter(|new| new.failure().is_some())
            .map(|new| {
                let known = self.streak(&new.provider);
                let (since, before) =
                    known.map_or((new.at, 0), |known| (known.since, known.failures));
                Streak {
                    provider: new.provider.clone(),
                    since,
                    failures: before.saturating_add(1),
                }
            });
        others.cloned().chain(longer).collect()
    }
}

/// The newer of each provider's tries, in the order of first appearance.
fn merge_tries(known: &Arc<[Try]>, more: &[Try]) -> Arc<[Try]> {
    if more.is_empty() {
        return Arc::clone(known);
    }
    let mut tries = known.to_vec();
    for new in more {
        match tries.iter_mut().find(|old| old.provider == new.provider) {
            Some(old) if old.at <= new.at => *old = new.clone(),
            Some(_) => {}
            None => tries.push(new.clone()),
        }
    }
    tries.into()
}
