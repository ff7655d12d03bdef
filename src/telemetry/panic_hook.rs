//! Log lines of panics.

use std::panic::PanicHookInfo;

/// Logs every panic of the process at level error. The code that catches a panic decides its
/// effect: a failed flight, a restarted task.
pub(super) fn install() {
    std::panic::set_hook(Box::new(log_panic));
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let location = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let payload = panic.payload();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = text.unwrap_or("no message");
    tracing::error!(at = %location, thread = thread.name().unwrap_or("unnamed"), "panic: {message}");
}
