//! The newest reading and the newest failure of every source; immutable; swapped as a whole.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Code, Data, Derivation, Entry, Freshness, Identity, Name, Outcome, Roster, Saved, Source, Time,
    Turns,
};

/// What is known of every source. Cheap to clone; a merge copies one pointer per source.
#[derive(Debug, Clone)]
pub struct Snapshot {
    roster: Arc<Roster>,
    entries: Vec<Arc<Entry>>,
}

/// A snapshot with an outcome in it, and what that changed.
#[derive(Debug)]
pub struct Merged {
    /// The new snapshot.
    pub snapshot: Snapshot,
    /// What changed about the source's health.
    pub turns: Turns,
    /// Whether the outcome belonged to somebody.
    pub taken: bool,
}

/// What an answer says of one source at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct State<'s> {
    /// Fresh, stale or missing.
    pub freshness: Freshness,
    /// The reading, unless missing.
    pub reading: Option<Shown<'s>>,
    /// Why the latest attempt failed, or why the reading is missing.
    pub error: Option<Trouble<'s>>,
    /// How long the latest finished attempt took.
    pub took: Option<Duration>,
    /// Milliseconds of freshness left (ttl − age), negative once stale; none when missing.
    pub left: Option<i64>,
}

/// A reading as an answer shows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown<'s> {
    /// The data.
    pub data: &'s Data,
    /// Who told it; a derived source's own name.
    pub provider: &'s Name,
    /// When it was asked; of a derived source, when its oldest input was.
    pub fetched_at: Time,
}

/// What an answer says of a failure.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble<'s> {
    /// The stable code.
    pub code: Code,
    /// The message; of a derived source it names the input.
    pub message: Cow<'s, str>,
    /// When it began, if attempts fail.
    pub since: Option<Time>,
}

impl State<'_> {
    /// Whether there is a reading that is past its ttl.
    pub fn is_stale(&self) -> bool {
        self.freshness == Freshness::Stale
    }
}

impl Snapshot {
    /// A snapshot that knows nothing yet.
    pub fn new(roster: Arc<Roster>) -> Self {
        let entries = roster
            .sources()
            .iter()
            .map(|s| Arc::new(Entry::new(Arc::clone(s), true)))
            .collect();
        Self { roster, entries }
    }

    /// The sources that it speaks of.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// What is known of each source, in the roster's order.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// What is known of the source of this name.
    pub fn entry(&self, name: &str) -> Option<&Arc<Entry>> {
        self.roster.position(name).map(|i| &self.entries[i])
    }

    /// This snapshot with an outcome merged in, newest wins; unchanged if it belongs to nobody here, as does one that was
    /// extracted by a filter that a reload has replaced.
    #[must_use]
    pub fn merge(&self, outcome: &Outcome) -> Merged {
        let mut snapshot = self.clone();
        let Some(at) = self.home(&outcome.source, outcome.identity) else {
            return Merged {
                snapshot,
                turns: Turns::default(),
                taken: false,
            };
        };
        let (entry, turns) = self.entries[at].merge(outcome);
        snapshot.entries[at] = Arc::new(entry);
        Merged {
            snapshot,
            turns,
            taken: true,
        }
    }

    /// This snapshot with what was kept of its sources, newest wins; what belongs to nobody here is left out.
    #[must_use]
    pub fn restore(&self, kept: &[Saved]) -> Self {
        let mut snapshot = self.clone();
        for saved in kept {
            if let Some(at) = self.home(&saved.name, saved.identity) {
                snapshot.entries[at] = Arc::new(snapshot.entries[at].restore(saved));
            }
        }
        snapshot
    }

    /// This snapshot with what another replica knows of a source, newest wins; unchanged if it belongs to nobody here.
    #[must_use]
    pub fn hear(&self, saved: &Saved) -> Merged {
        let mut snapshot = self.clone();
        let Some(at) = self.home(&saved.name, saved.identity) else {
            return Merged {
                snapshot,
                turns: Turns::default(),
                taken: false,
            };
        };
        let (entry, turns) = self.entries[at].hear(saved);
        snapshot.entries[at] = Arc::new(entry);
        Merged {
            snapshot,
            turns,
            taken: true,
        }
    }

    /// Whether another replica knows something of a source that is new here, or that this one has no plan for yet.
    pub fn learns_from(&self, saved: &Saved) -> bool {
        let home = self
            .home(&saved.name, saved.identity)
            .map(|at| &self.entries[at]);
        home.is_some_and(|entry| entry.trail.next.is_none() || entry.learns_from(saved))
    }

