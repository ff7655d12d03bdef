//! History of the panel's charts: the recent numbers of every source, so that a page does not begin
//! with empty charts.
//!
//! A background task fills it from the snapshot. It is bounded in sources, numbers and readings,
//! and not persisted.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::aggregate::Cache;
use crate::domain::{ClockShift, Name, Reading, Snapshot, SourceIdentity, SourceSet, Time};
use crate::metrics::collect_numbers;

use super::assets::PanelAsset;
use super::series::{MAX_COLUMNS, SourceSeries};

/// Maximum number of sources: the first ones of the configuration.
const MAX_SOURCES: usize = 500;

/// Maximum length of data that is searched for numbers, in bytes.
const MAX_DATA_BYTES: usize = 256 * 1024;

/// How long a serialised history is reused, so that many pages that open at once cost one
/// serialisation.
const CACHE_LIFETIME: Duration = Duration::from_secs(1);

/// The history of all sources.
#[derive(Debug, Default)]
pub(crate) struct PanelHistory {
    state: Mutex<HistoryState>,
    /// The serialised history, with a lock of its own: a serving thread must not wait for one that
    /// serialises.
    cached_asset: Mutex<Option<(Time, Arc<PanelAsset>)>>,
}

/// The series of all sources.
#[derive(Debug, Default)]
struct HistoryState {
    /// By identity: a reload that changes the meaning of a source's numbers changes its identity,
    /// and its series restarts.
    series: HashMap<SourceIdentity, (Name, SourceSeries)>,
    source_set: Arc<SourceSet>,
    /// The shift of the times in the asset.
    clock_shift: ClockShift,
}

impl PanelHistory {
    /// Records every reading that `cache` publishes, until `stop` is cancelled.
    pub(crate) async fn record_changes(&self, cache: &Cache, stop: &CancellationToken) {
        let mut changes = cache.subscribe();
        let mut recorded = None;
        loop {
            // Marked before the snapshot is read: a change in between wakes the wait below.
            changes.mark_unchanged();
            let snapshot = cache.snapshot();
            self.record_snapshot(&snapshot, recorded.as_deref());
            recorded = Some(snapshot);
            tokio::select! {
                () = stop.cancelled() => return,
                published = changes.changed() => if published.is_err() { return },
            }
        }
    }

    /// The history, if it was serialised less than [`CACHE_LIFETIME`] ago.
    pub(crate) fn recent_asset(&self, now: Time) -> Option<Arc<PanelAsset>> {
        let cached = self.cached_asset.lock();
        let (_, asset) = cached
            .as_ref()
            .filter(|(made_at, _)| now.since(*made_at) < CACHE_LIFETIME)?;
        Some(Arc::clone(asset))
    }

    /// `{source: {"times": […], "values": {path: […]}}}`, at most a second old.
    pub(crate) fn history_asset(&self, now: Time) -> Arc<PanelAsset> {
        if let Some(asset) = self.recent_asset(now) {
            return asset;
        }
        let history = self.state.lock();
        let body = history.to_json().into();
        let asset = Arc::new(PanelAsset::new("application/json", body));
        *self.cached_asset.lock() = Some((now, Arc::clone(&asset)));
        asset
    }

    /// Records the readings of `snapshot` that differ from those of `recorded`, the snapshot before it.
    fn record_snapshot(&self, snapshot: &Snapshot, recorded: Option<&Snapshot>) {
        let source_set = snapshot.source_set();
        let mut history = self.state.lock();
        history.retain_sources(source_set);
        history.clock_shift = snapshot.clock_shift();
        drop(history);
        // A publication changes one source. To compare pointers costs less than to look up each series.
        let recorded_states = recorded.map_or(&[][..], Snapshot::source_states);
        let states = snapshot.source_states().iter().enumerate();
        for (position, state) in states.take(MAX_SOURCES) {
            let is_same = |recorded| Arc::ptr_eq(recorded, state);
            if recorded_states.get(position).is_some_and(is_same) {
                continue;
            }
            if let Some(reading) = &state.reading {
                self.record_reading(source_set.identity(position), &state.source.name, reading);
            }
        }
    }

