//! Installation of the log subscriber.

use tracing::Subscriber;
use tracing_subscriber::Layer as _;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::domain::Redactor;
use crate::process::Clock;

use super::log_timer::LogTimer;
use super::panic_hook;
use super::redacting_writer::RedactingMakeWriter;
use super::settings::{LogFormat, LogSettings};
use super::text_format::TextFormat;

/// Logs the events and the panics of the whole process to standard error, without the secrets of
/// `redactor`. A second call has no effect.
pub fn install(settings: &LogSettings, clock: Clock, redactor: Redactor) {
    let writer = RedactingMakeWriter {
        redactor,
        inner: std::io::stderr,
    };
    let subscriber = build_subscriber(settings, clock, writer);
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        panic_hook::install();
    }
}

fn build_subscriber<W>(
    settings: &LogSettings,
    clock: Clock,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // Boxed, because the subscribers of the two formats have different types.
    let timer = LogTimer(clock);
    let filter = settings.filter.clone();
    let layer = fmt::layer().with_writer(writer);
    match settings.format {
        LogFormat::Text => {
            let format = TextFormat {
                timer,
                colour: settings.colour,
            };
            let layer = layer.with_ansi(settings.colour).event_format(format);
            Box::new(tracing_subscriber::registry().with(layer.with_filter(filter)))
        }
        LogFormat::Json => {
            let layer = layer
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .with_timer(timer);
            Box::new(tracing_subscriber::registry().with(layer.with_filter(filter)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::domain::SecretSet;

    #[derive(Clone, Default)]
    struct CapturedLog(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for CapturedLog {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Returns the lines that `log` writes in this format, with two secrets to redact.
    fn capture_log(format: &str, colour: bool, log: impl FnOnce()) -> String {
        let log_buffer = CapturedLog::default();
        let mut settings = LogSettings::parse(Some("debug"), Some(format)).unwrap();
        settings.colour = colour;
        let secrets = SecretSet::new(["hunter2hunter2".into(), "quo\"ted\\value".into()]);
        let buffer = log_buffer.clone();
        let writer = RedactingMakeWriter {
            redactor: Redactor::new(secrets),
            inner: move || buffer.clone(),
        };
        let subscriber = build_subscriber(&settings, Clock::start(), writer);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = log_buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_line_has_all_parts() {
        let line = capture_log("text", false, || {
            tracing::warn!(source = "btc", ms = 12, "source failed");
        });
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(
            time.parse::<jiff::Timestamp>().is_ok()
                && time.len() == "2026-11-22T06:55:10.734Z".len(),
            "{time}"
        );
        assert_eq!(rest, "WARN  source failed source=btc ms=12\n");
    }

    #[test]
    fn event_is_always_one_line() {
        let line = capture_log("text", false, || {
            tracing::info!(error = "a\n\"b\" \u{1b}[31m", empty = "", "two\nlines");
        });
        assert!(
            line.ends_with("INFO  two\\nlines error=\"a\\n\\\"b\\\" \\u{1b}[31m\" empty=\"\"\n"),
            "{line:?}"
        );
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn colours_follow_the_setting() {
        assert!(
            capture_log("text", true, || tracing::error!("x")).contains("\u{1b}[31mERROR\u{1b}[0m")
        );
        assert!(!capture_log("text", false, || tracing::error!("x")).contains('\u{1b}'));
    }

    #[test]
    fn json_lines_are_objects() {
        let line = capture_log("json", false, || {
            tracing::info!(source = "btc", "source recovered");
        });
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&object["level"], &object["message"]),
            (&"INFO".into(), &"source recovered".into())
        );
        assert_eq!(object["source"], "btc");
        assert!(object["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn secrets_are_redacted_in_both_formats() {
        for format in ["text", "json"] {
            let line = capture_log(format, false, || {
                tracing::info!(url = "http://x/?k=hunter2hunter2", debug = ?"quo\"ted\\value", "got hunter2hunter2");
            });
            assert!(!line.contains("hunter2") && !line.contains("ted"), "{line}");
            assert!(line.matches("***").count() == 3, "{line}");
        }
    }
}