    /// This snapshot with every attempt that is planned planned anew; a plan never hastens what a provider forbade.
    #[must_use]
    pub fn replanned(&self, plan: impl Fn(&Entry) -> Option<Time>) -> Self {
        let mut snapshot = self.clone();
        for slot in snapshot
            .entries
            .iter_mut()
            .filter(|entry| entry.trail.next.is_some())
        {
            let mut entry = Entry::clone(slot);
            entry.trail.next = plan(&entry).or(entry.trail.next);
            *slot = Arc::new(entry.held_back());
        }
        snapshot
    }

    /// What is to be kept of the source of this name.
    pub fn saved_of(&self, name: &Name) -> Option<Saved> {
        let at = self.roster.position(name.as_str())?;
        Saved::of(&self.entries[at], self.roster.identity(at))
    }

    /// What is to be kept of its sources.
    pub fn saved(&self) -> Vec<Saved> {
        let saved = |(at, entry): (usize, &Arc<Entry>)| Saved::of(entry, self.roster.identity(at));
        self.entries.iter().enumerate().filter_map(saved).collect()
    }

    fn home(&self, name: &Name, identity: Identity) -> Option<usize> {
        self.roster
            .position(name.as_str())
            .filter(|at| self.roster.identity(*at) == identity)
    }

    /// This snapshot with the next attempt at a source planned.
    #[must_use]
    pub fn planned(mut self, name: &Name, next: Option<Time>) -> Self {
        if let Some(at) = self.roster.position(name.as_str()) {
            let mut entry = Entry::clone(&self.entries[at]);
            entry.trail.next = next;
            self.entries[at] = Arc::new(entry);
        }
        self
    }

    /// This snapshot with a derived source computed anew; unchanged if a reload has made it another one meanwhile.
    #[must_use]
    pub fn derive(&self, name: &Name, derivation: &Derivation) -> Self {
        let mut snapshot = self.clone();
        if let Some(at) = self.home(name, derivation.identity) {
            snapshot.entries[at] = Arc::new(self.entries[at].derive(name, derivation));
        }
        snapshot
    }

    /// What is known, under another configuration: a source keeps it as long as its identity is the same; new ones begin
    /// with nothing and nobody waits for them.
    #[must_use]
    pub fn under(&self, roster: Arc<Roster>) -> Self {
        let entry = |(at, source): (usize, &Arc<Source>)| match self
            .home(&source.name, roster.identity(at))
        {
            Some(known) => self.entries[known].under(source),
            None => Entry::new(Arc::clone(source), false),
        };
        let entries = roster
            .sources()
            .iter()
            .enumerate()
            .map(|each| Arc::new(entry(each)))
            .collect();
        Self { roster, entries }
    }

    /// Whether nothing is left to wait for before this source can be answered: an attempt ended, or a reading was
    /// restored, or a reload added it.
    pub fn settled(&self, position: usize) -> bool {
        let entry = &self.entries[position];
        if !entry.awaited || entry.reading.is_some() || entry.failure.is_some() {
            return true;
        }
        let hopeless = |input: &Name| match self.roster.position(input.as_str()) {
            Some(at) => self.settled(at) && self.entries[at].reading.is_none(),
            None => true,
        };
        entry.source.inputs().iter().any(hopeless)
    }

