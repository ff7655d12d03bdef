//! Who runs filters: off the async threads, one evaluation per source at a time, each under its attempt's deadline.
//!
//! A thread cannot be stopped from outside. An evaluation whose time is over is asked to stop, and does so at its next
//! step; one that is lost inside of a single step (a comparison of enormous values, say) keeps its thread, and every
//! later attempt of that source fails at once until it comes back. So a source can lose one thread at most.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout_at;

use super::complaint::Complaint;
use super::filter::{Filter, FilterError};
use super::filters::Filters;
use super::json;
use super::room::Room;
use super::threads::{Keep, Threads};
use super::watch::Stop;
use crate::clock::Deadline;
use crate::domain::{Code, Data, Failure, Name, Secrets, Veil, spell};

/// The largest body that `.` handles in place: there is nothing to run, and it takes less time than a thread does.
pub(super) const IN_PLACE: usize = 32 << 10;

/// Runs filters off the async threads, one per source at a time. Cheap to clone; clones share turns and secrets.
#[derive(Debug, Clone, Default)]
pub struct Extractor {
    /// By source. It grows by the names of configurations only.
    lanes: Arc<Mutex<HashMap<Name, Arc<Lane>>>>,
    threads: Arc<Threads>,
    veil: Arc<RwLock<Veil>>,
    filters: Arc<Mutex<Filters>>,
    room: Room,
}

/// The turns of one source.
#[derive(Debug)]
struct Lane {
    /// One permit; it is held by the thread that evaluates, not by whoever waits for it.
    turn: Arc<Semaphore>,
    /// Which evaluation has the turn, counted from 1.
    running: AtomicU64,
    /// Which one was last given up.
    lost: AtomicU64,
}

/// Asks an evaluation to stop when nobody waits for it any more.
struct Waiting(Stop);

type Answer = Result<String, Complaint>;

impl Extractor {
    /// An extractor that masks `secrets` in its messages.
    pub fn new(secrets: Secrets) -> Self {
        let extractor = Self::default();
        extractor.set_secrets(secrets);
        extractor
    }

    /// Masks `secrets` from now on, after a reload; those of the configuration before stay masked.
    pub fn set_secrets(&self, secrets: Secrets) {
        self.veil
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(secrets);
    }

    /// Takes over filters that are compiled already, instead of those that it had.
    pub fn know(&self, filters: Filters) {
        *self.filters.lock().unwrap_or_else(PoisonError::into_inner) = filters;
    }

    /// The filter of this text; compiled now, unless it is known.
    pub fn filter(&self, text: &str) -> Result<Filter, FilterError> {
        self.filters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(text)
    }

    /// Checks `payload` strictly (UTF-8, depth, RFC 8259), runs `filter` over it and checks the result, by `deadline`.
    /// It takes as long as the turn of `source` and the filter take; a dropped future stops the filter.
    pub async fn extract(
        &self,
        source: &Name,
        filter: &Filter,
        payload: Bytes,
        by: Deadline,
    ) -> Result<Data, Failure> {
        let answer = if filter.is_identity() && payload.len() <= IN_PLACE {
            evaluate(filter, &payload, &Stop::default())
        } else {
            self.on_thread(source, filter, payload, by).await
        };
        answer.map(Data::from_checked).map_err(|complaint| {
            let veil = self.veil.read().unwrap_or_else(PoisonError::into_inner);
            complaint.into_failure(&veil)
        })
    }

