//! Timestamps of log lines.

use std::fmt;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::process::Clock;

/// Writes the time of the program's clock, shifted to the wall clock: RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy)]
pub(super) struct LogTimer(pub(super) Clock);

impl FormatTime for LogTimer {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        let now = self.0.shift().apply(self.0.now());
        let now =
            jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or(jiff::Timestamp::MAX);
        write!(out, "{now:.3}")
    }
}
