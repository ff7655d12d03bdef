//! What becomes of the end of an attempt, here or at another replica: it is published, the next attempt is planned, and a
//! change of health is told.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, info, warn};

use crate::cache::Cache;
use crate::domain::{Entry, Name, Outcome, Saved, Time, Try, Turn, Turns};
use crate::fleet::Fleet;
use crate::flight::{Arrival, Landing};
use crate::refresh::Order;

/// What becomes of an arrival: it is published, the next attempt is planned, a change of health is told.
pub(super) fn landing(
    cache: Arc<Cache>,
    orders: UnboundedSender<Order>,
    witness: Arc<dyn Fn(&Outcome) + Send + Sync>,
    fleet: Option<Arc<Fleet>>,
) -> Landing {
    Arc::new(move |arrival: Arrival, held_until: Option<Time>| {
        let alone = fleet.as_ref().map_or(1, |fleet| fleet.asking_alone());
        let plan = |entry: &Entry| next(entry, alone, held_until);
        let (source, taken) = match arrival {
            Arrival::Flown(outcome) => {
                witness(&outcome);
                let turns = cache.publish(&outcome, plan)?;
                tell(&turns, &outcome);
                (outcome.source, true)
            }
            Arrival::Heard(saved) => {
                let turns = cache.hear(&saved, plan)?;
                tell_heard(&turns, &saved);
                (saved.name, false)
            }
            Arrival::Back(name) => (name, false),
        };
        let known = if taken && fleet.is_some() {
            cache.snapshot().saved_of(&source)
        } else {
            None
        };
        // The refresher is gone only when the program stops.
        let _ = orders.send(Order::Planned(source));
        known
    })
}

/// When a source is to be asked next by one of `alone` replicas that each ask by themselves.
fn next(entry: &Entry, alone: u32, held_until: Option<Time>) -> Option<Time> {
    let (start, failures) = (entry.trail.last?, entry.trail.failures);
    let ttl = entry.source.shelf.ttl;
    entry
        .source
        .pace()
        .map(|pace| pace.stretched(alone, ttl, start, failures, fastrand::f64(), held_until))
}

/// Plans every source anew, as one that shares or as one that goes on alone.
pub(super) fn replan(
    cache: Arc<Cache>,
    orders: UnboundedSender<Order>,
    fleet: Arc<Fleet>,
) -> Arc<dyn Fn() + Send + Sync> {
    Arc::new(move || {
        cache.replan(|entry| next(entry, fleet.asking_alone(), None));
        // The refresher is gone only when the program stops.
        let _ = orders.send(Order::Changed);
    })
}

fn tell(turns: &Turns, outcome: &Outcome) {
    let source = outcome.source.as_str();
    let ms = outcome.took.as_millis();
    match (turns.source, &outcome.result) {
        (Turn::Failed, Err(failure)) => {
            let provider = failed(&outcome.tries);
            warn!(
                source,
                provider,
                code = failure.code.as_str(),
                error = &*failure.message,
                ms,
                "source began to fail"
            );
        }
        (Turn::Recovered(after), Ok(reading)) => {
            info!(
                source,
                provider = reading.provider.as_str(),
                failed_for_s = after.as_secs(),
                ms,
                "source recovered"
            );
        }
        (_, Err(failure)) => {
            let provider = failed(&outcome.tries);
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
    tell_providers(&outcome.source, &turns.providers, &outcome.tries);
}

/// What another replica told, as [`tell`] would: each replica says for itself what became of a source.
fn tell_heard(turns: &Turns, saved: &Saved) {
    let source = saved.name.as_str();
    match (turns.source, &saved.failure, &saved.reading) {
        (Turn::Failed, Some(lapse), _) => {
            let (code, error) = (lapse.failure.code.as_str(), &*lapse.failure.message);
            warn!(
                source,
                provider = failed(&saved.trail.tries),
                code,
                error,
                "source began to fail, says another replica"
            );
        }
        (Turn::Recovered(after), _, Some(reading)) => {
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
    tell_providers(&saved.name, &turns.providers, &saved.trail.tries);
}

/// Of several providers one may fail without the source's failing.
fn tell_providers(source: &Name, turns: &[(Name, Turn)], tries: &[Try]) {
    let source = source.as_str();
    for (name, turn) in turns {
        let provider = name.as_str();
        let failure = tries
            .iter()
            .find(|one| one.provider == *name)
            .and_then(Try::failure);
        match (turn, failure) {
            (Turn::Failed, Some(failure)) => {
                warn!(
                    source,
                    provider,
                    code = failure.code.as_str(),
                    error = &*failure.message,
                    "provider began to fail"
                );
            }
            (Turn::Recovered(after), _) => {
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
fn failed(tries: &[Try]) -> Option<&str> {
    tries
        .iter()
        .find(|one| one.failure().is_some())
        .map(|one| one.provider.as_str())
}