    async fn on_thread(
        &self,
        source: &Name,
        filter: &Filter,
        payload: Bytes,
        by: Deadline,
    ) -> Answer {
        let lane = self.lane(source);
        if lane.is_lost() {
            return Err(still_running());
        }
        let turn = timeout_at(by.at, Arc::clone(&lane.turn).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(lane.give_up(lane.running.load(Ordering::Acquire), by));
        };
        let _room = self.room.take(payload.len(), by).await?;
        let ticket = lane.running.fetch_add(1, Ordering::AcqRel) + 1;
        let stop = Stop::default();
        let _waiting = Waiting(stop.clone());
        let answer = self.start(turn, filter.clone(), payload, stop)?;
        match timeout_at(by.at, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(panicked("without a word"))),
            Err(_) => Err(lane.give_up(ticket, by)),
        }
    }

    /// Evaluates on a thread, which gives `turn` back when it is done.
    fn start(
        &self,
        turn: OwnedSemaphorePermit,
        filter: Filter,
        payload: Bytes,
        stop: Stop,
    ) -> Result<oneshot::Receiver<Answer>, Complaint> {
        let (give, answer) = oneshot::channel();
        let work = move || {
            let outcome = evaluate(&filter, &payload, &stop);
            let keep = if outcome.is_ok() { Keep::Yes } else { Keep::No };
            drop(turn);
            // Nobody may be waiting any more.
            let _ = give.send(outcome);
            keep
        };
        let started = self.threads.run(work);
        started.map_err(|error| {
            Complaint::new(
                Code::ExtractFailed,
                format!("no thread for the filter: {error}"),
            )
        })?;
        Ok(answer)
    }

    fn lane(&self, source: &Name) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lanes.entry(source.clone()).or_default())
    }
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            running: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }
}

impl Lane {
    /// Whether the evaluation that has the turn was given up.
    fn is_lost(&self) -> bool {
        let lost = self.lost.load(Ordering::Acquire);
        lost != 0
            && lost == self.running.load(Ordering::Acquire)
            && self.turn.available_permits() == 0
    }

    fn give_up(&self, ticket: u64, by: Deadline) -> Complaint {
        self.lost.fetch_max(ticket, Ordering::AcqRel);
        Complaint::new(
            Code::ExtractTimeout,
            format!(
                "the filter did not end within the attempt's {}",
                spell(by.limit)
            ),
        )
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.ask();
    }
}

fn evaluate(filter: &Filter, payload: &Bytes, stop: &Stop) -> Answer {
    let run = || json::check(payload).and_then(|range| filter.run(&payload.slice(range), stop));
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|thrown| Err(panicked(said(&*thrown))))
}

fn said(thrown: &(dyn Any + Send)) -> &str {
    let text = thrown.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| thrown.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
}

fn panicked(said: &str) -> Complaint {
    Complaint::quoting(
        Code::Panic,
        "a bug of ours, contained: the extraction panicked",
        said.as_bytes(),
    )
}

