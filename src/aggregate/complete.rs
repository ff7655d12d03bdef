//! The completion of an attempt: publish the outcome, plan the next attempt, count, log, notify.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, info, warn};

use crate::domain::{
    FailureRecord, HealthChange, HealthChanges, Name, Outcome, ProviderAttempt, Reading,
    SourceRecord, SourceState, Time,
};
use crate::metrics::FetchMetrics;

use super::cache::Cache;
use super::coordinator::ReplicaCoordinator;
use super::refresh_command::RefreshCommand;

/// Publishes the outcomes of this replica's flights and the states of other replicas.
pub struct CompletionHandler {
    cache: Arc<Cache>,
    refresher: UnboundedSender<RefreshCommand>,
    fetch_metrics: Arc<FetchMetrics>,
    replicas: Option<Arc<dyn ReplicaCoordinator>>,
}

impl CompletionHandler {
    /// Returns a handler that publishes into `cache`, sends plans to `refresher` and counts attempts
    /// in `fetch_metrics`. `replicas` is `None` if this is the only replica.
    pub fn new(
        cache: Arc<Cache>,
        refresher: UnboundedSender<RefreshCommand>,
        fetch_metrics: Arc<FetchMetrics>,
        replicas: Option<Arc<dyn ReplicaCoordinator>>,
    ) -> Self {
        Self {
            cache,
            refresher,
            fetch_metrics,
            replicas,
        }
    }

    /// Returns the interface to the other replicas.
    pub(super) fn replicas(&self) -> Option<&dyn ReplicaCoordinator> {
        self.replicas.as_deref()
    }

    /// Returns the reading of `source`; `None` without one.
    pub(super) fn held_reading(&self, source: &Name) -> Option<Arc<Reading>> {
        let snapshot = self.cache.snapshot();
        snapshot.source_state(source.as_str())?.reading.clone()
    }

    /// Refuses a reading for which there is no memory.
    pub(super) fn check_memory(&self, outcome: Outcome) -> Outcome {
        let result = outcome.result.and_then(|reading| {
            let checked = self.cache.check_memory(&outcome.source, &reading.data);
            checked.map(|()| reading)
        });
        Outcome { result, ..outcome }
    }

    /// Completes an attempt of this replica. Called once per outcome, before its waiters wake.
    /// `held_until` is the end of what holds every provider: a `Retry-After` or the lifetime of the reading. Returns the state to publish to the
    /// other replicas, if there are any and the source still exists.
    pub(super) fn complete_flight(
        &self,
        outcome: &Outcome,
        held_until: Option<Time>,
    ) -> Option<SourceRecord> {
        let changes = self
            .cache
            .publish(outcome, |state| self.plan_next_attempt(state, held_until));
        // Counted even if a reload has removed the source: its providers were called.
        self.fetch_metrics.record_outcome(outcome);
        log_outcome(&changes?, outcome);
        // The state rather than the outcome: it may contain a newer reading of another replica.
        self.replicas()?;
        self.cache.snapshot().source_record(&outcome.source)
    }

    /// Takes over the state that another replica published, if it is newer.
    pub(super) fn complete_remote(&self, record: &SourceRecord, held_until: Option<Time>) {
        let refused = self.refuse_reading(record);
        let record = refused.as_ref().unwrap_or(record);
        let changes = self
            .cache
            .publish_remote(record, |state| self.plan_next_attempt(state, held_until));
        if let Some(changes) = changes {
            log_remote_outcome(&changes, record);
        }
    }

    /// Returns the state with a failure instead of a reading for which there is no memory: the attempt
    /// still counts for the schedule.
    fn refuse_reading(&self, record: &SourceRecord) -> Option<SourceRecord> {
        let reading = record.reading.as_ref()?;
        let failure = self.cache.check_memory(&record.name, &reading.data).err()?;
        let started_at = record.history.last_attempt.unwrap_or(reading.fetched_at);
        Some(SourceRecord {
            reading: None,
            failure: Some(Arc::new(FailureRecord {
                started_at,
                failure,
            })),
            ..record.clone()
        })
    }

    /// Completes an attempt that ended without an outcome. The plan in the snapshot stays.
    pub(super) fn complete_without_outcome(&self, source: &Name) {
        self.notify_refresher(RefreshCommand::PlanUnchanged(source.clone()));
    }

    /// Plans the next attempts of all sources again, after the number of independent replicas
    /// changed.
    pub(super) fn replan_sources(&self) {
        self.cache
            .replan_sources(|state| self.next_attempt(state, None));
        self.notify_refresher(RefreshCommand::SourcesChanged);
    }

