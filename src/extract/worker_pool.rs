//! The service's side of filter workers: starts them, gives each one request at a time, and kills one whose deadline
//! has passed.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{timeout, timeout_at};

use super::error::ExtractError;
use super::filter::max_result_bytes;
use super::raw_body::RawBody;
use super::worker::WORKER_COMMAND;
use super::worker_memory::WorkerMemory;
use super::worker_protocol::{RequestHeader, ResponseHeader, encode_header, read_response};
use crate::domain::{Code, Name};
use crate::process::Deadline;
use crate::text::{UnitStyle, format_duration};

/// Workers for sources whose filter ended last time.
const WORKERS: usize = 2;

/// Workers for sources whose last evaluation was killed at its deadline, so that they delay only each other.
const SLOW_WORKERS: usize = 1;

/// An evaluation that has run this long on an ordinary worker is stopped while others wait, and repeated on a slow one.
const ORDINARY_TIME: Duration = Duration::from_millis(500);

/// Interval at which the wait for a longer evaluation checks whether others wait.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// After a larger body, in bytes, a worker is replaced: the allocator keeps what the evaluation took.
const MAX_REUSE_BODY_BYTES: usize = 256 << 10;

/// After an evaluation that used more processor time, in milliseconds, a worker is replaced.
const MAX_REUSE_CPU_MS: u64 = 1000;

/// Bytes of a quoted text beside the data that a response may hold.
const MAX_QUOTE_BYTES: usize = 1 << 20;

/// Starts workers and evaluates filters in them.
#[derive(Debug)]
pub(super) struct WorkerPool {
    program: PathBuf,
    memory: WorkerMemory,
    idle: Mutex<Vec<FilterWorker>>,
    permits: Semaphore,
    slow_permits: Semaphore,
    /// Evaluations that wait for an ordinary worker.
    waiting: AtomicU32,
    /// Sources whose last evaluation was killed at its deadline.
    slow_sources: Mutex<HashSet<Name>>,
    /// One evaluation at a time for each source. Grows by the names of configurations only.
    turns: Mutex<HashMap<Name, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug)]
struct FilterWorker {
    child: Child,
    stream: UnixStream,
}

/// Permit to use a worker.
#[derive(Debug)]
struct Permit<'p> {
    is_slow: bool,
    _permit: SemaphorePermit<'p>,
}

/// Counts one waiting evaluation until it is dropped, also with its future.
struct WaitGuard<'w>(&'w AtomicU32);

impl<'w> WaitGuard<'w> {
    fn new(waiting: &'w AtomicU32) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How the wait for an answer ended.
enum Watched<T> {
    Ended(T),
    /// The deadline has passed.
    Late,
    /// The evaluation ran for [`ORDINARY_TIME`] on an ordinary worker, and others wait for one.
    Overtaken,
}

/// The input of one evaluation.
pub(super) struct Evaluation<'e> {
    pub(super) source: &'e Name,
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
            permits: Semaphore::new(WORKERS),
            slow_permits: Semaphore::new(SLOW_WORKERS),
            waiting: AtomicU32::new(0),
            slow_sources: Mutex::default(),
            turns: Mutex::default(),
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
        let (source, body) = (evaluation.source, &evaluation.body.bytes);
        let turn = Arc::clone(self.turns.lock().entry(source.clone()).or_default());
        // The turn before the permit: a source whose filter is slow holds one permit, not all.
        let Ok(_turn) = timeout_at(deadline.at, turn.lock()).await else {
            return Err(timeout_error(
                "waiting for an earlier evaluation of this source",
                deadline,
            ));
        };
        let mut permit = self.acquire_permit(source, deadline).await?;
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
            // Put back only after a whole exchange: in any other case its drop kills the process.
            let mut worker = self
                .take_worker()
                .map_err(|error| missing_worker_error(&error))?;
            let exchange = worker.exchange(&request, body);
            match self.watch(exchange, &permit, deadline).await {
                Watched::Overtaken => {
                    // Dropping the worker kills it. The evaluation begins again behind the other slow ones.
                    drop((worker, permit));
                    self.slow_sources.lock().insert(source.clone());
                    permit = self.acquire_permit(source, deadline).await?;
                }
                Watched::Late => {
                    self.slow_sources.lock().insert(source.clone());
                    return Err(timeout_error("evaluating the filter", deadline));
                }
                Watched::Ended(Err(error)) => {
                    // A worker that sent a damaged response and lives on is killed by its drop.
                    let Ok(ended) = timeout_at(deadline.at, worker.child.wait()).await else {
                        return Err(timeout_error("evaluating the filter", deadline));
                    };
                    let status = ended.map_err(|error| missing_worker_error(&error))?;
                    // A stop of the whole process group reaches workers, too: the evaluation is repeated once.
                    let is_stop = [Signal::TERM, Signal::INT, Signal::HUP]
                        .into_iter()
                        .any(|signal| status.signal() == Some(signal.as_raw()));
                    if was_stopped || !is_stop {
                        self.slow_sources.lock().remove(source);
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
                    self.slow_sources.lock().remove(source);
                    // An error of the filter leaves the worker usable, so it goes back, too.
                    if body.len() <= MAX_REUSE_BODY_BYTES && response.cpu_ms <= MAX_REUSE_CPU_MS {
                        self.idle.lock().push(worker);
                    }
                    return decode_result(response, payload);
                }
            }
        }
    }

