//! The filter worker: a separate process that evaluates one filter at a time over one body.
//!
//! The service starts its own program again with [`WORKER_COMMAND`]. A filter that never ends, exhausts memory or
//! overflows the stack ends the worker, never the service. The worker limits itself before it reads the first request
//! and exits if the system refuses a limit. It keeps nothing between two requests.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::{Resource, Rlimit, getppid, getrlimit, setrlimit};

use super::error::ExtractError;
use super::evaluate::evaluate_body;
use super::raw_body::RawBody;
use super::worker_protocol::{
    RequestHeader, ResponseError, ResponseHeader, encode_header, read_frame,
};
use crate::domain::Code;
use crate::process::process_cpu_time;

/// The first argument of a program that is to be a worker; the second one is the process id of the service.
pub const WORKER_COMMAND: &str = "__filters";

/// The stack of a worker's only thread, in bytes. Evaluation, comparison and release of nested values recurse.
const STACK_BYTES: u64 = 64 << 20;

/// Descriptors of a worker: 0 to 2 and the stream of requests. With no other one left, no filter can open or connect
/// to anything.
const MAX_DESCRIPTORS: u64 = 4;

/// Address space of the program itself where `/proc` is missing, in bytes.
const DEFAULT_PROGRAM_BYTES: u64 = 32 << 20;

/// Evaluates filters for the process `parent` until the stream on descriptor 0 ends.
///
/// The worker ends with the service: the stream ends when the service does, and a filter that never ends uses up its
/// processor time. `PR_SET_PDEATHSIG` would end the worker with the thread that started it, so it is not set.
///
/// # Errors
/// When a limit is refused or the stream fails.
pub fn run_worker(parent: i32) -> io::Result<()> {
    // The service may have ended before this line ran; a worker without it would never end.
    if getppid().is_none_or(|pid| pid.as_raw_nonzero().get() != parent) {
        return Ok(());
    }
    // Where memory runs out, the system ends workers before the service. `/proc` cannot be opened after the limits.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let program_bytes = address_space().unwrap_or(DEFAULT_PROGRAM_BYTES);
    // A copy, because descriptor 0 belongs to `Stdin`, which would buffer.
    let mut stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // A dump of the memory would write a provider's answers to the disk.
    limit_resource(Resource::Core, 0)?;
    limit_resource(Resource::Fsize, 0)?;
    limit_resource(Resource::Nofile, MAX_DESCRIPTORS)?;
    limit_resource(Resource::Stack, STACK_BYTES)?;
    while let Some((header, body)) = read_frame(&mut stream)? {
        let request: RequestHeader<'_> = serde_json::from_slice(&header)?;
        // The limit counts from the start of the process, so it moves with each request.
        let used = process_cpu_time();
        limit_resource(Resource::Cpu, used.as_secs() + request.cpu_seconds + 1)?;
        limit_resource(Resource::As, program_bytes + request.memory_bytes)?;
        let body = RawBody {
            bytes: body.into(),
            format: request.format,
            charset: request.charset,
        };
        let result = evaluate_contained(&request.filter, &body);
        let cpu_ms = process_cpu_time().saturating_sub(used).as_millis() as u64;
        write_response(&mut stream, result, cpu_ms)?;
    }
    Ok(())
}

/// Evaluates and releases every value. A release may overflow the stack, too: the response must not leave before it, or
/// the next request would be sent to a worker that has crashed.
fn evaluate_contained(filter: &str, body: &RawBody) -> Result<String, ExtractError> {
    catch_unwind(AssertUnwindSafe(|| evaluate_body(filter, body))).unwrap_or_else(|thrown| {
        let text = thrown.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| thrown.downcast_ref::<&str>().copied());
        Err(ExtractError::with_quote(
            Code::Panic,
            "a bug in the filter's evaluation, contained",
            text.unwrap_or("no message").as_bytes(),
        ))
    })
}

fn write_response(
    stream: &mut UnixStream,
    result: Result<String, ExtractError>,
    cpu_ms: u64,
) -> io::Result<()> {
    let (error, payload) = match result {
        Ok(data) => (None, data),
        Err(error) => {
            let (code, message, quote) = error.into_parts();
            let error = ResponseError {
                code: code.as_str().to_owned(),
                message,
                has_quote: quote.is_some(),
            };
            (Some(error), quote.unwrap_or_default())
        }
    };
    let header = ResponseHeader { error, cpu_ms };
    stream.write_all(&encode_header(&header, payload.len())?)?;
    stream.write_all(payload.as_bytes())
}

/// Sets a soft limit, below the hard one that the service was started with, which cannot be raised.
fn limit_resource(resource: Resource, limit: u64) -> io::Result<()> {
    let maximum = getrlimit(resource).maximum;
    // Soft only: the limit of processor time must move up again for the next request.
    let current = Some(maximum.map_or(limit, |maximum| maximum.min(limit)));
    Ok(setrlimit(resource, Rlimit { current, maximum })?)
}

/// Returns the address space that the process maps, in bytes.
fn address_space() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().next()?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
