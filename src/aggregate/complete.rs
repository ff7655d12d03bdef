//! What becomes of the end of an attempt, here or at another replica: it is published, the next attempt is planned, and a
//! change of health is told.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, info, warn};

use super::cache::Cache;
use super::flights::{Completion, OnComplete};
use super::refresh::RefreshCommand;
use crate::domain::{
    HealthChange, HealthChanges, Name, Outcome, ProviderAttempt, SourceRecord, SourceState, Time,
};
use crate::replicas::LocalReplica;

/// What becomes of an arrival: it is published, the next attempt is planned, a change of health is told.
pub(crate) fn make_completion_handler(
    cache: Arc<Cache>,
    orders: UnboundedSender<RefreshCommand>,
    witness: Arc<dyn Fn(&Outcome) + Send + Sync>,
    fleet: Option<Arc<LocalReplica>>,
) -> OnComplete {
    Arc::new(move |arrival: Completion, held_until: Option<Time>| {
        let alone = fleet
            .as_ref()
            .map_or(1, |fleet| fleet.independent_replicas());
        let plan = |entry: &SourceState| plan_next_attempt(entry, alone, held_until);
        let (source, taken) = match arrival {
            Completion::Local(outcome) => {
                witness(&outcome);
                let turns = cache.publish(&outcome, plan)?;
                log_outcome(&turns, &outcome);
                (outcome.source, true)
            }
            Completion::Remote(saved) => {
                let turns = cache.publish_remote(&saved, plan)?;
                log_remote_outcome(&turns, &saved);
                (saved.name, false)
            }
            Completion::Cancelled(name) => (name, false),
        };
        let known = if taken && fleet.is_some() {
            cache.snapshot().source_record(&source)
        } else {
            None
        };
        // The refresher is gone only when the program stops.
        let _ = orders.send(RefreshCommand::AttemptPlanned(source));
        known
    })
}

/// When a source is to be asked next by one of `alone` replicas that each ask by themselves.
fn plan_next_attempt(entry: &SourceState, alone: u32, held_until: Option<Time>) -> Option<Time> {
    let (start, failures) = (entry.history.last_attempt?, entry.history.failure_count);
    let ttl = entry.source.freshness_policy.ttl;
    entry.source.schedule().map(|pace| {
        pace.next_for_replicas(alone, ttl, start, failures, fastrand::f64(), held_until)
    })
}

/// Plans every source anew, as one that shares or as one that goes on alone.
pub(crate) fn make_replan_callback(
    cache: Arc<Cache>,
    orders: UnboundedSender<RefreshCommand>,
    fleet: Arc<LocalReplica>,
) -> Arc<dyn Fn() + Send + Sync> {
    Arc::new(move || {
        cache.replan_sources(|entry| plan_next_attempt(entry, fleet.independent_replicas(), None));
        // The refresher is gone only when the program stops.
        let _ = orders.send(RefreshCommand::SourcesChanged);
    })
}

fn log_outcome(turns: &HealthChanges, outcome: &Outcome) {
    let source = outcome.source.as_str();
    let ms = outcome.duration.as_millis();
    match (turns.source, &outcome.result) {
        (HealthChange::Failed, Err(failure)) => {
            let provider = first_failed_provider(&outcome.provider_attempts);
            warn!(
                source,
                provider,
                code = failure.code.as_str(),
                error = &*failure.message,
                ms,
                "source began to fail"
            );
        }
        (HealthChange::Recovered(after), Ok(reading)) => {
            info!(
                source,
                provider = reading.provider.as_str(),
                failed_for_s = after.as_secs(),
                ms,
                "source recovered"
            );
        }
        (_, Err(failure)) => {
            let provider = first_failed_provider(&outcome.provider_attempts);
            debug!(
                source,
                provider,
                code = failure.code.as_str(),
                error = &*failure.message,
                ms,
                "attempt failed"
            );
        }
        (_, Ok(reading)) => debug!(
            source,
            provider = reading.provider.as_str(),
            ms,
            "attempt succeeded"
        ),
    }
    log_provider_changes(
        &outcome.source,
        &turns.providers,
        &outcome.provider_attempts,
    );
}

/// What another replica told, as [`tell`] would: each replica says for itself what became of a source.
fn log_remote_outcome(turns: &HealthChanges, saved: &SourceRecord) {
    let source = saved.name.as_str();
    match (turns.source, &saved.failure, &saved.reading) {
        (HealthChange::Failed, Some(lapse), _) => {
            let (code, error) = (lapse.failure.code.as_str(), &*lapse.failure.message);
            warn!(
                source,
                provider = first_failed_provider(&saved.history.provider_attempts),
                code,
                error,
                "source began to fail, says another replica"
            );
        }
        (HealthChange::Recovered(after), _, Some(reading)) => {
            let provider = reading.provider.as_str();
            info!(
                source,
                provider,
                failed_for_s = after.as_secs(),
                "source recovered, says another replica"
            );
        }
        _ => debug!(source, "another replica's attempt was taken in"),
    }
    log_provider_changes(
        &saved.name,
        &turns.providers,
        &saved.history.provider_attempts,
    );
}

/// Of several providers one may fail without the source's failing.
fn log_provider_changes(source: &Name, turns: &[(Name, HealthChange)], tries: &[ProviderAttempt]) {
    let source = source.as_str();
    for (name, turn) in turns {
        let provider = name.as_str();
        let failure = tries
            .iter()
            .find(|one| one.provider == *name)
            .and_then(ProviderAttempt::failure);
        match (turn, failure) {
            (HealthChange::Failed, Some(failure)) => {
                warn!(
                    source,
                    provider,
                    code = failure.code.as_str(),
                    error = &*failure.message,
                    "provider began to fail"
                );
            }
            (HealthChange::Recovered(after), _) => {
                info!(
                    source,
                    provider,
                    failed_for_s = after.as_secs(),
                    "provider recovered"
                );
            }
            _ => {}
        }
    }
}

/// The most preferred of the providers that failed: the one whose code is the source's.
fn first_failed_provider(tries: &[ProviderAttempt]) -> Option<&str> {
    tries
        .iter()
        .find(|one| one.failure().is_some())
        .map(|one| one.provider.as_str())
}
