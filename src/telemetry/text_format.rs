//! Log lines as text: time, level, message, fields.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime as _;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::log_timer::LogTimer;

/// Writes lines such as `2026-11-22T06:55:10.734Z WARN  source failed source=btc code=timeout`.
pub(super) struct TextFormat {
    /// Writes the time of the line.
    pub(super) timer: LogTimer,
    /// Whether to use ANSI colours.
    pub(super) colour: bool,
}

impl<S, N> FormatEvent<S, N> for TextFormat
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        self.write_coloured(&mut out, "2", |out| self.timer.format_time(out))?;
        out.write_char(' ')?;
        let level = event.metadata().level();
        self.write_coloured(&mut out, level_colour_code(*level), |out| {
            write!(out, "{level}")
        })?;
        // Level names have up to five characters; the padding aligns the messages.
        write!(out, "{:width$}", "", width = 6 - level.as_str().len())?;
        // Events of this program need no target; those of a dependency do.
        let target = event.metadata().target();
        if !target.starts_with(env!("CARGO_PKG_NAME")) {
            write!(out, "{target}: ")?;
        }
        let mut parts = LogEventParts::default();
        event.record(&mut parts);
        write_escaped(&mut out, &parts.message)?;
        for (name, value) in &parts.fields {
            out.write_char(' ')?;
            self.write_coloured(&mut out, "2", |out| write!(out, "{name}="))?;
            write_quoted(&mut out, value)?;
        }
        out.write_char('\n')
    }
}

impl TextFormat {
    fn write_coloured(
        &self,
        out: &mut Writer<'_>,
        code: &str,
        text: impl FnOnce(&mut Writer<'_>) -> fmt::Result,
    ) -> fmt::Result {
        if !self.colour {
            return text(out);
        }
        write!(out, "\u{1b}[{code}m")?;
        text(out)?;
        out.write_str("\u{1b}[0m")
    }
}

fn level_colour_code(level: Level) -> &'static str {
    match level {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::INFO => "32",
        _ => "34",
    }
}

/// Message and fields of an event. The macros of `tracing` record the message as one more field, in
/// any position.
#[derive(Default)]
struct LogEventParts {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for LogEventParts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.store_field(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.store_field(field, value.to_owned());
    }
}

impl LogEventParts {
    fn store_field(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = text,
            name => self.fields.push((name, text)),
        }
    }
}

/// Writes `text`, in quotes if it is empty or contains white space or quotes.
fn write_quoted(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    if !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"') {
        return write_escaped(out, text);
    }
    out.write_char('"')?;
    write_escaped(out, &text.replace('\\', "\\\\").replace('"', "\\\""))?;
    out.write_char('"')
}

/// Writes `text` with control characters escaped: they could split the line or control the
/// terminal.
fn write_escaped(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() {
            write!(out, "{}", c.escape_debug())?;
        } else {
            out.write_char(c)?;
        }
    }
    Ok(())
}
