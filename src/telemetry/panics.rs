//! A panic is one line of the log like any other, so that it is dated, masked and machine-readable too.

use std::panic::PanicHookInfo;

/// Makes every panic of the process a log line at level error. What a panic means (a flight's failure, a task started
/// again) is decided where it is caught.
pub(super) fn install_panic_hook() {
    std::panic::set_hook(Box::new(log_panic));
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let payload = panic.payload();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = text.unwrap_or("no message");
    tracing::error!(at = %place, thread = thread.name().unwrap_or("unnamed"), "panic: {message}");
}