    /// What an answer says of the source at `position`.
    pub fn state(&self, position: usize, now: Time) -> State<'_> {
        let entry = &self.entries[position];
        let freshness = self.freshness(entry, now);
        let usable = entry
            .reading
            .as_ref()
            .filter(|_| freshness != Freshness::Missing);
        let reading = usable.map(|r| Shown {
            data: &r.data,
            provider: &r.provider,
            fetched_at: r.fetched_at,
        });
        let error = self.trouble(entry, freshness, now);
        let left = reading.and_then(|_| {
            self.stamps(entry)
                .map(|(input, at)| input.source.shelf.left(at, now))
                .min()
        });
        State {
            freshness,
            reading,
            error,
            took: entry.trail.took,
            left,
        }
    }

    /// When the source at `position` will be asked next; of a derived source, the soonest of its inputs.
    pub fn next_attempt(&self, position: usize) -> Option<Time> {
        let entry = &self.entries[position];
        let of = |name: &Name| self.next_attempt(self.roster.position(name.as_str())?);
        entry
            .trail
            .next
            .or_else(|| entry.source.inputs().iter().filter_map(of).min())
    }

    /// The readings of fetched sources on which the reading of the source at `position` rests, were it made now: its
    /// own, or those below a derived source's inputs. None while one of them has no reading.
    pub fn footing(&self, position: usize) -> Option<Vec<(Name, Time)>> {
        let entry = &self.entries[position];
        if entry.source.pace().is_some() {
            return Some(vec![(
                entry.source.name.clone(),
                entry.reading.as_ref()?.fetched_at,
            )]);
        }
        let mut stamps = std::collections::BTreeMap::new();
        for name in entry.source.inputs() {
            let input = &self.entries[self.roster.position(name.as_str())?];
            let reading = input.reading.as_ref()?;
            let own = [(name.clone(), reading.fetched_at)];
            let below: &[(Name, Time)] = if input.source.pace().is_some() {
                &own
            } else {
                &input.stamps
            };
            for (leaf, at) in below {
                let oldest = stamps.entry(leaf.clone()).or_insert(*at);
                *oldest = (*oldest).min(*at);
            }
        }
        Some(stamps.into_iter().collect())
    }

    /// Whether a derived source was computed from what its inputs tell now, or cannot be.
    pub fn derived_is_current(&self, position: usize) -> bool {
        let entry = &self.entries[position];
        entry.source.pace().is_some()
            || self
                .footing(position)
                .is_none_or(|footing| *footing == *entry.footing)
    }

    /// Failed attempts since the last success of the source at `position`; of a derived source the most of its own and its
    /// inputs': what it cannot be computed from makes it fail as often.
    pub fn failures(&self, position: usize) -> u32 {
        let entry = &self.entries[position];
        let of_input = |name: &Name| {
            self.roster
                .position(name.as_str())
                .map_or(0, |at| self.failures(at))
        };
        entry
            .source
            .inputs()
            .iter()
            .map(of_input)
            .fold(entry.trail.failures, u32::max)
    }

    /// The last instant at which every state of `now` still holds; none if nothing will change by age alone.
    pub fn holds_until(&self, position: usize, now: Time) -> Option<Time> {
        let entry = &self.entries[position];
        entry.reading.as_ref()?;
        let own = self
            .stamps(entry)
            .filter_map(|(input, at)| input.source.shelf.holds_until(at, now));
        let of_input = |name: &Name| self.holds_until(self.roster.position(name.as_str())?, now);
        own.chain(entry.source.inputs().iter().filter_map(of_input))
            .min()
    }

    fn freshness(&self, entry: &Entry, now: Time) -> Freshness {
        self.stamps(entry)
            .map(|(input, at)| input.source.shelf.judge(at, now))
            .max()
            .unwrap_or(Freshness::Missing)
    }

    /// The fetched sources and instants on which the reading of `entry` rests.
    fn stamps<'s>(&'s self, entry: &'s Entry) -> impl Iterator<Item = (&'s Entry, Time)> {
        let fetched = entry.source.pace().is_some();
        let own = entry
            .reading
            .as_ref()
            .filter(|_| fetched)
            .map(|r| (entry, r.fetched_at));
        let below = entry
            .stamps
            .iter()
            .filter_map(|(name, at)| Some((&**self.entry(name.as_str())?, *at)));
        own.into_iter().chain(below)
    }

    fn trouble<'s>(
        &'s self,
        entry: &'s Entry,
        freshness: Freshness,
        now: Time,
    ) -> Option<Trouble<'s>> {
        if let Some(lapse) = entry.failing() {
            return Some(Trouble {
                code: lapse.failure.code,
                message: Cow::Borrowed(&lapse.failure.message),
                since: Some(entry.trail.failing_since.unwrap_or(lapse.at)),
            });
        }
        if let Some(trouble) = self.trouble_of_input(entry, now) {
            return Some(trouble);
        }
        let unexplained = |code, message| {
            Some(Trouble {
                code,
                message: Cow::Borrowed(message),
                since: None,
            })
        };
        match (freshness, &entry.reading) {
            (Freshness::Missing, None) => unexplained(Code::Pending, "no attempt has ended yet"),
            (Freshness::Missing, Some(_)) => unexplained(
                Code::Expired,
                "the last reading is older than ttl + max_stale",
            ),
            _ => None,
        }
    }

    fn trouble_of_input<'s>(&'s self, entry: &'s Entry, now: Time) -> Option<Trouble<'s>> {
        entry.source.inputs().iter().find_map(|name| {
            let input = self
                .state(self.roster.position(name.as_str())?, now)
                .error?;
            let message = Cow::Owned(format!("input `{name}`: {}", input.message));
            Some(Trouble { message, ..input })
        })
    }
}
