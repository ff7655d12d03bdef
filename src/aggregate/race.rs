//! The race of one source's providers: in order of preference, the next one early by `hedge_after` or at once after a
//! failure; the first success wins and cancels the others; every loser's reason is kept.

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::domain::{
    Code, Failure, JsonData, Name, Outcome, ProviderAttempt, ProviderAttemptResult, Reading,
};
use crate::extract::Extractor;
use crate::fetch::{CallPriority, Fetch, FetchContext, FetchError};
use crate::process::{Clock, Deadline, TimePoint};
use crate::text::format_duration;

use super::prepared_source::PreparedSource;

/// How long after its deadline an attempt that did not end by itself is given up.
const DEADLINE_GRACE: Duration = Duration::from_millis(20);

/// What a race needs beside its crew.
pub(crate) struct RaceDeps {
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) extractor: Extractor,
    pub(crate) clock: Clock,
}

/// A provider that may take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its place in the crew.
    pub(crate) position: usize,
    /// How long it must be left alone yet, from the beginning of the flight: `min_interval` holds for each provider.
    pub(crate) start_delay: Duration,
}

/// One provider's request and what its filter makes of the answer. Requests are polled by the race itself rather than
/// in tasks of their own: they see the deadline before the race does and end in their own words, and a race that is
/// dropped leaves nothing behind.
struct RunningRequest<'r> {
    position: usize,
    started: TimePoint,
    request: Pin<Box<dyn Future<Output = ProviderResult> + Send + 'r>>,
}

type ProviderResult = Result<JsonData, FetchError>;

struct ProviderRace<'r> {
    deps: &'r RaceDeps,
    prepared: &'r PreparedSource,
    started: TimePoint,
    deadline: Deadline,
    /// Whether a live request waits for the flight.
    priority: CallPriority,
    /// Those that have not been asked yet, in order of preference.
    candidates: Vec<Candidate>,
    /// When the next one is asked although nobody has failed.
    next_start_at: Option<Instant>,
    /// In the order in which they were asked.
    running: Vec<RunningRequest<'r>>,
    attempts: BTreeMap<usize, ProviderAttempt>,
}

enum RaceEvent {
    StartNext,
    DeadlinePassed,
    RequestEnded(usize, TimePoint, ProviderResult),
}

/// Flies once with these providers, in order of preference; at least one.
pub(crate) async fn race_providers(
    gear: &RaceDeps,
    crew: &PreparedSource,
    entrants: Vec<Candidate>,
    priority: CallPriority,
) -> Outcome {
    let begun = gear.clock.time_point();
    let mut race = ProviderRace {
        deps: gear,
        prepared: crew,
        started: begun,
        deadline: gear.clock.deadline(crew.schedule.timeout),
        priority,
        candidates: entrants,
        next_start_at: None,
        running: Vec::new(),
        attempts: BTreeMap::new(),
    };
    let won = race.run_until_success().await;
    race.cancel_running(won.is_some());
    let tries: Vec<ProviderAttempt> = race.attempts.into_values().collect();
    Outcome {
        source: crew.source.name.clone(),
        identity: crew.identity,
        started_at: begun.time,
        duration: gear.clock.elapsed_since(begun),
        result: won.ok_or_else(|| combine_failures(&tries)),
        provider_attempts: tries,
    }
}

