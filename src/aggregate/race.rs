//! The race of one source's providers.
//!
//! Providers are called in order of preference: the next one `hedge_after` after the call before,
//! or at once after a failure. The first success wins and cancels the other requests. The failure of
//! every loser is kept.

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::domain::{
    Code, Failure, JsonData, Name, Outcome, ProviderAttempt, ProviderAttemptResult, Reading,
};
use crate::extract::Extractor;
use crate::fetch::{CallPriority, Fetch, FetchContext, FetchError};
use crate::process::{Clock, Deadline, TimePoint};
use crate::text::{UnitStyle, format_duration};

use super::prepared_source::PreparedSource;

/// Time after the deadline at which a request that did not end by itself is cancelled.
const DEADLINE_GRACE: Duration = Duration::from_millis(20);

/// What every race uses.
pub(super) struct RaceDeps {
    pub(super) fetch: Arc<dyn Fetch>,
    pub(super) extractor: Extractor,
    pub(super) clock: Clock,
}

/// A provider that may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The index in [`PreparedSource::providers`].
    pub(super) position: usize,
    /// The least time between the start of the flight and the call: `min_interval` holds for each
    /// provider.
    pub(super) start_delay: Duration,
}

/// A request to one provider, filter included. The race polls its requests itself instead of
/// spawning tasks: a request sees the deadline first and ends with its own error, and dropping the
/// race cancels them all.
struct RunningRequest<'r> {
    position: usize,
    started: TimePoint,
    future: Pin<Box<dyn Future<Output = ProviderResult> + Send + 'r>>,
}

type ProviderResult = Result<ProviderSuccess, FetchError>;

/// Extracted data, and for how long the provider need not be called again.
struct ProviderSuccess {
    data: JsonData,
    lifetime: Option<Duration>,
}

struct ProviderRace<'r> {
    deps: &'r RaceDeps,
    prepared: &'r PreparedSource,
    started: TimePoint,
    deadline: Deadline,
    /// Whether a live request waits for the flight.
    priority: CallPriority,
    /// The reading of the source at the start.
    held: Option<&'r Reading>,
    /// The providers that were not called yet, in order of preference.
    candidates: Vec<Candidate>,
    /// When the next candidate is called although no request has failed.
    next_start_at: Option<Instant>,
    /// The requests in progress, in the order of their start.
    running: Vec<RunningRequest<'r>>,
    /// The finished requests, by position.
    attempts: BTreeMap<usize, ProviderAttempt>,
}

enum RaceEvent {
    StartNext,
    DeadlinePassed,
    RequestEnded(usize, TimePoint, ProviderResult),
}

/// Attempts a source once. `candidates` are in order of preference and not empty. `held` is the reading of the source,
/// which a provider can confirm.
pub(super) async fn race_providers(
    deps: &RaceDeps,
    prepared: &PreparedSource,
    candidates: Vec<Candidate>,
    priority: CallPriority,
    held: Option<&Reading>,
) -> Outcome {
    let started = deps.clock.time_point();
    let mut race = ProviderRace {
        deps,
        prepared,
        started,
        deadline: deps.clock.deadline(prepared.schedule.timeout),
        priority,
        held,
        candidates,
        next_start_at: None,
        running: Vec::new(),
        attempts: BTreeMap::new(),
    };
    let reading = race.run_until_success().await;
    race.cancel_running(reading.is_some());
    let attempts: Vec<ProviderAttempt> = race.attempts.into_values().collect();
    Outcome {
        source: prepared.source.name.clone(),
        identity: prepared.identity,
        started_at: started.time,
        duration: deps.clock.elapsed_since(started),
        result: reading.ok_or_else(|| combine_failures(&attempts)),
        provider_attempts: attempts,
    }
}