fn still_running() -> Complaint {
    let what = "an earlier evaluation of this source's filter has not ended yet; the filter is too expensive";
    Complaint::new(Code::ExtractTimeout, what)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::clock::Clock;

    /// Compares two values of 2^26 leaves in one step of jaq, which nobody can stop.
    const LONG_STEP: &str = "[1, 1] | map(reduce range(26) as $i (.; [., .])) | .[0] == .[1]";

    async fn extract(
        extractor: &Extractor,
        source: &str,
        filter: &str,
        limit: Duration,
    ) -> Result<Data, Failure> {
        let (source, filter) = (Name::new(source).unwrap(), Filter::compile(filter).unwrap());
        let payload = Bytes::from_static(b"{\"usd\": 97123.450}");
        extractor
            .extract(&source, &filter, payload, Clock::start().deadline(limit))
            .await
    }

    async fn until_it_works(extractor: &Extractor, source: &str) {
        let clock = Clock::start();
        let patience = clock.deadline(Duration::from_secs(60));
        while extract(extractor, source, "{usd}", Duration::from_secs(9))
            .await
            .is_err()
        {
            assert!(
                clock.instant() < patience.at,
                "still lost after {:?}",
                patience.limit
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn since(began: Instant) -> Duration {
        Clock::start().instant().saturating_duration_since(began)
    }

    #[tokio::test]
    async fn a_body_becomes_data() {
        let extractor = Extractor::default();
        for filter in [".", "{usd}", ". | ."] {
            let data = extract(&extractor, "btc", filter, Duration::from_secs(9))
                .await
                .unwrap();
            assert_eq!(data.as_json(), "{\"usd\":97123.450}");
        }
    }

    #[tokio::test]
    async fn a_filter_that_never_ends_is_given_up_at_the_deadline_and_gives_its_turn_back() {
        let (extractor, began) = (Extractor::default(), Clock::start().instant());
        let failure = extract(
            &extractor,
            "btc",
            "last(repeat(.))",
            Duration::from_millis(80),
        )
        .await
        .unwrap_err();
        assert_eq!(failure.code, Code::ExtractTimeout);
        assert_eq!(
            &*failure.message,
            "the filter did not end within the attempt's 80 ms"
        );
        assert!(
            since(began) < Duration::from_millis(80 + 200),
            "{:?}",
            since(began)
        );
        until_it_works(&extractor, "btc").await;
    }

    #[tokio::test]
    async fn a_lost_thread_fails_its_source_at_once_until_it_is_back() {
        let extractor = Extractor::default();
        let failure = extract(&extractor, "btc", LONG_STEP, Duration::from_millis(300))
            .await
            .unwrap_err();
        assert_eq!(failure.code, Code::ExtractTimeout);
        let began = Clock::start().instant();
        let failure = extract(&extractor, "btc", "{usd}", Duration::from_secs(9))
            .await
            .unwrap_err();
        assert_eq!(failure.code, Code::ExtractTimeout);
        assert!(failure.message.contains("has not ended yet"), "{failure}");
        assert!(
            since(began) < Duration::from_millis(200),
            "{:?}",
            since(began)
        );
        assert!(
            extract(&extractor, "usd", "{usd}", Duration::from_secs(9))
                .await
                .is_ok()
        );
        until_it_works(&extractor, "btc").await;
    }

    #[tokio::test]
    async fn who_leaves_stops_the_filter() {
        let extractor = Extractor::default();
        let forever = extract(
            &extractor,
            "btc",
            "last(repeat(.))",
            Duration::from_secs(99),
        );
        let left = tokio::time::timeout(Duration::from_millis(50), forever).await;
        assert!(left.is_err());
        assert!(
            extract(&extractor, "btc", "{usd}", Duration::from_secs(9))
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn evaluations_of_one_source_take_turns() {
        let extractor = Extractor::default();
        let one = || {
            extract(
                &extractor,
                "btc",
                "last(range(20000)) | {usd: .}",
                Duration::from_secs(30),
            )
        };
        let (first, second, third) = tokio::join!(one(), one(), one());
        assert_eq!(first, second);
        assert_eq!(third.unwrap().as_json(), "{\"usd\":19999}");
        let lane = extractor.lane(&Name::new("btc").unwrap());
        assert_eq!(lane.running.load(Ordering::Relaxed), 3);
    }

    /// An overflow in jaq, which release builds do not look for.
    #[cfg(debug_assertions)]
    #[tokio::test]
    async fn a_panic_is_contained() {
        let extractor = Extractor::default();
        let filter = "[2020, 127, 1, 0, 0, 0] | mktime";
        let failure = extract(&extractor, "btc", filter, Duration::from_secs(9))
            .await
            .unwrap_err();
        assert_eq!(failure.code, Code::Panic);
        assert!(
            failure.message.starts_with("a bug of ours, contained"),
            "{failure}"
        );
        assert!(
            extract(&extractor, "btc", "{usd}", Duration::from_secs(9))
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn secrets_are_masked() {
        let secrets = Secrets::new(["97123.450".to_owned()]);
        let extractor = Extractor::new(secrets);
        let failure = extract(
            &extractor,
            "btc",
            "error(\"\\(.usd) is wrong\")",
            Duration::from_secs(9),
        )
        .await;
        assert_eq!(
            &*failure.unwrap_err().message,
            "the filter's error: *** is wrong"
        );
    }
}
