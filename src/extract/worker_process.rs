//! One filter worker as the service sees it: its process, and its use by one evaluation.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use super::filter::max_result_bytes;
use super::worker::WORKER_COMMAND;
use super::worker_protocol::{RequestHeader, ResponseHeader, encode_header, read_response};
use super::worker_queue::WorkerPermit;

/// Bytes of a quoted text beside the data that a response may hold.
const MAX_QUOTE_BYTES: usize = 1 << 20;

/// A running worker and its stream of requests.
#[derive(Debug)]
pub(super) struct FilterWorker {
    pub(super) child: Child,
    stream: UnixStream,
    /// Processor time of its earlier evaluations.
    used: Duration,
}

/// The processor time of one evaluation in a worker.
#[derive(Debug)]
pub(super) struct WorkerMeter {
    pid: Option<u32>,
    used_before: Duration,
}

impl WorkerMeter {
    /// Returns the processor time that the evaluation has used so far; `None` where the system does not
    /// tell.
    pub(super) fn used(&self) -> Option<Duration> {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.pid?)).ok()?;
        let nanos = text.split(' ').next()?.parse().ok()?;
        Some(Duration::from_nanos(nanos).saturating_sub(self.used_before))
    }
}

/// A worker in use and its permit. Without [`Self::keep`], the process is killed when it is dropped, also with its
/// future, and the permit is held until the process is gone: there are never more processes than permits, and their
/// memory is never counted twice.
#[derive(Debug)]
pub(super) struct WorkerLease {
    used: Option<(FilterWorker, WorkerPermit)>,
}

impl FilterWorker {
    /// Starts a worker.
    pub(super) fn start(program: &Path) -> io::Result<Self> {
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
            used: Duration::ZERO,
        })
    }

    /// Returns the meter of the next evaluation.
    pub(super) fn meter(&self) -> WorkerMeter {
        WorkerMeter {
            pid: self.child.id(),
            used_before: self.used,
        }
    }

    /// Sends a request and waits for its response.
    pub(super) async fn exchange(
        &mut self,
        request: &RequestHeader<'_>,
        body: &[u8],
    ) -> io::Result<(ResponseHeader, Vec<u8>)> {
        let header = encode_header(request, body.len())?;
        self.stream.write_all(&header).await?;
        self.stream.write_all(body).await?;
        let max_payload = max_result_bytes(body.len()) + MAX_QUOTE_BYTES;
        let (response, payload): (ResponseHeader, _) =
            read_response(&mut self.stream, max_payload).await?;
        self.used += Duration::from_millis(response.cpu_ms);
        Ok((response, payload))
    }
}

impl WorkerLease {
    /// The lease of a worker by the holder of a permit.
    pub(super) fn new(worker: FilterWorker, permit: WorkerPermit) -> Self {
        Self {
            used: Some((worker, permit)),
        }
    }

    /// The worker.
    pub(super) fn worker(&mut self) -> &mut FilterWorker {
        let used = self.used.as_mut();
        &mut used
            .unwrap_or_else(|| unreachable!("only `keep` and `drop` take it"))
            .0
    }

    /// Ends the use of a worker that remains usable.
    pub(super) fn keep(mut self, idle: &Mutex<Vec<FilterWorker>>) {
        if let Some((worker, permit)) = self.used.take() {
            // Before the permit: its next holder must find the worker instead of starting one.
            idle.lock().push(worker);
            drop(permit);
        }
    }
}

impl Drop for WorkerLease {
    fn drop(&mut self) {
        let Some((mut worker, permit)) = self.used.take() else {
            return;
        };
        // A process that has ended already has given its memory back.
        let is_killed = worker.child.start_kill().is_ok();
        if is_killed && let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let _ = worker.child.wait().await;
                drop(permit);
            });
        }
    }
}
