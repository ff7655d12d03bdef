//! Who runs filters: off the async threads, one evaluation per source at a time, each under its attempt's deadline.
//!
//! A thread cannot be stopped from outside. An evaluation whose time is over is asked to stop, and does so at its next
//! step; one that is lost inside of a single step (a comparison of enormous values, say) keeps its thread, and every
//! later attempt of that source fails at once until it comes back. So a source can lose one thread at most.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout_at;

use super::budget::EvaluationBudget;
use super::error::ExtractError;
use super::filter::{Filter, FilterError};
use super::filters::FilterCache;
use super::json;
use super::limits::CancelFlag;
use super::threads::{EvaluationThreads, Reuse};
use crate::domain::{Code, Failure, JsonData, Name, Redactor};
use crate::process::Deadline;
use crate::text::format_duration;

/// The largest body that `.` handles in place: there is nothing to run, and it takes less time than a thread does.
pub(super) const MAX_INLINE_BYTES: usize = 32 << 10;

/// Runs filters off the async threads, one per source at a time. Cheap to clone; clones share turns and secrets.
#[derive(Debug, Clone, Default)]
pub struct Extractor {
    /// By source. It grows by the names of configurations only.
    slots: Arc<Mutex<HashMap<Name, Arc<EvaluationSlot>>>>,
    threads: Arc<EvaluationThreads>,
    redactor: Redactor,
    filters: Arc<Mutex<FilterCache>>,
    budget: EvaluationBudget,
}

/// The turns of one source.
#[derive(Debug)]
struct EvaluationSlot {
    /// One permit; it is held by the thread that evaluates, not by whoever waits for it.
    permit: Arc<Semaphore>,
    /// Which evaluation has the turn, counted from 1.
    current_evaluation: AtomicU64,
    /// Which one was last given up.
    abandoned: AtomicU64,
}

/// Asks an evaluation to stop when nobody waits for it any more.
struct CancelOnDrop(CancelFlag);

type EvaluationResult = Result<String, ExtractError>;

impl Extractor {
    /// Returns an extractor whose failure messages pass through `redactor`.
    pub fn new(redactor: Redactor) -> Self {
        Self {
            redactor,
            ..Self::default()
        }
    }

    /// Takes over filters that are compiled already, instead of those that it had.
    pub fn set_filters(&self, filters: FilterCache) {
        *self.filters.lock() = filters;
    }

    /// The filter of this text; compiled now, unless it is known.
    pub fn compile_filter(&self, text: &str) -> Result<Filter, FilterError> {
        self.filters.lock().get_or_compile(text)
    }

    /// Checks `payload` strictly (UTF-8, depth, RFC 8259), runs `filter` over it and checks the result, by `deadline`.
    /// It takes as long as the turn of `source` and the filter take; a dropped future stops the filter.
    pub async fn extract(
        &self,
        source: &Name,
        filter: &Filter,
        payload: Bytes,
        by: Deadline,
    ) -> Result<JsonData, Failure> {
        let result = if filter.is_identity() && payload.len() <= MAX_INLINE_BYTES {
            evaluate_payload(filter, &payload, &CancelFlag::default())
        } else {
            self.extract_on_thread(source, filter, payload, by).await
        };
        result
            .map(JsonData::from_checked)
            .map_err(|error| error.into_failure(&self.redactor))
    }

    async fn extract_on_thread(
        &self,
        source: &Name,
        filter: &Filter,
        payload: Bytes,
        by: Deadline,
    ) -> EvaluationResult {
        let lane = self.source_slot(source);
        if lane.is_abandoned() {
            return Err(still_running_error());
        }
        let turn = timeout_at(by.at, Arc::clone(&lane.permit).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(lane.abandon(lane.current_evaluation.load(Ordering::Acquire), by));
        };
        let _room = self.budget.acquire_permit(payload.len(), by).await?;
        let ticket = lane.current_evaluation.fetch_add(1, Ordering::AcqRel) + 1;
        let stop = CancelFlag::default();
        let _waiting = CancelOnDrop(stop.clone());
        let answer = self.start_evaluation(turn, filter.clone(), payload, stop)?;
        match timeout_at(by.at, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(panic_error("without a word"))),
            Err(_) => Err(lane.abandon(ticket, by)),
        }
    }

    /// Evaluates on a thread, which gives `turn` back when it is done.
    fn start_evaluation(
        &self,
        turn: OwnedSemaphorePermit,
        filter: Filter,
        payload: Bytes,
        stop: CancelFlag,
    ) -> Result<oneshot::Receiver<EvaluationResult>, ExtractError> {
        let (give, answer) = oneshot::channel();
        let work = move || {
            let outcome = evaluate_payload(&filter, &payload, &stop);
            let keep = if outcome.is_ok() {
                Reuse::Yes
            } else {
                Reuse::No
            };
            drop(turn);
            // Nobody may be waiting any more.
            let _ = give.send(outcome);
            keep
        };
        let started = self.threads.run(work);
        started.map_err(|error| {
            ExtractError::new(
                Code::ExtractFailed,
                format!("no thread for the filter: {error}"),
            )
        })?;
        Ok(answer)
    }

    fn source_slot(&self, source: &Name) -> Arc<EvaluationSlot> {
        let mut lanes = self.slots.lock();
        Arc::clone(lanes.entry(source.clone()).or_default())
    }
}

