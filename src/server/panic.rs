//! A bug of ours in a handler fails one request, with an answer that says so, and not its connection without a word.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::problem::{ProblemDetails, ProblemKind};

/// What `work` gives, or what to answer if it panics; the panic itself is logged by its hook.
///
/// Nothing is seen half done afterwards: what handlers share is swapped as a whole, or behind locks whose owners leave
/// them in order at every step.
pub(crate) fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, ProblemDetails> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        let detail = "a bug in this service, noted in its log; other requests are not affected";
        ProblemDetails::new(ProblemKind::Internal, detail).with_connection_close()
    })
}
