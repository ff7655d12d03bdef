//! The race of one source's providers: in order of preference, the next one early by `hedge_after` or at once after a
//! failure; the first success wins and cancels the others; every loser's reason is kept.

use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::clock::{Clock, Deadline, Mark};
use crate::domain::{Code, Failure, Name, Outcome, Reading, Time, Try, spell};
use crate::extract::Extractor;
use crate::fetch::{Fetch, FetchError, Payload};

use super::Crew;

/// How long after its deadline an attempt that did not end by itself is given up.
const GRACE: Duration = Duration::from_millis(20);

/// What a race needs beside its crew.
pub(super) struct Gear<F> {
    pub(super) fetch: Arc<F>,
    pub(super) extractor: Extractor,
    pub(super) clock: Clock,
}

/// The end of one provider's request.
type Ended = Result<(usize, Result<Payload, FetchError>), JoinError>;

struct Race<'r, F> {
    gear: &'r Gear<F>,
    crew: &'r Crew,
    deadline: Deadline,
    /// Positions of the providers that have not been asked yet.
    waiting: std::vec::IntoIter<usize>,
    hedge_at: Option<Instant>,
    running: JoinSet<(usize, Result<Payload, FetchError>)>,
    /// When each running request began, by position.
    started: BTreeMap<usize, Mark>,
    /// The position of each request by its task: one that panics does not tell it.
    tasks: HashMap<Id, usize>,
    tries: BTreeMap<usize, Try>,
}

enum Event {
    Hedge,
    Overdue,
    Ended(Ended),
    Nobody,
}

/// Flies once with the providers at these positions; at least one.
pub(super) async fn run<F: Fetch>(gear: &Gear<F>, crew: &Crew, positions: Vec<usize>) -> Outcome {
    let begun = gear.clock.mark();
    let mut race = Race {
        gear,
        crew,
        deadline: gear.clock.deadline(crew.pace.timeout),
        waiting: positions.into_iter(),
        hedge_at: None,
        running: JoinSet::new(),
        started: BTreeMap::new(),
        tasks: HashMap::new(),
        tries: BTreeMap::new(),
    };
    let won = race.fly().await;
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
        loop {
            match self.event().await {
                Event::Hedge => self.start_next(),
                Event::Ended(ended) => {
                    if let Some(reading) = self.ended(ended).await {
                        return Some(reading);
                    }
                    self.start_next();
                }
                Event::Overdue => {
                    self.give_up();
                    return None;
                }
                Event::Nobody => return None,
            }
        }
    }

    async fn event(&mut self) -> Event {
        let hedge_at = self.hedge_at;
        let hedge = async {
            match hedge_at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = self.running.join_next() => ended.map_or(Event::Nobody, Event::Ended),
            () = hedge => Event::Hedge,
            () = sleep_until(self.deadline.at + GRACE) => Event::Overdue,
        }
    }

    fn start_next(&mut self) {
        self.hedge_at = None;
        let now = self.gear.clock.mark();
        if now.instant >= self.deadline.at {
            return;
        }
        let Some(position) = self.waiting.next() else { return };
        let (fetch, deadline) = (Arc::clone(&self.gear.fetch), self.deadline);
        let providers = Arc::clone(&self.crew.providers);
        self.started.insert(position, now);
        let request = async move { (position, fetch.fetch(&providers[position].0, deadline).await) };
        let task = self.running.spawn(request).id();
        self.tasks.insert(task, position);
        if self.waiting.len() > 0 {
            self.hedge_at = self.crew.pace.hedge_after.map(|after| now.instant + after);
        }
    }

    /// Takes in the end of one request; the filter runs here, so that a source has one evaluation at a time.
    async fn ended(&mut self, ended: Ended) -> Option<Reading> {
        let (position, result) = match ended {
            Ok(ended) => ended,
            Err(error) => (*self.tasks.get(&error.id())?, Err(broken())),
        };
        let crew = self.crew;
        let (provider, filter) = &crew.providers[position];
        let extracted = match result {
            Ok(Payload(bytes)) => {
                let extraction = self.gear.extractor.extract(&crew.source.name, filter, bytes, self.deadline);
                extraction.await.map_err(|failure| FetchError { failure, retry_after: None })
            }
            Err(error) => Err(error),
        };
        let fetched_at = self.note(position, extracted.as_ref().err());
        extracted.ok().map(|data| Reading { fetched_at, provider: provider.name.clone(), data })
    }

    /// Keeps what became of one request; gives the instant at which it was sent.
    fn note(&mut self, position: usize, error: Option<&FetchError>) -> Time {
        let clock = &self.gear.clock;
        let begun = self.started.remove(&position).unwrap_or_else(|| clock.mark());
        let hold = error.and_then(|e| e.retry_after).filter(|hold| !hold.is_zero());
        let one = Try {
            provider: self.crew.providers[position].0.name.clone(),
            at: begun.time,
            took: clock.since(begun),
            failure: error.map(|e| e.failure.clone()),
            held_until: hold.map(|hold| clock.now().after(hold)),
        };
        self.tries.insert(position, one);
        begun.time
    }

    /// Whatever still runs ignored its own deadline.
    fn give_up(&mut self) {
        let message = format!("no answer within {}", spell(self.deadline.limit));
        let error = FetchError { failure: Failure::new(Code::Timeout, message), retry_after: None };
        let running: Vec<usize> = self.started.keys().copied().collect();
        for position in running {
            self.note(position, Some(&error));
        }
    }
}

fn broken() -> FetchError {
    FetchError { failure: Failure::new(Code::Panic, super::table::BUG), retry_after: None }
}

/// The failure of the most preferred provider; with several, the message names each.
fn all_failed(tries: &[Try]) -> Failure {
    let failures: Vec<(&Name, &Failure)> =
        tries.iter().filter_map(|t| Some((&t.provider, t.failure.as_ref()?))).collect();
    match failures.as_slice() {
        [] => Failure::new(Code::Timeout, "no provider could be asked in time"),
        [(_, failure)] => (*failure).clone(),
        [(_, first), ..] => {
            let each: Vec<String> = failures.iter().map(|(name, f)| format!("{name}: {}", f.message)).collect();
            Failure::new(first.code, each.join("; "))
        }
    }
}
