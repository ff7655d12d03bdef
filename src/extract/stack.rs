//! Threads with a stack that is deep enough for whatever a filter may recurse into. The memory is only reserved; what is
//! never reached is never taken.

use std::thread::{self, Builder, JoinHandle};

/// Bytes of stack.
const DEPTH: usize = 512 << 20;

/// Starts a thread for `work` that nobody needs to wait for.
pub(super) fn spawn_deep(work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    builder("extract").spawn(work)
}

/// Does `work` on a deep stack while the caller waits; an error says why there was no thread, or that `work` panicked.
pub(super) fn on_deep_stack<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let thread = builder(name).spawn_scoped(scope, work).map_err(|error| format!("no thread: {error}"))?;
        thread.join().map_err(|_| "a bug of ours, see the log".to_owned())
    })
}

fn builder(name: &str) -> Builder {
    Builder::new().name(name.to_owned()).stack_size(DEPTH)
}
