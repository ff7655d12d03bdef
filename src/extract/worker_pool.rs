//! The service's side of filter workers: starts them, gives each one request at a time, and kills one whose deadline
//! has passed.

use std::collections::HashMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::process::Signal;
use tokio::time::{timeout, timeout_at};

use super::error::ExtractError;
use super::raw_body::RawBody;
use super::worker_memory::WorkerMemory;
use super::worker_process::{FilterWorker, WorkerLease, WorkerMeter};
use super::worker_protocol::{RequestHeader, ResponseHeader};
use super::worker_queue::{FilterPace, WorkerQueue};
use crate::domain::{Code, Name};
use crate::process::Deadline;
use crate::text::{UnitStyle, format_duration};

/// Workers for sources whose filter ended last time, or has not run yet.
const WORKERS: usize = 2;

/// Workers for sources whose last evaluation was killed at its deadline, so that they delay only each other.
const SLOW_WORKERS: usize = 1;

/// Interval at which the wait for a longer evaluation checks whether others wait.
const QUEUE_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// After a larger body, in bytes, a worker is replaced: the allocator keeps what the evaluation took.
const MAX_REUSE_BODY_BYTES: usize = 256 << 10;

/// After an evaluation that used more processor time, in milliseconds, a worker is replaced.
const MAX_REUSE_CPU_MS: u64 = 1000;

/// Held during an evaluation, by which those of one source take turns.
type FilterTurn = tokio::sync::Mutex<FilterPace>;

/// Starts workers and evaluates filters in them.
#[derive(Debug)]
pub(super) struct WorkerPool {
    program: PathBuf,
    memory: WorkerMemory,
    idle: Mutex<Vec<FilterWorker>>,
    ordinary: Arc<WorkerQueue>,
    slow: Arc<WorkerQueue>,
    /// One evaluation at a time for each source and purpose, which knows how long the last one took. Grows by the
    /// names of configurations only.
    paces: Mutex<HashMap<(Name, FilterPurpose), Arc<FilterTurn>>>,
}

/// How the wait for an answer ended.
enum Watched<T> {
    Ended(T),
    /// The deadline has passed.
    Late,
    /// The evaluation ran for its time on an ordinary worker, and others wait for one.
    Overtaken,
}

/// What the result of an evaluation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum FilterPurpose {
    /// The data of a source.
    Data,
    /// The metrics that are made of the data. A slow one must not delay the next reading.
    Metrics,
    /// A metric that did not end before. It must not delay the others.
    IsolatedMetric,
}

/// The input of one evaluation.
pub(super) struct Evaluation<'e> {
    pub(super) source: &'e Name,
    pub(super) purpose: FilterPurpose,
    pub(super) filter: &'e str,
    pub(super) body: &'e RawBody,
}

impl WorkerPool {
    /// A pool that runs `program` as its workers; none is started yet.
    pub(super) fn new(program: PathBuf) -> Self {
        Self {
            program,
            memory: WorkerMemory::new(WORKERS + SLOW_WORKERS),
            idle: Mutex::default(),
            ordinary: WorkerQueue::new(WORKERS),
            slow: WorkerQueue::new(SLOW_WORKERS),
            paces: Mutex::default(),
        }
    }

    /// Starts one worker and waits for its first answer, so that a service whose workers cannot run refuses to start.
    ///
    /// # Errors
    /// The system's error, or how the worker ended.
    pub(super) async fn check(&self, deadline: Deadline) -> Result<(), ExtractError> {
        let source = Name::new("check").unwrap_or_else(|_| unreachable!("a valid name"));
        let evaluation = Evaluation {
            source: &source,
            purpose: FilterPurpose::Data,
            filter: ".",
            body: &Bytes::from_static(b"1").into(),
        };
        self.evaluate(&evaluation, deadline).await.map(drop)
    }

    /// Evaluates in a worker, by `deadline`. A dropped future kills the worker.
    pub(super) async fn evaluate(
        &self,
        evaluation: &Evaluation<'_>,
        deadline: Deadline,
    ) -> Result<String, ExtractError> {
        let body = &evaluation.body.bytes;
        let turn = Arc::clone(
            self.paces
                .lock()
                .entry((evaluation.source.clone(), evaluation.purpose))
                .or_default(),
        );
        // The turn before the permit: a source whose filter is slow holds one permit, not all.
        let Ok(mut pace) = timeout_at(deadline.at, turn.lock()).await else {
            return Err(timeout_error(
                "waiting for an earlier evaluation of this source",
                deadline,
            ));
        };
        let request = RequestHeader {
            filter: evaluation.filter.into(),
            format: evaluation.body.format.clone(),
            charset: evaluation.body.charset.clone(),
            // Above the deadline: it only ends a worker whose service is gone or late.
            cpu_seconds: deadline.limit.as_secs() + 1,
            memory_bytes: self.memory.for_body(&evaluation.body.format, body.len()),
        };
        let mut was_stopped = false;
        loop {
            let mut lease = self.lease_worker(*pace, deadline).await?;
            let meter = lease.worker().meter();
            let exchange = lease.worker().exchange(&request, body);
            match self.watch(exchange, &meter, *pace, deadline).await {
                // The evaluation begins again, behind the others.
                Watched::Overtaken => *pace = pace.after_stop(),
                Watched::Late => {
                    *pace = FilterPace::Endless;
                    return Err(timeout_error("evaluating the filter", deadline));
                }
                Watched::Ended(Err(error)) => {
                    // A worker that sent a damaged response and lives on is killed by the drop of its lease.
                    let Ok(ended) = timeout_at(deadline.at, lease.worker().child.wait()).await
                    else {
                        return Err(timeout_error("evaluating the filter", deadline));
                    };
                    let status = ended.map_err(|error| missing_worker_error(&error))?;
                    // A stop of the whole process group reaches workers, too: the evaluation is repeated once.
                    let is_stop = [Signal::TERM, Signal::INT, Signal::HUP]
                        .into_iter()
                        .any(|signal| status.signal() == Some(signal.as_raw()));
                    if was_stopped || !is_stop {
                        *pace = FilterPace::Fatal;
                        return Err(worker_exit_error(
                            status,
                            &error,
                            request.memory_bytes,
                            deadline,
                        ));
                    }
                    was_stopped = true;
                }
                Watched::Ended(Ok((response, payload))) => {
                    *pace = FilterPace::of_cpu_ms(response.cpu_ms);
                    // An error of the filter leaves the worker usable, so it goes back, too.
                    if body.len() <= MAX_REUSE_BODY_BYTES && response.cpu_ms <= MAX_REUSE_CPU_MS {
                        lease.keep(&self.idle);
                    }
                    return decode_result(response, payload);
                }
            }
        }
    }

