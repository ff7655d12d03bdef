//! What the lines of the panel remember, so that a page that is opened or loaded again does not begin empty.
//!
//! Fed from the snapshot by one background task; bounded in sources, numbers and readings; lost with the process.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use crate::aggregate::Cache;
use crate::domain::{Name, Reading, Snapshot, SourceIdentity, SourceSet, Time};
use crate::metrics::collect_numbers;

use super::assets::PanelAsset;
use super::series::{MAX_COLUMNS, SourceSeries};

/// The most sources that are remembered: the first ones of the configuration.
const MAX_SOURCES: usize = 500;

/// Data longer than this, in bytes, is not searched for numbers.
const MAX_DATA_BYTES: usize = 256 * 1024;

/// How long a text may be handed out again, so that many pages that open at once cost one writing.
const CACHE_LIFETIME: Duration = Duration::from_secs(1);

/// The recent numbers of all sources.
#[derive(Debug, Default)]
pub(crate) struct PanelHistory(Mutex<HistoryState>);

#[derive(Debug, Default)]
struct HistoryState {
    /// A reload that changes what a source's numbers mean changes its identity, and its line begins anew.
    series: HashMap<SourceIdentity, (Name, SourceSeries)>,
    roster: Arc<SourceSet>,
    cached_asset: Option<(Time, Arc<PanelAsset>)>,
}

impl PanelHistory {
    /// Remembers every reading that `cache` publishes, until `stop`.
    pub(crate) async fn record_changes(&self, cache: &Cache, stop: &CancellationToken) {
        let mut changes = cache.subscribe();
        loop {
            changes.mark_unchanged();
            self.record_snapshot(&cache.snapshot());
            tokio::select! {
                () = stop.cancelled() => return,
                published = changes.changed() => if published.is_err() { return },
            }
        }
    }

    /// `{source: {"times": […], "values": {path: […]}}}`, at most a second old.
    pub(crate) fn history_asset(&self, now: Time) -> Arc<PanelAsset> {
        let mut memory = self.lock_state();
        if let Some((at, file)) = &memory.cached_asset
            && now.since(*at) < CACHE_LIFETIME
        {
            return Arc::clone(file);
        }
        let file = Arc::new(PanelAsset::new("application/json", memory.to_json().into()));
        memory.cached_asset = Some((now, Arc::clone(&file)));
        file
    }

    fn record_snapshot(&self, snapshot: &Snapshot) {
        self.lock_state().retain_sources(snapshot.source_set());
        for (at, entry) in snapshot
            .source_states()
            .iter()
            .enumerate()
            .take(MAX_SOURCES)
        {
            if let Some(reading) = &entry.reading {
                self.record_reading(
                    snapshot.source_set().identity(at),
                    &entry.source.name,
                    reading,
                );
            }
        }
    }

    fn record_reading(&self, identity: SourceIdentity, name: &Name, reading: &Reading) {
        let known = |memory: &HistoryState| {
            memory
                .series
                .get(&identity)
                .is_some_and(|(_, track)| track.is_recorded(reading.fetched_at))
        };
        if known(&self.lock_state()) {
            return;
        }
        // Outside the lock: a page that asks does not wait for a large body to be searched.
        let numbers = collect_reading_numbers(reading);
        let mut memory = self.lock_state();
        let (_, track) = memory
            .series
            .entry(identity)
            .or_insert_with(|| (name.clone(), SourceSeries::default()));
        track.push_reading(reading.fetched_at, &numbers);
    }

    fn lock_state(&self) -> MutexGuard<'_, HistoryState> {
        self.0.lock()
    }
}

impl HistoryState {
    /// Forgets what the sources of this roster do not go on.
    fn retain_sources(&mut self, roster: &Arc<SourceSet>) {
        if !Arc::ptr_eq(&self.roster, roster) {
            let here: HashSet<SourceIdentity> = (0..roster.sources().len())
                .map(|at| roster.identity(at))
                .collect();
            self.series.retain(|identity, _| here.contains(identity));
            self.roster = Arc::clone(roster);
        }
    }