impl Default for EvaluationSlot {
    fn default() -> Self {
        Self {
            permit: Arc::new(Semaphore::new(1)),
            current_evaluation: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
        }
    }
}

impl EvaluationSlot {
    /// Whether the evaluation that has the turn was given up.
    fn is_abandoned(&self) -> bool {
        let lost = self.abandoned.load(Ordering::Acquire);
        lost != 0
            && lost == self.current_evaluation.load(Ordering::Acquire)
            && self.permit.available_permits() == 0
    }

    fn abandon(&self, ticket: u64, by: Deadline) -> ExtractError {
        self.abandoned.fetch_max(ticket, Ordering::AcqRel);
        ExtractError::new(
            Code::ExtractTimeout,
            format!(
                "the filter did not end within the attempt's {}",
                format_duration(by.limit)
            ),
        )
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn evaluate_payload(filter: &Filter, payload: &Bytes, stop: &CancelFlag) -> EvaluationResult {
    let run =
        || json::check_json(payload).and_then(|range| filter.run(&payload.slice(range), stop));
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|thrown| Err(panic_error(panic_message(&*thrown))))
}

fn panic_message(thrown: &(dyn Any + Send)) -> &str {
    let text = thrown.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| thrown.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
}

fn panic_error(said: &str) -> ExtractError {
    ExtractError::with_quote(
        Code::Panic,
        "a bug of ours, contained: the extraction panicked",
        said.as_bytes(),
    )
}

fn still_running_error() -> ExtractError {
    let what = "an earlier evaluation of this source's filter has not ended yet; the filter is too expensive";
    ExtractError::new(Code::ExtractTimeout, what)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::domain::SecretSet;
    use crate::process::Clock;

    /// Compares two values of 2^26 leaves in one step of jaq, which nobody can stop.
    const UNINTERRUPTIBLE_FILTER: &str =
        "[1, 1] | map(reduce range(26) as $i (.; [., .])) | .[0] == .[1]";

    async fn extract(
        extractor: &Extractor,
        source: &str,
        filter: &str,
        limit: Duration,
    ) -> Result<JsonData, Failure> {
        let (source, filter) = (Name::new(source).unwrap(), Filter::compile(filter).unwrap());
        let payload = Bytes::from_static(b"{\"usd\": 97123.450}");
        extractor
            .extract(&source, &filter, payload, Clock::start().deadline(limit))
            .await
    }

    async fn wait_until_recovered(extractor: &Extractor, source: &str) {
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

    fn elapsed_since(began: Instant) -> Duration {
        Clock::start().instant().saturating_duration_since(began)
    }

    #[tokio::test]
    async fn body_becomes_data() {
        let extractor = Extractor::default();
        for filter in [".", "{usd}", ". | ."] {
            let data = extract(&extractor, "btc", filter, Duration::from_secs(9))
                .await
                .unwrap();
            assert_eq!(data.as_json(), "{\"usd\":97123.450}");
        }
    }

    #[tokio::test]
    async fn endless_filter_stops_at_deadline() {
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
            elapsed_since(began) < Duration::from_millis(80 + 200),
            "{:?}",
            elapsed_since(began)
        );
        wait_until_recovered(&extractor, "btc").await;
    }

    #[tokio::test]
    async fn abandoned_filter_blocks_its_source() {
        let extractor = Extractor::default();
        let failure = extract(
            &extractor,
            "btc",
            UNINTERRUPTIBLE_FILTER,
            Duration::from_millis(300),
        )
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
            elapsed_since(began) < Duration::from_millis(200),
            "{:?}",
            elapsed_since(began)
        );
        assert!(
            extract(&extractor, "usd", "{usd}", Duration::from_secs(9))
                .await
                .is_ok()
        );
        wait_until_recovered(&extractor, "btc").await;
    }

    #[tokio::test]
    async fn dropped_future_stops_filter() {
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
    async fn evaluations_of_source_serialise() {
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
        let lane = extractor.source_slot(&Name::new("btc").unwrap());
        assert_eq!(lane.current_evaluation.load(Ordering::Relaxed), 3);
    }

    /// An overflow in jaq, which release builds do not look for.
    #[cfg(debug_assertions)]
    #[tokio::test]
    async fn filter_panic_is_contained() {
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
        let secrets = SecretSet::new(["97123.450".to_owned()]);
        let extractor = Extractor::new(Redactor::new(secrets));
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