impl ProviderRace<'_> {
    async fn run_until_success(&mut self) -> Option<Reading> {
        self.start_next();
        while !self.running.is_empty() || self.next_start_at.is_some() {
            match self.next_event().await {
                RaceEvent::StartNext => self.start_next(),
                RaceEvent::RequestEnded(position, begun, Ok(data)) => {
                    self.record_attempt(position, begun, ProviderAttemptResult::Succeeded, None);
                    let provider = self.prepared.providers[position].0.name.clone();
                    return Some(Reading {
                        fetched_at: begun.time,
                        provider,
                        data,
                    });
                }
                RaceEvent::RequestEnded(position, begun, Err(error)) => {
                    self.record_attempt(
                        position,
                        begun,
                        ProviderAttemptResult::Failed(error.failure),
                        error.retry_after,
                    );
                    self.start_next();
                }
                RaceEvent::DeadlinePassed => return None,
            }
        }
        None
    }

    async fn next_event(&mut self) -> RaceEvent {
        let next_at = self.next_start_at;
        let next = async {
            match next_at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            (position, begun, ended) = wait_first_ended(&mut self.running) => RaceEvent::RequestEnded(position, begun, ended),
            () = next => RaceEvent::StartNext,
            () = sleep_until(self.deadline.at + DEADLINE_GRACE) => RaceEvent::DeadlinePassed,
        }
    }

    /// Asks the most preferred of those that need not be left alone; if all of them must, waits for the first that may
    /// be asked.
    fn start_next(&mut self) {
        self.next_start_at = None;
        let begun = self.deps.clock.time_point();
        if begun.instant >= self.deadline.at {
            return;
        }
        let passed = begun
            .instant
            .saturating_duration_since(self.started.instant);
        let Some(next) = self
            .candidates
            .iter()
            .position(|entrant| entrant.start_delay <= passed)
        else {
            let soonest = self
                .candidates
                .iter()
                .map(|entrant| self.started.instant + entrant.start_delay)
                .min();
            self.next_start_at = soonest.filter(|at| *at < self.deadline.at);
            return;
        };
        let position = self.candidates.remove(next).position;
        let request = Box::pin(call_provider(
            self.deps,
            self.prepared,
            position,
            self.deadline,
            self.priority.clone(),
        ));
        self.running.push(RunningRequest {
            position,
            started: begun,
            request,
        });
        if !self.candidates.is_empty() {
            self.next_start_at = self
                .prepared
                .schedule
                .hedge_after
                .map(|after| begun.instant + after);
        }
    }

    /// Keeps what became of one request.
    fn record_attempt(
        &mut self,
        position: usize,
        begun: TimePoint,
        end: ProviderAttemptResult,
        retry_after: Option<Duration>,
    ) {
        let clock = &self.deps.clock;
        let hold = retry_after.filter(|hold| !hold.is_zero());
        let one = ProviderAttempt {
            provider: self.prepared.providers[position].0.name.clone(),
            started_at: begun.time,
            duration: clock.elapsed_since(begun),
            result: end,
            retry_at: hold.map(|hold| clock.now().plus(hold)),
        };
        self.attempts.insert(position, one);
    }

    /// Cancels what still runs: somebody was faster, or it ignored its own deadline.
    fn cancel_running(&mut self, won: bool) {
        for RunningRequest {
            position,
            started: begun,
            request,
        } in std::mem::take(&mut self.running)
        {
            drop(request);
            let end = if won {
                ProviderAttemptResult::Superseded
            } else {
                ProviderAttemptResult::Failed(timeout_failure(self.deadline))
            };
            self.record_attempt(position, begun, end, None);
        }
    }
}

async fn call_provider(
    gear: &RaceDeps,
    crew: &PreparedSource,
    position: usize,
    deadline: Deadline,
    priority: CallPriority,
) -> ProviderResult {
    let (provider, filter) = &crew.providers[position];
    let context = FetchContext { deadline, priority };
    let body = gear.fetch.fetch(provider, context).await?.0;
    let data = gear
        .extractor
        .extract(&crew.source.name, filter, body, deadline)
        .await;
    data.map_err(|failure| FetchError {
        failure,
        retry_after: None,
    })
}

/// The first of the running requests to end; one that panics ends too. Waits for ever while none runs.
async fn wait_first_ended(
    running: &mut Vec<RunningRequest<'_>>,
) -> (usize, TimePoint, ProviderResult) {
    poll_fn(|cx| {
        for at in 0..running.len() {
            let request = &mut running[at].request;
            let ended = match catch_unwind(AssertUnwindSafe(|| request.as_mut().poll(cx))) {
                Ok(Poll::Pending) => continue,
                Ok(Poll::Ready(ended)) => ended,
                Err(_) => Err(panic_error()),
            };
            let RunningRequest {
                position,
                started: begun,
                ..
            } = running.remove(at);
            return Poll::Ready((position, begun, ended));
        }
        Poll::Pending
    })
    .await
}

fn panic_error() -> FetchError {
    FetchError {
        failure: Failure::new(Code::Panic, crate::aggregate::PANIC_MESSAGE),
        retry_after: None,
    }
}

fn timeout_failure(deadline: Deadline) -> Failure {
    Failure::new(
        Code::Timeout,
        format!("no answer within {}", format_duration(deadline.limit)),
    )
}

/// The failure of the most preferred provider; with several, the message names each.
fn combine_failures(tries: &[ProviderAttempt]) -> Failure {
    let failures: Vec<(&Name, &Failure)> = tries
        .iter()
        .filter_map(|t| Some((&t.provider, t.failure()?)))
        .collect();
    match failures.as_slice() {
        [] => Failure::new(Code::Timeout, "no provider could be asked in time"),
        [(_, failure)] => (*failure).clone(),
        [(_, first), ..] => {
            let each: Vec<String> = failures
                .iter()
                .map(|(name, f)| format!("{name}: {}", f.message))
                .collect();
            Failure::new(first.code, each.join("; "))
        }
    }
}
