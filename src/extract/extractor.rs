//! Extraction of data from bodies: small bodies without a filter in place, everything else in a worker process.

#[cfg(target_os = "linux")]
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::error::ExtractError;
use super::evaluate::evaluate_body;
use super::filter::Filter;
use super::filter_error::FilterError;
use super::filters::FilterCache;
use super::json::check_json;
use super::raw_body::RawBody;
use super::worker_pool::{Evaluation, FilterPurpose, WorkerPool};
use crate::domain::{BodyFormat, Code, Failure, JsonData, Name, Redactor};
use crate::process::Deadline;
use crate::text::has_long_number;

/// The largest body, in bytes, that the filter `.` handles in place: there is nothing to evaluate, and a worker would
/// cost more.
const MAX_INLINE_BYTES: usize = 32 << 10;

/// Extracts data from bodies. Cheap to clone; clones share the workers.
#[derive(Debug, Clone)]
pub struct Extractor {
    workers: Arc<WorkerPool>,
    redactor: Redactor,
    filters: Arc<Mutex<FilterCache>>,
}

impl Extractor {
    /// An extractor whose workers run `program`, which must call [`super::run_worker`] when its first argument is
    /// [`super::WORKER_COMMAND`]. Its messages pass through `redactor`. No worker is started yet.
    pub fn new(program: PathBuf, redactor: Redactor) -> Self {
        Self {
            workers: Arc::new(WorkerPool::new(program)),
            redactor,
            filters: Arc::default(),
        }
    }

    /// Replaces the cache of filters that are known to compile.
    pub fn set_filters(&self, filters: FilterCache) {
        *self.filters.lock() = filters;
    }

    /// Returns the filter of this text; compiles it unless the cache has it.
    pub fn compile_filter(&self, text: &str) -> Result<Filter, FilterError> {
        self.filters.lock().get_or_compile(text)
    }

    /// Starts a worker and waits for its first answer.
    ///
    /// # Errors
    /// Why no worker can be had: the program cannot be started, or a limit was refused.
    pub async fn check_workers(&self, deadline: Deadline) -> Result<(), Failure> {
        let checked = self.workers.check(deadline).await;
        checked.map_err(|error| error.into_failure(&self.redactor))
    }

    /// Returns whether the last evaluation of a source did not end by its deadline: the next one may wait as long.
    pub fn is_endless(&self, source: &Name) -> bool {
        self.workers.is_endless(source)
    }

    /// Extracts data from JSON in UTF-8 like [`Self::extract_body`].
    pub async fn extract(
        &self,
        source: &Name,
        filter: &Filter,
        json: Bytes,
        deadline: Deadline,
    ) -> Result<JsonData, Failure> {
        self.extract_body(source, filter, &json.into(), deadline)
            .await
    }

    /// Returns what a filter sees of `body`, converted in this process and without a limit of time and memory: only for
    /// small bodies of tests and fuzzing.
    pub fn convert_in_place(&self, body: &RawBody) -> Result<JsonData, Failure> {
        evaluate_body(".", body)
            .map(JsonData::from_checked)
            .map_err(|error| error.into_failure(&self.redactor))
    }

    /// Converts `body` from its format (JSON is checked strictly: UTF-8, depth, RFC 8259), evaluates `filter` over it and
    /// checks the result, by `deadline`. Evaluations of one source take turns. A dropped future ends the evaluation.
    pub async fn extract_body(
        &self,
        source: &Name,
        filter: &Filter,
        body: &RawBody,
        deadline: Deadline,
    ) -> Result<JsonData, Failure> {
        let is_inline = filter.is_identity()
            && body.format == BodyFormat::Json
            && body.bytes.len() <= MAX_INLINE_BYTES;
        let result = if is_inline {
            evaluate_body(filter.text(), body)
        } else {
            let evaluation = Evaluation {
                source,
                purpose: FilterPurpose::Data,
                filter: filter.text(),
                body,
            };
            // Boxed: it takes kilobytes of the future of each attempt.
            Box::pin(self.evaluate_in_worker(&evaluation, deadline)).await
        };
        result
            .map(JsonData::from_checked)
            .map_err(|error| error.into_failure(&self.redactor))
    }

    /// What messages pass through.
    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Evaluates in a worker. Its process is not trusted: its answer passes the same check as a provider's.
    pub(super) async fn evaluate_in_worker(
        &self,
        evaluation: &Evaluation<'_>,
        deadline: Deadline,
    ) -> Result<String, ExtractError> {
        let data = self.workers.evaluate(evaluation, deadline).await?;
        match check_json(data.as_bytes()) {
            Ok(()) if !has_long_number(data.as_bytes()) => Ok(data),
            _ => Err(ExtractError::new(
                Code::Panic,
                "the filter worker answered no JSON, or a number that is too long",
            )),
        }
    }
}

/// Returns the path of the running program. `/proc/self/exe` stays valid when the file is replaced, which an upgrade
/// does; the path of a program that was replaced would start another version with another protocol.
pub fn own_program() -> PathBuf {
    let link = Path::new("/proc/self/exe");
    if link.exists() {
        return link.to_path_buf();
    }
    // Without `/proc`, the path that the kernel recorded at the start remains.
    #[cfg(target_os = "linux")]
    let program = std::ffi::OsStr::from_bytes(rustix::param::linux_execfn().to_bytes());
    #[cfg(not(target_os = "linux"))]
    let program = std::env::current_exe().unwrap_or_default();
    std::path::absolute(program).unwrap_or_else(|_| link.to_path_buf())
}
