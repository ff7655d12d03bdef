//! What the lines of the panel remember, so that a page that is opened or loaded again does not begin empty.
//!
//! Fed from the snapshot by one background task; bounded in sources, numbers and readings; lost with the process.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::domain::{Identity, Name, Reading, Roster, Snapshot, Time};
use crate::http::numbers::numbers;

use super::page::File;
use super::track::{COLUMNS, Track};

/// The most sources that are remembered: the first ones of the configuration.
const SOURCES: usize = 500;

/// Data longer than this, in bytes, is not searched for numbers.
const LONGEST: usize = 256 * 1024;

/// How long a text may be handed out again, so that many pages that open at once cost one writing.
const REUSED: Duration = Duration::from_secs(1);

/// The recent numbers of all sources.
#[derive(Debug, Default)]
pub(in crate::http) struct History(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    /// A reload that changes what a source's numbers mean changes its identity, and its line begins anew.
    tracks: HashMap<Identity, (Name, Track)>,
    roster: Arc<Roster>,
    written: Option<(Time, Arc<File>)>,
}

impl History {
    /// Remembers every reading that `cache` publishes, until `stop`.
    pub(in crate::http) async fn follow(&self, cache: &Cache, stop: &CancellationToken) {
        let mut changes = cache.subscribe();
        loop {
            changes.mark_unchanged();
            self.take(&cache.snapshot());
            tokio::select! {
                () = stop.cancelled() => return,
                published = changes.changed() => if published.is_err() { return },
            }
        }
    }

    /// `{source: {"times": […], "values": {path: […]}}}`, at most a second old.
    pub(super) fn file(&self, now: Time) -> Arc<File> {
        let mut memory = self.lock();
        if let Some((at, file)) = &memory.written
            && now.since(*at) < REUSED
        {
            return Arc::clone(file);
        }
        let file = Arc::new(File::new("application/json", memory.write().into()));
        memory.written = Some((now, Arc::clone(&file)));
        file
    }

    fn take(&self, snapshot: &Snapshot) {
        self.lock().adopt(snapshot.roster());
        for (at, entry) in snapshot.entries().iter().enumerate().take(SOURCES) {
            if let Some(reading) = &entry.reading {
                self.remember(snapshot.roster().identity(at), &entry.source.name, reading);
            }
        }
    }

    fn remember(&self, identity: Identity, name: &Name, reading: &Reading) {
        let known = |memory: &Memory| {
            memory
                .tracks
                .get(&identity)
                .is_some_and(|(_, track)| track.has(reading.fetched_at))
        };
        if known(&self.lock()) {
            return;
        }
        // Outside the lock: a page that asks does not wait for a large body to be searched.
        let numbers = numbers_of(reading);
        let mut memory = self.lock();
        let (_, track) = memory
            .tracks
            .entry(identity)
            .or_insert_with(|| (name.clone(), Track::default()));
        track.push(reading.fetched_at, &numbers);
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Forgets what the sources of this roster do not go on.
    fn adopt(&mut self, roster: &Arc<Roster>) {
        if !Arc::ptr_eq(&self.roster, roster) {
            let here: HashSet<Identity> = (0..roster.sources().len())
                .map(|at| roster.identity(at))
                .collect();
            self.tracks.retain(|identity, _| here.contains(identity));
            self.roster = Arc::clone(roster);
        }
    }

    fn write(&self) -> String {
        let mut out = String::from("{");
        for (at, (name, track)) in self.tracks.values().enumerate() {
            out.push_str(if at > 0 { ",\"" } else { "\"" });
            // A name's alphabet needs no escapes.
            out.push_str(name.as_str());
            out.push_str("\":");
            track.write(&mut out);
        }
        out.push('}');
        out
    }
}

fn numbers_of(reading: &Reading) -> Vec<(String, f64)> {
    if reading.data.as_json().len() > LONGEST {
        return Vec::new();
    }
    let found = numbers(&reading.data)
        .found
        .into_iter()
        .filter_map(|(path, number)| Some((path, number.as_f64()?)));
    found.take(COLUMNS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Data, Kind, Outcome, Pace, Shelf, Source};

    fn source(name: &str) -> Arc<Source> {
        let second = Duration::from_secs(1);
        let pace = Pace {
            interval: second,
            timeout: second,
            min_interval: second,
            hedge_after: None,
        };
        Arc::new(Source {
            name: Name::new(name).unwrap(),
            kind: Kind::Fetched {
                providers: Vec::new(),
                pace,
            },
            shelf: Shelf {
                ttl: second,
                max_stale: second,
            },
            attribution: None,
        })
    }

    fn outcome(name: &str, at: i64, json: &str) -> Outcome {
        let identity = Identity::of(&source(name));
        let (source, at) = (Name::new(name).unwrap(), Time::from_millis(at));
        let reading = Reading {
            fetched_at: at,
            provider: source.clone(),
            data: Data::from_checked(json),
        };
        Outcome {
            source,
            identity,
            at,
            took: Duration::ZERO,
            result: Ok(reading),
            tries: Vec::new(),
        }
    }

    fn text(history: &History, now: i64) -> String {
        String::from_utf8(history.file(Time::from_millis(now)).body.to_vec()).unwrap()
    }

    #[test]
    fn each_reading_is_remembered_once_and_the_text_is_written_once_a_second() {
        let history = History::default();
        let mut snapshot = Snapshot::new(Arc::new(Roster::new(vec![source("btc")])));
        for (at, json) in [(10, r#"{"usd":1.5,"t":"x"}"#), (20, r#"{"usd":2}"#)] {
            snapshot = snapshot.merge(&outcome("btc", at, json)).snapshot;
            history.take(&snapshot);
            history.take(&snapshot);
        }
        let expected = r#"{"btc":{"times":[10,20],"values":{"usd":[1.5,2]}}}"#;
        assert_eq!(text(&history, 1000), expected);
        history.take(&snapshot.merge(&outcome("btc", 30, "7")).snapshot);
        assert_eq!(text(&history, 1999), expected);
        let expected =
            r#"{"btc":{"times":[10,20,30],"values":{"usd":[1.5,2,null],"":[null,null,7]}}}"#;
        assert_eq!(text(&history, 2000), expected);
    }

    #[test]
    fn sources_that_are_gone_are_forgotten() {
        let history = History::default();
        let both = Snapshot::new(Arc::new(Roster::new(vec![source("a"), source("b")])));
        let both = both
            .merge(&outcome("a", 1, "1"))
            .snapshot
            .merge(&outcome("b", 1, "1"))
            .snapshot;
        history.take(&both);
        history.take(&both.under(Arc::new(Roster::new(vec![source("b"), source("c")]))));
        assert_eq!(
            text(&history, 1),
            r#"{"b":{"times":[1],"values":{"":[1]}}}"#
        );
    }
}