    /// Waits for a permit: of the ordinary workers, or of the slow ones if the source's last evaluation did not end.
    async fn acquire_permit(
        &self,
        source: &Name,
        deadline: Deadline,
    ) -> Result<Permit<'_>, ExtractError> {
        let is_slow = self.slow_sources.lock().contains(source);
        let permits = if is_slow {
            &self.slow_permits
        } else {
            &self.permits
        };
        let waiting = (!is_slow).then(|| WaitGuard::new(&self.waiting));
        let permit = timeout_at(deadline.at, permits.acquire()).await;
        // Not counted any more before the permit is used: it would overtake itself.
        drop(waiting);
        match permit {
            Ok(Ok(permit)) => Ok(Permit {
                is_slow,
                _permit: permit,
            }),
            _ => Err(timeout_error("waiting for a filter worker", deadline)),
        }
    }

    /// Waits for the answer until the deadline; for an ordinary worker only as long as no other evaluation waits, or
    /// [`ORDINARY_TIME`].
    async fn watch<T>(
        &self,
        exchange: impl Future<Output = T>,
        permit: &Permit<'_>,
        deadline: Deadline,
    ) -> Watched<T> {
        let mut exchange = pin!(exchange);
        let mut slice = ORDINARY_TIME;
        loop {
            if permit.is_slow {
                let result = timeout_at(deadline.at, &mut exchange).await;
                return result.map_or(Watched::Late, Watched::Ended);
            }
            match timeout_at(deadline.at, timeout(slice, &mut exchange)).await {
                Ok(Ok(result)) => return Watched::Ended(result),
                Err(_) => return Watched::Late,
                Ok(Err(_)) if self.waiting.load(Ordering::Relaxed) > 0 => {
                    return Watched::Overtaken;
                }
                Ok(Err(_)) => slice = LOOK_INTERVAL,
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

impl FilterWorker {
    fn start(program: &PathBuf) -> io::Result<Self> {
        let (ours, theirs) = StdUnixStream::pair()?;
        // Only our end: the worker reads its end with blocking calls.
        ours.set_nonblocking(true)?;
        let child = Command::new(program)
            .arg(WORKER_COMMAND)
            .arg(std::process::id().to_string())
            // The environment holds the secrets of the configuration.
            .env_clear()
            // A worker must not keep a file system busy that is to be unmounted.
            .current_dir("/")
            // A terminal's signals reach the whole group; the service decides when its workers end.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            // The message of a panic would go to the log without passing the redactor.
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self {
            child,
            stream: UnixStream::from_std(ours)?,
        })
    }

    async fn exchange(
        &mut self,
        request: &RequestHeader<'_>,
        body: &[u8],
    ) -> io::Result<(ResponseHeader, Vec<u8>)> {
        let header = encode_header(request, body.len())?;
        self.stream.write_all(&header).await?;
        self.stream.write_all(body).await?;
        let max_payload = max_result_bytes(body.len()) + MAX_QUOTE_BYTES;
        read_response(&mut self.stream, max_payload).await
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