    fn to_json(&self) -> String {
        let mut out = String::from("{");
        for (at, (name, track)) in self.series.values().enumerate() {
            out.push_str(if at > 0 { ",\"" } else { "\"" });
            // A name's alphabet needs no escapes.
            out.push_str(name.as_str());
            out.push_str("\":");
            track.write_json(&mut out);
        }
        out.push('}');
        out
    }
}

fn collect_reading_numbers(reading: &Reading) -> Vec<(String, f64)> {
    if reading.data.as_json().len() > MAX_DATA_BYTES {
        return Vec::new();
    }
    let found = collect_numbers(&reading.data)
        .by_path
        .into_iter()
        .filter_map(|(path, number)| Some((path, number.as_f64()?)));
    found.take(MAX_COLUMNS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{FreshnessPolicy, JsonData, Outcome, Schedule, Source, SourceKind};

    fn source(name: &str) -> Arc<Source> {
        let second = Duration::from_secs(1);
        let pace = Schedule {
            interval: second,
            timeout: second,
            min_interval: second,
            hedge_after: None,
        };
        Arc::new(Source {
            name: Name::new(name).unwrap(),
            kind: SourceKind::Fetched {
                providers: Vec::new(),
                schedule: pace,
            },
            freshness_policy: FreshnessPolicy {
                ttl: second,
                max_stale: second,
            },
            attribution: None,
        })
    }

    fn outcome(name: &str, at: i64, json: &str) -> Outcome {
        let identity = SourceIdentity::from_source(&source(name));
        let (source, at) = (Name::new(name).unwrap(), Time::from_millis(at));
        let reading = Reading {
            fetched_at: at,
            provider: source.clone(),
            data: JsonData::from_checked(json),
        };
        Outcome {
            source,
            identity,
            started_at: at,
            duration: Duration::ZERO,
            result: Ok(reading),
            provider_attempts: Vec::new(),
        }
    }

    fn history_json(history: &PanelHistory, now: i64) -> String {
        String::from_utf8(history.history_asset(Time::from_millis(now)).body.to_vec()).unwrap()
    }

    #[test]
    fn readings_are_recorded_once() {
        let history = PanelHistory::default();
        let mut snapshot = Snapshot::new(Arc::new(SourceSet::new(vec![source("btc")])));
        for (at, json) in [(10, r#"{"usd":1.5,"t":"x"}"#), (20, r#"{"usd":2}"#)] {
            snapshot = snapshot.merge_outcome(&outcome("btc", at, json)).snapshot;
            history.record_snapshot(&snapshot);
            history.record_snapshot(&snapshot);
        }
        let expected = r#"{"btc":{"times":[10,20],"values":{"usd":[1.5,2]}}}"#;
        assert_eq!(history_json(&history, 1000), expected);
        history.record_snapshot(&snapshot.merge_outcome(&outcome("btc", 30, "7")).snapshot);
        assert_eq!(history_json(&history, 1999), expected);
        let expected =
            r#"{"btc":{"times":[10,20,30],"values":{"usd":[1.5,2,null],"":[null,null,7]}}}"#;
        assert_eq!(history_json(&history, 2000), expected);
    }

    #[test]
    fn removed_source_is_forgotten() {
        let history = PanelHistory::default();
        let both = Snapshot::new(Arc::new(SourceSet::new(vec![source("a"), source("b")])));
        let both = both
            .merge_outcome(&outcome("a", 1, "1"))
            .snapshot
            .merge_outcome(&outcome("b", 1, "1"))
            .snapshot;
        history.record_snapshot(&both);
        history.record_snapshot(
            &both.with_source_set(Arc::new(SourceSet::new(vec![source("b"), source("c")]))),
        );
        assert_eq!(
            history_json(&history, 1),
            r#"{"b":{"times":[1],"values":{"":[1]}}}"#
        );
    }
}
