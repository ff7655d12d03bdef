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

use crate::clock::{Clock, Deadline, Mark};
use crate::domain::{Code, Data, End, Failure, Name, Outcome, Reading, Try, spell};
use crate::extract::Extractor;
use crate::fetch::{Fetch, FetchError};

use super::Crew;

/// How long after its deadline an attempt that did not end by itself is given up.
const GRACE: Duration = Duration::from_millis(20);

/// What a race needs beside its crew.
pub(super) struct Gear<F> {
    pub(super) fetch: Arc<F>,
    pub(super) extractor: Extractor,
    pub(super) clock: Clock,
}

/// A provider that may take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entrant {
    /// Its place in the crew.
    pub(super) position: usize,
    /// How long it must be left alone yet, from the beginning of the flight: `min_interval` holds for each provider.
    pub(super) rest: Duration,
}

/// One provider's request and what its filter makes of the answer. Requests are polled by the race itself rather than
/// in tasks of their own: they see the deadline before the race does and end in their own words, and a race that is
/// dropped leaves nothing behind.
struct Runner<'r> {
    position: usize,
    begun: Mark,
    request: Pin<Box<dyn Future<Output = Ended> + Send + 'r>>,
}

type Ended = Result<Data, FetchError>;

struct Race<'r, F> {
    gear: &'r Gear<F>,
    crew: &'r Crew,
    begun: Mark,
    deadline: Deadline,
    /// Those that have not been asked yet, in order of preference.
    waiting: Vec<Entrant>,
    /// When the next one is asked although nobody has failed.
    next_at: Option<Instant>,
    /// In the order in which they were asked.
    running: Vec<Runner<'r>>,
    tries: BTreeMap<usize, Try>,
}

enum Event {
    Next,
    Overdue,
    Ended(usize, Mark, Ended),
}

/// Flies once with these providers, in order of preference; at least one.
pub(super) async fn run<F: Fetch>(gear: &Gear<F>, crew: &Crew, entrants: Vec<Entrant>) -> Outcome {
    let begun = gear.clock.mark();
    let mut race = Race {
        gear,
        crew,
        begun,
        deadline: gear.clock.deadline(crew.pace.timeout),
        waiting: entrants,
        next_at: None,
        running: Vec::new(),
        tries: BTreeMap::new(),
    };
    let won = race.fly().await;
    race.end_the_rest(won.is_some());
    let tries: Vec<Try> = race.tries.into_values().collect();
    Outcome {
        source: crew.source.name.clone(),
        identity: crew.identity,
        at: begun.time,
        took: gear.clock.since(begun),
        result: won.ok_or_else(|| all_failed(&tries)),
        tries,
    }
}

impl<F: Fetch> Race<'_, F> {
    async fn fly(&mut self) -> Option<Reading> {
        self.start_next();
        while !self.running.is_empty() || self.next_at.is_some() {
            match self.event().await {
                Event::Next => self.start_next(),
                Event::Ended(position, begun, Ok(data)) => {
                    self.note(position, begun, End::Won, None);
                    let provider = self.crew.providers[position].0.name.clone();
                    return Some(Reading {
                        fetched_at: begun.time,
                        provider,
                        data,
                    });
                }
                Event::Ended(position, begun, Err(error)) => {
                    self.note(
                        position,
                        begun,
                        End::Failed(error.failure),
                        error.retry_after,
                    );
                    self.start_next();
                }
                Event::Overdue => return None,
            }
        }
        None
    }

    async fn event(&mut self) -> Event {
        let next_at = self.next_at;
        let next = async {
            match next_at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            (position, begun, ended) = first(&mut self.running) => Event::Ended(position, begun, ended),
            () = next => Event::Next,
            () = sleep_until(self.deadline.at + GRACE) => Event::Overdue,
        }
    }

    /// Asks the most preferred of those that need not be left alone; if all of them must, waits for the first that may
    /// be asked.
    fn start_next(&mut self) {
        self.next_at = None;
        let begun = self.gear.clock.mark();
        if begun.instant >= self.deadline.at {
            return;
        }
        let passed = begun.instant.saturating_duration_since(self.begun.instant);
        let Some(next) = self
            .waiting
            .iter()
            .position(|entrant| entrant.rest <= passed)
        else {
            let soonest = self
                .waiting
                .iter()
                .map(|entrant| self.begun.instant + entrant.rest)
                .min();
            self.next_at = soonest.filter(|at| *at < self.deadline.at);
            return;
        };
        let position = self.waiting.remove(next).position;
        let request = Box::pin(ask(self.gear, self.crew, position, self.deadline));
        self.running.push(Runner {
            position,
            begun,
            request,
        });
        if !self.waiting.is_empty() {
            self.next_at = self
                .crew
                .pace
                .hedge_after
                .map(|after| begun.instant + after);
        }
    }

    /// Keeps what became of one request.
    fn note(&mut self, position: usize, begun: Mark, end: End, retry_after: Option<Duration>) {
        let clock = &self.gear.clock;
        let hold = retry_after.filter(|hold| !hold.is_zero());
        let one = Try {
            provider: self.crew.providers[position].0.name.clone(),
            at: begun.time,
            took: clock.since(begun),
            end,
            held_until: hold.map(|hold| clock.now().after(hold)),
        };
        self.tries.insert(position, one);
    }

    /// Cancels what still runs: somebody was faster, or it ignored its own deadline.
    fn end_the_rest(&mut self, won: bool) {
        for Runner {
            position,
            begun,
            request,
        } in std::mem::take(&mut self.running)
        {
            drop(request);
            let end = if won {
                End::Outrun
            } else {
                End::Failed(overdue(self.deadline))
            };
            self.note(position, begun, end, None);
        }
    }
}

async fn ask<F: Fetch>(gear: &Gear<F>, crew: &Crew, position: usize, deadline: Deadline) -> Ended {
    let (provider, filter) = &crew.providers[position];
    let body = gear.fetch.fetch(provider, deadline).await?.0;
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
async fn first(running: &mut Vec<Runner<'_>>) -> (usize, Mark, Ended) {
    poll_fn(|cx| {
        for at in 0..running.len() {
            let request = &mut running[at].request;
            let ended = match catch_unwind(AssertUnwindSafe(|| request.as_mut().poll(cx))) {
                Ok(Poll::Pending) => continue,
                Ok(Poll::Ready(ended)) => ended,
                Err(_) => Err(broken()),
            };
            let Runner {
                position, begun, ..
            } = running.remove(at);
            return Poll::Ready((position, begun, ended));
        }
        Poll::Pending
    })
    .await
}

fn broken() -> FetchError {
    FetchError {
        failure: Failure::new(Code::Panic, super::table::BUG),
        retry_after: None,
    }
}

fn overdue(deadline: Deadline) -> Failure {
    Failure::new(
        Code::Timeout,
        format!("no answer within {}", spell(deadline.limit)),
    )
}

/// The failure of the most preferred provider; with several, the message names each.
fn all_failed(tries: &[Try]) -> Failure {
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
