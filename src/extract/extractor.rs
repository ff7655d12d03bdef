//! Extraction of data from response bodies: filters run on separate threads, one evaluation at a
//! time per source, under the deadline of the attempt.
//!
//! A thread cannot be stopped from outside. At its deadline an evaluation is cancelled and stops at
//! its next step. If a single step takes long (a comparison of very large values), the evaluation
//! is abandoned: it keeps its thread, and later attempts of that source fail at once until it ends.
//! So a source can occupy at most one thread.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout_at;

use super::budget::{EvaluationBudget, MAX_INLINE_BYTES};
use super::compile::FilterError;
use super::error::ExtractError;
use super::evaluation_slot::EvaluationSlot;
use super::filter::Filter;
use super::filter_cache::FilterCache;
use super::json;
use super::limits::CancelFlag;
use super::threads::{EvaluationThreads, Reuse};
use crate::domain::{Code, Failure, JsonData, Name, Redactor};
use crate::process::Deadline;

/// Quoted for a panic without a message.
const NO_PANIC_MESSAGE: &str = "no message";

/// Runs filters over response bodies. Cheap to clone; clones share all state.
#[derive(Debug, Clone, Default)]
pub struct Extractor {
    /// One slot per source. Source names come from configurations only, so the map stays small.
    slots: Arc<Mutex<HashMap<Name, Arc<EvaluationSlot>>>>,
    threads: Arc<EvaluationThreads>,
    redactor: Redactor,
    filters: Arc<Mutex<FilterCache>>,
    budget: EvaluationBudget,
}

/// Cancels an evaluation when its waiting request is dropped.
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

    /// Replaces the compiled filters.
    pub fn set_filters(&self, filters: FilterCache) {
        *self.filters.lock() = filters;
    }

    /// Returns the filter of `text`, compiled now if it is not known.
    pub fn compile_filter(&self, text: &str) -> Result<Filter, FilterError> {
        self.filters.lock().get_or_compile(text)
    }

    /// Checks `payload` (UTF-8, depth, RFC 8259), runs `filter` over it and checks the result,
    /// until `deadline`. Waits for an earlier evaluation of `source`. Dropping the future cancels
    /// the filter.
    pub async fn extract(
        &self,
        source: &Name,
        filter: &Filter,
        payload: Bytes,
        deadline: Deadline,
    ) -> Result<JsonData, Failure> {
        let result = if filter.is_identity() && payload.len() <= MAX_INLINE_BYTES {
            evaluate_payload(filter, &payload, &CancelFlag::default())
        } else {
            self.extract_on_thread(source, filter, payload, deadline)
                .await
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
        deadline: Deadline,
    ) -> EvaluationResult {
        let slot = self.source_slot(source);
        if slot.is_abandoned() {
            return Err(still_running_error());
        }
        let permit = timeout_at(deadline.at, Arc::clone(&slot.permit).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            let running = slot.current_evaluation.load(Ordering::Acquire);
            return Err(slot.abandon(running, deadline));
        };
        let _memory = self.budget.acquire_permit(payload.len(), deadline).await?;
        let evaluation = slot.current_evaluation.fetch_add(1, Ordering::AcqRel) + 1;
        let cancel = CancelFlag::default();
        let _guard = CancelOnDrop(cancel.clone());
        let result = self.start_evaluation(permit, filter.clone(), payload, cancel)?;
        match timeout_at(deadline.at, result).await {
            Ok(result) => result.unwrap_or_else(|_| Err(panic_error(NO_PANIC_MESSAGE))),
            Err(_) => Err(slot.abandon(evaluation, deadline)),
        }
    }

    /// Starts the evaluation on a thread, which releases `permit` at the end.
    fn start_evaluation(
        &self,
        permit: OwnedSemaphorePermit,
        filter: Filter,
        payload: Bytes,
        cancel: CancelFlag,
    ) -> Result<oneshot::Receiver<EvaluationResult>, ExtractError> {
        let (sender, receiver) = oneshot::channel();
        let work = move || {
            let result = evaluate_payload(&filter, &payload, &cancel);
            let reuse = if result.is_ok() {
                Reuse::Yes
            } else {
                Reuse::No
            };
            // Before the result is sent, so that the next attempt does not find the slot occupied.
            drop(permit);
            // The receiver is gone if the request was dropped.
            let _ = sender.send(result);
            reuse
        };
        self.threads.run(work).map_err(|error| {
            ExtractError::new(
                Code::ExtractFailed,
                format!("no thread for the filter: {error}"),
            )
        })?;
        Ok(receiver)
    }

    fn source_slot(&self, source: &Name) -> Arc<EvaluationSlot> {
        Arc::clone(self.slots.lock().entry(source.clone()).or_default())
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn evaluate_payload(filter: &Filter, payload: &Bytes, cancel: &CancelFlag) -> EvaluationResult {
    let run =
        || json::check_json(payload).and_then(|range| filter.run(&payload.slice(range), cancel));
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| Err(panic_error(panic_message(&*panic))))
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or(NO_PANIC_MESSAGE)
}

fn panic_error(message: &str) -> ExtractError {
    ExtractError::with_quote(
        Code::Panic,
        "a bug of ours, contained: the extraction panicked",
        message.as_bytes(),
    )
}

fn still_running_error() -> ExtractError {
    let message = "an earlier evaluation of this source's filter has not ended yet; the filter is too expensive";
    ExtractError::new(Code::ExtractTimeout, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::domain::SecretSet;
    use crate::process::Clock;

    /// Compares two values of 2^26 leaves in one step of jaq, which cannot be cancelled.
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
        let limit = clock.deadline(Duration::from_secs(60));
        while extract(extractor, source, "{usd}", Duration::from_secs(9))
            .await
            .is_err()
        {
            assert!(
                clock.instant() < limit.at,
                "still abandoned after {:?}",
                limit.limit
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn elapsed_since(start: Instant) -> Duration {
        Clock::start().instant().saturating_duration_since(start)
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
        let (extractor, start) = (Extractor::default(), Clock::start().instant());
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
            elapsed_since(start) < Duration::from_millis(80 + 200),
            "{:?}",
            elapsed_since(start)
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
        let start = Clock::start().instant();
        let failure = extract(&extractor, "btc", "{usd}", Duration::from_secs(9))
            .await
            .unwrap_err();
        assert_eq!(failure.code, Code::ExtractTimeout);
        assert!(failure.message.contains("has not ended yet"), "{failure}");
        assert!(
            elapsed_since(start) < Duration::from_millis(200),
            "{:?}",
            elapsed_since(start)
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
        let dropped = tokio::time::timeout(Duration::from_millis(50), forever).await;
        assert!(dropped.is_err());
        assert!(
            extract(&extractor, "btc", "{usd}", Duration::from_secs(9))
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn evaluations_of_source_serialise() {
        let extractor = Extractor::default();
        let evaluation = || {
            extract(
                &extractor,
                "btc",
                "last(range(20000)) | {usd: .}",
                Duration::from_secs(30),
            )
        };
        let (first, second, third) = tokio::join!(evaluation(), evaluation(), evaluation());
        assert_eq!(first, second);
        assert_eq!(third.unwrap().as_json(), "{\"usd\":19999}");
        let slot = extractor.source_slot(&Name::new("btc").unwrap());
        assert_eq!(slot.current_evaluation.load(Ordering::Relaxed), 3);
    }

    /// Causes an integer overflow in jaq, which only debug builds detect.
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
    async fn secrets_are_redacted() {
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