    /// Plans the next attempt and sends the plan to the refresher. Called under the write lock of
    /// the cache, so that the refresher receives plans, and changes of the configuration between
    /// them, in the order in which the snapshot takes them.
    fn plan_next_attempt(&self, state: &SourceState, held_until: Option<Time>) -> Option<Time> {
        let at = self.next_attempt(state, held_until)?;
        self.notify_refresher(RefreshCommand::Planned {
            source: state.source.name.clone(),
            at,
        });
        Some(at)
    }

    fn next_attempt(&self, state: &SourceState, held_until: Option<Time>) -> Option<Time> {
        let schedule = state.source.schedule()?;
        // The backoff begins with short pauses, which help only if the cause can pass by itself.
        let failures = if state.history.has_only_lasting_failures() {
            0
        } else {
            state.history.failure_count
        };
        let independent_replicas = self
            .replicas()
            .map_or(1, ReplicaCoordinator::independent_replicas);
        Some(schedule.next_for_replicas(
            independent_replicas,
            state.source.freshness_policy.ttl,
            state.history.last_attempt?,
            failures,
            fastrand::f64(),
            held_until,
        ))
    }

    fn notify_refresher(&self, command: RefreshCommand) {
        // Sending fails only where there is no refresher: `resumen once`, or the end of the program.
        let _ = self.refresher.send(command);
    }
}

fn log_outcome(changes: &HealthChanges, outcome: &Outcome) {
    let source = outcome.source.as_str();
    let ms = outcome.duration.as_millis();
    match (changes.source, &outcome.result) {
        (HealthChange::Failed, Err(failure)) => warn!(
            source,
            provider = first_failed_provider(&outcome.provider_attempts),
            code = failure.code.as_str(),
            error = &*failure.message,
            ms,
            "source failed"
        ),
        (HealthChange::Recovered(after), Ok(reading)) => info!(
            source,
            provider = reading.provider.as_str(),
            failed_for_s = after.as_secs(),
            ms,
            "source recovered"
        ),
        (_, Err(failure)) => debug!(
            source,
            provider = first_failed_provider(&outcome.provider_attempts),
            code = failure.code.as_str(),
            error = &*failure.message,
            ms,
            "attempt failed"
        ),
        (_, Ok(reading)) => debug!(
            source,
            provider = reading.provider.as_str(),
            ms,
            "attempt succeeded"
        ),
    }
    log_provider_changes(
        &outcome.source,
        &changes.providers,
        &outcome.provider_attempts,
    );
}

/// Logs the state of another replica like an outcome, so that the log of each replica shows the
/// health of all sources.
fn log_remote_outcome(changes: &HealthChanges, record: &SourceRecord) {
    let source = record.name.as_str();
    let attempts = &record.history.provider_attempts;
    match (changes.source, &record.failure, &record.reading) {
        (HealthChange::Failed, Some(failure_record), _) => warn!(
            source,
            provider = first_failed_provider(attempts),
            code = failure_record.failure.code.as_str(),
            error = &*failure_record.failure.message,
            "source failed at another replica"
        ),
        (HealthChange::Recovered(after), _, Some(reading)) => info!(
            source,
            provider = reading.provider.as_str(),
            failed_for_s = after.as_secs(),
            "source recovered at another replica"
        ),
        _ => debug!(source, "state of another replica published"),
    }
    log_provider_changes(&record.name, &changes.providers, attempts);
}

/// Logs changes of single providers: a source with several can succeed while one of them fails.
fn log_provider_changes(
    source: &Name,
    changes: &[(Name, HealthChange)],
    attempts: &[ProviderAttempt],
) {
    let source = source.as_str();
    for (name, change) in changes {
        let provider = name.as_str();
        let failure = attempts
            .iter()
            .find(|attempt| attempt.provider == *name)
            .and_then(ProviderAttempt::failure);
        match (change, failure) {
            (HealthChange::Failed, Some(failure)) => warn!(
                source,
                provider,
                code = failure.code.as_str(),
                error = &*failure.message,
                "provider failed"
            ),
            (HealthChange::Recovered(after), _) => info!(
                source,
                provider,
                failed_for_s = after.as_secs(),
                "provider recovered"
            ),
            _ => {}
        }
    }
}

/// Returns the most preferred provider that failed: its code is the one of the source.
fn first_failed_provider(attempts: &[ProviderAttempt]) -> Option<&str> {
    attempts
        .iter()
        .find(|attempt| attempt.failure().is_some())
        .map(|attempt| attempt.provider.as_str())
}
