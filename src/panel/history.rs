//! History of the panel's charts: the recent numbers of every source, so that a page does not begin
//! with empty charts.
//!
//! A background task fills it from the snapshot. It is bounded in sources, numbers and readings,
//! and not persisted.

use std::collections::{HashMap, HashSet};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::aggregate::Cache;
use crate::domain::{ClockShift, Name, Snapshot, SourceIdentity, SourceSet, Time};
use crate::metrics::{ExtractedNumbers, SourceNumbers};
use crate::process::{Clock, SendBudget};

use super::assets::PanelAsset;
use super::series::SourceSeries;

/// Maximum number of sources: the first ones of the configuration.
const MAX_SOURCES: usize = 500;

/// How long a serialised history is reused, so that many pages that open at once cost one
/// serialisation.
const CACHE_LIFETIME: Duration = Duration::from_secs(1);

/// Time after a publication in which further ones are gathered: the sources of a live request end
/// within milliseconds, and each search costs a thread's wake-up.
const GATHER_TIME: Duration = Duration::from_millis(50);

/// The history of all sources.
#[derive(Debug, Default)]
pub(crate) struct PanelHistory {
    state: Mutex<HistoryState>,
    numbers: Arc<SourceNumbers>,
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
    /// The history before the first reading, of the numbers that `numbers` finds.
    pub(crate) fn new(numbers: Arc<SourceNumbers>) -> Self {
        Self {
            numbers,
            ..Self::default()
        }
    }

    /// Records every reading that `cache` publishes, until `stop` is cancelled. The numbers of a reading are
    /// found here, so that a scrape of the metrics need not search for them.
    pub(crate) async fn record_changes(
        self: &Arc<Self>,
        cache: &Cache,
        clock: Clock,
        stop: &CancellationToken,
    ) {
        let mut changes = cache.subscribe();
        let mut recorded: Option<Arc<Snapshot>> = None;
        loop {
            // Marked before the snapshot is read: a change in between wakes the wait below.
            changes.mark_unchanged();
            let snapshot = cache.snapshot();
            let (history, newest) = (Arc::clone(self), Arc::clone(&snapshot));
            // The search of a large reading must not delay the flights of this runtime.
            let search = spawn_blocking(move || {
                history.record_snapshot(&newest, recorded.as_deref(), clock.now());
            });
            if let Err(error) = search.await {
                match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    // The runtime is shutting down.
                    Err(_) => return,
                }
            }
            recorded = Some(snapshot);
            tokio::select! {
                () = stop.cancelled() => return,
                published = changes.changed() => if published.is_err() { return },
            }
            sleep(GATHER_TIME).await;
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

    /// `{source: {"times": […], "values": {path: […]}}}`, at most a second old, counted in `budget`.
    pub(crate) fn history_asset(&self, now: Time, budget: &Arc<SendBudget>) -> Arc<PanelAsset> {
        if let Some(asset) = self.recent_asset(now) {
            return asset;
        }
        let history = self.state.lock();
        let body = budget.share(history.to_json());
        let asset = Arc::new(PanelAsset::new("application/json", body));
        *self.cached_asset.lock() = Some((now, Arc::clone(&asset)));
        asset
    }

    /// `{"times": […], "values": {path: […]}}` of one source; `None` before its first reading.
    pub(crate) fn source_json(&self, identity: &SourceIdentity) -> Option<String> {
        let history = self.state.lock();
        let (_, series) = history.series.get(identity)?;
        let mut out = String::new();
        series.write_json(&mut out, history.clock_shift);
        Some(out)
    }

    /// Records the readings of `snapshot` that differ from those of `recorded`, the snapshot before it.
    fn record_snapshot(&self, snapshot: &Snapshot, recorded: Option<&Snapshot>, now: Time) {
        let source_set = snapshot.source_set();
        let mut history = self.state.lock();
        if history.retain_sources(source_set) {
            self.numbers.retain_sources(source_set);
        }
        history.clock_shift = snapshot.clock_shift();
        drop(history);
        // A publication changes one source. To compare pointers costs less than to look up each series.
        let recorded_states = recorded.map_or(&[][..], Snapshot::source_states);
        let states = snapshot.source_states().iter().enumerate();
        for (position, state) in states {
            let is_same = |recorded| Arc::ptr_eq(recorded, state);
            if recorded_states.get(position).is_some_and(is_same) {
                continue;
            }
            if let Some(reading) = &state.reading {
                let identity = source_set.identity(position);
                let numbers = self.numbers.numbers_of(identity, &reading.data, now);
                if position < MAX_SOURCES {
                    self.record_reading(identity, &state.source.name, reading.fetched_at, &numbers);
                }
            }
        }
    }

    fn record_reading(
        &self,
        identity: SourceIdentity,
        name: &Name,
        fetched_at: Time,
        numbers: &ExtractedNumbers,
    ) {
        let mut history = self.state.lock();
        let (_, series) = history
            .series
            .entry(identity)
            .or_insert_with(|| (name.clone(), SourceSeries::default()));
        if !series.is_recorded(fetched_at) {
            series.push_reading(fetched_at, &numbers.by_path);
        }
    }
}

impl HistoryState {
    /// Removes the series of sources that are not in `source_set`, if that is a new one.
    fn retain_sources(&mut self, source_set: &Arc<SourceSet>) -> bool {
        let is_new = !Arc::ptr_eq(&self.source_set, source_set);
        if is_new {
            let identities: HashSet<SourceIdentity> = (0..source_set.sources().len())
                .map(|position| source_set.identity(position))
                .collect();
            self.series
                .retain(|identity, _| identities.contains(identity));
            self.source_set = Arc::clone(source_set);
        }
        is_new
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        FreshnessPolicy, JsonData, Outcome, Reading, Schedule, Source, SourceKind,
    };

    const NOW: Time = Time::from_millis(1_795_330_510_000);

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
            appearance: Arc::default(),
            metrics: Arc::default(),
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
                .history_asset(Time::from_millis(now), &SendBudget::new(None))
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
            history.record_snapshot(&snapshot, None, NOW);
            history.record_snapshot(&snapshot, None, NOW);
        }
        let expected = r#"{"btc":{"times":[10,20],"values":{"usd":[1.5,2]}}}"#;
        assert_eq!(history_json(&history, 1000), expected);
        let later = snapshot.merge_outcome(&outcome("btc", 30, "7")).snapshot;
        history.record_snapshot(&later, Some(&snapshot), NOW);
        assert_eq!(history_json(&history, 1999), expected);
        let expected =
            r#"{"btc":{"times":[10,20,30],"values":{"usd":[1.5,2,null],"":[null,null,7]}}}"#;
        assert_eq!(history_json(&history, 2000), expected);
        let of_source = |name| history.source_json(&SourceIdentity::from_source(&source(name)));
        let series = r#"{"times":[10,20,30],"values":{"usd":[1.5,2,null],"":[null,null,7]}}"#;
        assert_eq!(of_source("btc").as_deref(), Some(series));
        assert_eq!(of_source("eth"), None);
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
        history.record_snapshot(&both, None, NOW);
        let changed = Arc::new(SourceSet::new(vec![source("b"), source("c")]));
        history.record_snapshot(&both.with_source_set(changed), Some(&both), NOW);
        assert_eq!(
            history_json(&history, 1),
            r#"{"b":{"times":[1],"values":{"":[1]}}}"#
        );
    }
}