    fn record_reading(&self, identity: SourceIdentity, name: &Name, reading: &Reading) {
        let is_recorded = self
            .state
            .lock()
            .series
            .get(&identity)
            .is_some_and(|(_, series)| series.is_recorded(reading.fetched_at));
        if is_recorded {
            return;
        }
        // Without the lock: a request for the history must not wait for the search of a large body.
        let numbers = collect_reading_numbers(reading);
        let mut history = self.state.lock();
        let (_, series) = history
            .series
            .entry(identity)
            .or_insert_with(|| (name.clone(), SourceSeries::default()));
        series.push_reading(reading.fetched_at, &numbers);
    }
}

impl HistoryState {
    /// Removes the series of sources that are not in `source_set`.
    fn retain_sources(&mut self, source_set: &Arc<SourceSet>) {
        if !Arc::ptr_eq(&self.source_set, source_set) {
            let identities: HashSet<SourceIdentity> = (0..source_set.sources().len())
                .map(|position| source_set.identity(position))
                .collect();
            self.series
                .retain(|identity, _| identities.contains(identity));
            self.source_set = Arc::clone(source_set);
        }
    }

    fn to_json(&self) -> String {
        let mut out = String::from("{");
        for (index, (name, series)) in self.series.values().enumerate() {
            out.push_str(if index > 0 { ",\"" } else { "\"" });
            // A source's name has no character that JSON escapes.
            out.push_str(name.as_str());
            out.push_str("\":");
            series.write_json(&mut out, self.clock_shift);
        }
        out.push('}');
        out
    }
}

fn collect_reading_numbers(reading: &Reading) -> Vec<(String, f64)> {
    if reading.data.as_json().len() > MAX_DATA_BYTES {
        return Vec::new();
    }
    collect_numbers(&reading.data)
        .by_path
        .into_iter()
        .take(MAX_COLUMNS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{FreshnessPolicy, JsonData, Outcome, Schedule, Source, SourceKind};

    fn source(name: &str) -> Arc<Source> {
        let second = Duration::from_secs(1);
        let schedule = Schedule {
            interval: second,
            timeout: second,
            min_interval: second,
            hedge_after: None,
        };
        Arc::new(Source {
            name: Name::new(name).unwrap(),
            kind: SourceKind::Fetched {
                providers: Vec::new(),
                schedule,
            },
            freshness_policy: FreshnessPolicy {
                ttl: second,
                max_stale: second,
            },
            attribution: None,
        })
    }

    fn outcome(name: &str, fetched_at: i64, json: &str) -> Outcome {
        let identity = SourceIdentity::from_source(&source(name));
        let source = Name::new(name).unwrap();
        let fetched_at = Time::from_millis(fetched_at);
        let reading = Reading {
            fetched_at,
            provider: source.clone(),
            data: JsonData::from_checked(json),
            extra_ttl: Duration::ZERO,
        };
        Outcome {
            source,
            identity,
            started_at: fetched_at,
            duration: Duration::ZERO,
            result: Ok(reading),
            provider_attempts: Vec::new(),
        }
    }

    fn history_json(history: &PanelHistory, now: i64) -> String {
        String::from_utf8(
            history
                .history_asset(Time::from_millis(now))
                .forms
                .body()
                .to_vec(),
        )
        .unwrap()
    }

    #[test]
    fn readings_are_recorded_once() {
        let history = PanelHistory::default();
        let mut snapshot = Snapshot::new(Arc::new(SourceSet::new(vec![source("btc")])));
        for (at, json) in [(10, r#"{"usd":1.5,"t":"x"}"#), (20, r#"{"usd":2}"#)] {
            snapshot = snapshot.merge_outcome(&outcome("btc", at, json)).snapshot;
            history.record_snapshot(&snapshot, None);
            history.record_snapshot(&snapshot, None);
        }
        let expected = r#"{"btc":{"times":[10,20],"values":{"usd":[1.5,2]}}}"#;
        assert_eq!(history_json(&history, 1000), expected);
        let later = snapshot.merge_outcome(&outcome("btc", 30, "7")).snapshot;
        history.record_snapshot(&later, Some(&snapshot));
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
        history.record_snapshot(&both, None);
        let changed = Arc::new(SourceSet::new(vec![source("b"), source("c")]));
        history.record_snapshot(&both.with_source_set(changed), Some(&both));
        assert_eq!(
            history_json(&history, 1),
            r#"{"b":{"times":[1],"values":{"":[1]}}}"#
        );
    }
}