/// Polls `work`, which ends with an error if it panics. The panic hook has logged the panic.
pub(super) fn poll_caught<T>(
    work: Pin<&mut (impl Future<Output = T> + ?Sized)>,
    cx: &mut Context<'_>,
) -> Poll<thread::Result<T>> {
    match catch_unwind(AssertUnwindSafe(|| work.poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    }
}

/// Returns the failure of an attempt that panicked.
pub(super) fn panic_failure() -> Failure {
    Failure::new(
        Code::Panic,
        "internal error: the attempt panicked; the log has the location",
    )
}

impl ProviderRace<'_> {
    async fn run_until_success(&mut self) -> Option<Reading> {
        self.start_next();
        while !self.running.is_empty() || self.next_start_at.is_some() {
            match self.next_event().await {
                RaceEvent::StartNext => self.start_next(),
                RaceEvent::RequestEnded(position, started, Ok(success)) => {
                    let ProviderSuccess { data, lifetime } = success;
                    let result = ProviderAttemptResult::Succeeded;
                    self.record_attempt(position, started, result, lifetime);
                    let interval = self.prepared.schedule.interval;
                    return Some(Reading {
                        fetched_at: started.time,
                        provider: self.prepared.providers[position].0.name.clone(),
                        data,
                        extra_ttl: lifetime.unwrap_or_default().saturating_sub(interval),
                    });
                }
                RaceEvent::RequestEnded(position, started, Err(error)) => {
                    let result = ProviderAttemptResult::Failed(error.failure);
                    self.record_attempt(position, started, result, error.retry_after);
                    self.start_next();
                }
                RaceEvent::DeadlinePassed => return None,
            }
        }
        None
    }

    async fn next_event(&mut self) -> RaceEvent {
        let next_start_at = self.next_start_at;
        let next_start = async {
            match next_start_at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        // Biased: a request that ends at the deadline ends with its own error.
        tokio::select! {
            biased;
            (position, started, result) = wait_first_ended(&mut self.running) => {
                RaceEvent::RequestEnded(position, started, result)
            }
            () = next_start => RaceEvent::StartNext,
            () = sleep_until(self.deadline.at + DEADLINE_GRACE) => RaceEvent::DeadlinePassed,
        }
    }

    /// Calls the most preferred candidate that is past its `start_delay`. If there is none yet, sets
    /// `next_start_at` to the first that will be before the deadline.
    fn start_next(&mut self) {
        self.next_start_at = None;
        let now = self.deps.clock.time_point();
        // A call at the deadline could only fail, and would count against the provider.
        if now.instant >= self.deadline.at {
            return;
        }
        let since_start = now.instant.saturating_duration_since(self.started.instant);
        let Some(next) = self
            .candidates
            .iter()
            .position(|candidate| candidate.start_delay <= since_start)
        else {
            self.next_start_at = self
                .candidates
                .iter()
                .map(|candidate| self.started.instant + candidate.start_delay)
                .min()
                .filter(|at| *at < self.deadline.at);
            return;
        };
        let position = self.candidates.remove(next).position;
        let context = FetchContext {
            deadline: self.deadline,
            priority: self.priority.clone(),
            validators: self
                .held
                .and_then(|held| self.prepared.held_validators(position, held)),
            is_filter_endless: self.deps.extractor.is_endless(&self.prepared.source.name),
        };
        let call = call_provider(self.deps, self.prepared, position, context, self.held);
        self.running.push(RunningRequest {
            position,
            started: now,
            future: Box::pin(call),
        });
        if !self.candidates.is_empty() {
            let hedge_after = self.prepared.schedule.hedge_after;
            self.next_start_at = hedge_after.map(|after| now.instant + after);
        }
    }

    fn record_attempt(
        &mut self,
        position: usize,
        started: TimePoint,
        result: ProviderAttemptResult,
        retry_after: Option<Duration>,
    ) {
        let clock = &self.deps.clock;
        let attempt = ProviderAttempt {
            provider: self.prepared.providers[position].0.name.clone(),
            started_at: started.time,
            duration: clock.elapsed_since(started),
            result,
            held_until: retry_after
                .filter(|after| !after.is_zero())
                .map(|after| clock.now().plus(after)),
        };
        self.attempts.insert(position, attempt);
    }

    /// Cancels the requests that still run: another provider won, or they ignored the deadline.
    fn cancel_running(&mut self, has_winner: bool) {
        for request in std::mem::take(&mut self.running) {
            drop(request.future);
            let result = if has_winner {
                ProviderAttemptResult::Superseded
            } else {
                ProviderAttemptResult::Failed(timeout_failure(self.deadline))
            };
            self.record_attempt(request.position, request.started, result, None);
        }
    }
}

async fn call_provider(
    deps: &RaceDeps,
    prepared: &PreparedSource,
    position: usize,
    context: FetchContext,
    held: Option<&Reading>,
) -> ProviderResult {
    let (provider, filter) = &prepared.providers[position];
    let deadline = context.deadline;
    let had_validators = context.validators.is_some();
    let result = deps.fetch.fetch(provider, context).await;
    if let Err(error) = &result
        && let Some(refused) = error.refused.as_ref().filter(|_| had_validators)
        && error.failure.code == Code::HttpStatus
    {
        prepared.record_refused_condition(position, refused.status);
    }
    let payload = result?;
    let lifetime = payload.lifetime;
    if let Some(held) = held.filter(|_| payload.is_unchanged) {
        prepared.record_unchanged(position);
        let data = held.data.clone();
        return Ok(ProviderSuccess { data, lifetime });
    }
    let body = payload.raw_body(&provider.request.format);
    let data = deps
        .extractor
        .extract_body(&prepared.source.name, filter, &body, deadline)
        .await?;
    prepared.record_response(position, &data, payload.validators);
    Ok(ProviderSuccess { data, lifetime })
}

/// Removes and returns the first request that ends. Never ready while no request runs.
async fn wait_first_ended(
    running: &mut Vec<RunningRequest<'_>>,
) -> (usize, TimePoint, ProviderResult) {
    poll_fn(|cx| {
        // In the order of their start: of two requests that have ended, the preferred one wins.
        for index in 0..running.len() {
            let Poll::Ready(ended) = poll_caught(running[index].future.as_mut(), cx) else {
                continue;
            };
            let request = running.remove(index);
            // A panic ends its request only.
            let result = ended.unwrap_or_else(|_| Err(panic_failure().into()));
            return Poll::Ready((request.position, request.started, result));
        }
        Poll::Pending
    })
    .await
}

fn timeout_failure(deadline: Deadline) -> Failure {
    Failure::new(
        Code::Timeout,
        format!(
            "no answer within {}",
            format_duration(deadline.limit, UnitStyle::Message)
        ),
    )
}

/// Returns the failure of the most preferred provider. With several, the message names each.
fn combine_failures(attempts: &[ProviderAttempt]) -> Failure {
    let failures: Vec<(&Name, &Failure)> = attempts
        .iter()
        .filter_map(|attempt| Some((&attempt.provider, attempt.failure()?)))
        .collect();
    match failures.as_slice() {
        [] => Failure::new(
            Code::Timeout,
            "no provider could be called before the deadline",
        ),
        [(_, failure)] => (*failure).clone(),
        [(_, first), ..] => {
            let messages: Vec<String> = failures
                .iter()
                .map(|(provider, failure)| format!("{provider}: {}", failure.message))
                .collect();
            Failure::new(first.code, messages.join("; "))
        }
    }
}
