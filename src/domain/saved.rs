//! What is kept of one source across restarts.

use std::sync::Arc;
use std::time::Duration;

use super::{Entry, Identity, Lapse, Name, Reading, Streak, Time, Trail, Try, Turns};

/// The longest that a provider may ask to be left alone.
const LONGEST_HOLD: Duration = Duration::from_secs(15 * 60);

/// What was known of one source. The definition is not part of it: URLs, headers and secrets never leave the
/// configuration.
#[derive(Debug, Clone)]
pub struct Saved {
    /// Whose it is.
    pub name: Name,
    /// To whom it may be given back.
    pub identity: Identity,
    /// The newest reading.
    pub reading: Option<Arc<Reading>>,
    /// The newest failure.
    pub failure: Option<Arc<Lapse>>,
    /// Which readings went into a derived source's reading.
    pub stamps: Arc<[(Name, Time)]>,
    /// Which went into its latest computation.
    pub footing: Arc<[(Name, Time)]>,
    /// How the latest attempts went. What was planned is not kept: every start begins with attempts at all sources.
    pub trail: Trail,
}

impl Saved {
    /// What `entry` knows, if anything.
    pub fn of(entry: &Entry, identity: Identity) -> Option<Self> {
        (entry.trail.last.is_some() || entry.reading.is_some()).then(|| Self {
            name: entry.source.name.clone(),
            identity,
            reading: entry.reading.clone(),
            failure: entry.failure.clone(),
            stamps: Arc::clone(&entry.stamps),
            footing: Arc::clone(&entry.footing),
            trail: Trail {
                next: None,
                ..entry.trail.clone()
            },
        })
    }

    /// The same with every instant moved by `shift` milliseconds onto the clock of `now`; none is left in the future
    /// but the end of a `Retry-After`, which is at most 15 minutes away.
    #[must_use]
    pub fn moved(mut self, shift: i64, now: Time) -> Self {
        let raw = |at: Time| Time::from_millis(at.as_millis().saturating_add(shift));
        let past = |at: Time| raw(at).min(now);
        let stamps = |stamps: &[(Name, Time)]| {
            stamps
                .iter()
                .map(|(name, at)| (name.clone(), past(*at)))
                .collect()
        };
        self.reading = self.reading.map(|r| {
            Arc::new(Reading {
                fetched_at: past(r.fetched_at),
                ..Reading::clone(&r)
            })
        });
        self.failure = self.failure.map(|l| {
            Arc::new(Lapse {
                at: past(l.at),
                ..Lapse::clone(&l)
            })
        });
        self.stamps = stamps(&self.stamps);
        self.footing = stamps(&self.footing);
        self.trail.last = self.trail.last.map(past);
        self.trail.failing_since = self.trail.failing_since.map(past);
        let hold = |until: Time| raw(until).min(now.after(LONGEST_HOLD));
        let moved = |t: &Try| Try {
            at: past(t.at),
            held_until: t.held_until.map(hold),
            ..t.clone()
        };
        self.trail.tries = self.trail.tries.iter().map(moved).collect();
        let moved = |streak: &Streak| Streak {
            since: past(streak.since),
            ..streak.clone()
        };
        self.trail.streaks = self.trail.streaks.iter().map(moved).collect();
        self
    }
}

impl Entry {
    /// This entry with what was kept of its source, newest wins.
    #[must_use]
    pub fn restore(&self, saved: &Saved) -> Self {
        let mut entry = self.clone();
        if entry.reading < saved.reading {
            entry.reading.clone_from(&saved.reading);
            entry.stamps = Arc::clone(&saved.stamps);
        }
        if entry.failure < saved.failure {
            entry.failure.clone_from(&saved.failure);
        }
        if entry.trail.last < saved.trail.last {
            entry.trail = Trail {
                next: entry.trail.next,
                ..saved.trail.clone()
            };
            entry.footing = Arc::clone(&saved.footing);
        }
        entry.held_back()
    }

    /// This entry with what another replica knows of its source, newest wins, and what that changed. The other one may
    /// have been told of other providers; of those nothing is kept.
    #[must_use]
    pub fn hear(&self, saved: &Saved) -> (Self, Turns) {
        let known = |one: &&Try| {
            self.source
                .providers()
                .iter()
                .any(|p| p.name == one.provider)
        };
        let tries = saved.trail.tries.iter().filter(known).cloned().collect();
        let known = |one: &&Streak| {
            self.source
                .providers()
                .iter()
                .any(|p| p.name == one.provider)
        };
        let streaks = saved.trail.streaks.iter().filter(known).cloned().collect();
        let heard = Saved {
            trail: Trail {
                tries,
                streaks,
                ..saved.trail.clone()
            },
            ..saved.clone()
        };
        let entry = self.restore(&heard);
        let turns = self.turns(&entry, heard.trail.last.unwrap_or_default());
        (entry, turns)
    }

    /// Whether another replica knows something of this source that is new here.
    pub fn learns_from(&self, saved: &Saved) -> bool {
        self.reading < saved.reading
            || self.failure < saved.failure
            || self.trail.last < saved.trail.last
    }
}