    /// Returns whether the last evaluation for a source's data did not end, so that its next one may wait long.
    pub(super) fn is_endless(&self, source: &Name) -> bool {
        let key = (source.clone(), FilterPurpose::Data);
        let turn = self.paces.lock().get(&key).map(Arc::clone);
        // While an evaluation runs, another one waits for it in any case.
        turn.is_some_and(|turn| {
            turn.try_lock()
                .is_ok_and(|pace| *pace == FilterPace::Endless)
        })
    }

    /// Waits for a worker: an ordinary one, or a slow one if the source's last evaluation did not end.
    async fn lease_worker(
        &self,
        pace: FilterPace,
        deadline: Deadline,
    ) -> Result<WorkerLease, ExtractError> {
        let queue = pace.time_slice().map_or(&self.slow, |_| &self.ordinary);
        let Ok(permit) = timeout_at(deadline.at, queue.acquire(pace)).await else {
            return Err(timeout_error("waiting for a filter worker", deadline));
        };
        let worker = self
            .take_worker()
            .map_err(|error| missing_worker_error(&error))?;
        Ok(WorkerLease::new(worker, permit))
    }

    /// Waits for the answer until the deadline; on an ordinary worker only as long as no other evaluation waits, or for
    /// the processor time that its pace allows.
    async fn watch<T>(
        &self,
        exchange: impl Future<Output = T>,
        meter: &WorkerMeter,
        pace: FilterPace,
        deadline: Deadline,
    ) -> Watched<T> {
        let mut exchange = pin!(exchange);
        let time = pace.time_slice().unwrap_or(deadline.limit);
        // On a busy machine a worker needs longer for its time, for which its filter is not to blame.
        let is_over = || meter.used().is_none_or(|used| used >= time);
        let mut slice = time;
        loop {
            match timeout_at(deadline.at, timeout(slice, &mut exchange)).await {
                Ok(Ok(result)) => return Watched::Ended(result),
                Err(_) => return Watched::Late,
                Ok(Err(_)) if self.ordinary.has_waiting() && is_over() => {
                    return Watched::Overtaken;
                }
                Ok(Err(_)) => slice = QUEUE_CHECK_INTERVAL,
            }
        }
    }

    /// Returns an idle worker that still runs, or starts one.
    fn take_worker(&self) -> io::Result<FilterWorker> {
        loop {
            let Some(mut worker) = self.idle.lock().pop() else {
                return FilterWorker::start(&self.program);
            };
            if matches!(worker.child.try_wait(), Ok(None)) {
                return Ok(worker);
            }
        }
    }
}

fn decode_result(response: ResponseHeader, payload: Vec<u8>) -> Result<String, ExtractError> {
    let Some(error) = response.error else {
        return String::from_utf8(payload)
            .map_err(|_| ExtractError::new(Code::Panic, "the filter worker answered no text"));
    };
    // A worker is not trusted, so a code that is unknown is one of its bugs.
    let code = Code::from_text(&error.code).unwrap_or(Code::Panic);
    Err(if error.has_quote {
        ExtractError::with_quote(code, error.message, &payload)
    } else {
        ExtractError::new(code, error.message)
    })
}

/// Returns the error of an evaluation that did not end by the deadline.
fn timeout_error(activity: &str, deadline: Deadline) -> ExtractError {
    let limit = format_duration(deadline.limit, UnitStyle::Message);
    ExtractError::new(
        Code::ExtractTimeout,
        format!("the filter did not end within the attempt's {limit} ({activity})"),
    )
}

/// Returns the error of an evaluation for which no worker could be started.
fn missing_worker_error(error: &io::Error) -> ExtractError {
    ExtractError::new(
        Code::ExtractFailed,
        format!("no process for the filter: {error}"),
    )
}

/// Returns the error of a worker that ended, by its signal: a refused allocation aborts, an overflow of the stack is a
/// segmentation fault.
fn worker_exit_error(
    status: ExitStatus,
    error: &io::Error,
    memory_bytes: u64,
    deadline: Deadline,
) -> ExtractError {
    let ended_by = |signal: Signal| status.signal() == Some(signal.as_raw());
    let message = if ended_by(Signal::XCPU) {
        return timeout_error("evaluating the filter", deadline);
    } else if ended_by(Signal::ABORT) {
        format!(
            "the filter takes more than {} MiB of memory, its input included",
            memory_bytes >> 20
        )
    } else if ended_by(Signal::SEGV) || ended_by(Signal::BUS) {
        "the filter recurses without end".to_owned()
    } else if ended_by(Signal::KILL) {
        "the system ended the filter's process for want of memory".to_owned()
    } else {
        format!("the filter's process ended ({status}; {error})")
    };
    ExtractError::new(Code::ExtractFailed, message)
}
