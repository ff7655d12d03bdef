//! Installation of the log subscriber.

use tracing::Subscriber;
use tracing_subscriber::Layer as _;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::domain::Redactor;
use crate::process::Clock;

use super::log_output::LogOutput;
use super::log_timer::LogTimer;
use super::panic_hook;
use super::redacting_writer::{RedactingMakeWriter, push_coloured, push_json, push_text};
use super::settings::{LogFormat, LogSettings};

/// Logs the events and the panics of the whole process to standard error, without the secrets of
/// `redactor`. A second call has no effect.
pub fn install(settings: &LogSettings, clock: Clock, redactor: Redactor) {
    let subscriber = build_subscriber(settings, clock, redactor, || LogOutput::PROMPT);
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        panic_hook::install();
    }
}

fn build_subscriber<W>(
    settings: &LogSettings,
    clock: Clock,
    redactor: Redactor,
    inner: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let writer = RedactingMakeWriter {
        redactor,
        push: match settings.format {
            LogFormat::Json => push_json,
            LogFormat::Text if settings.colour => push_coloured,
            LogFormat::Text => push_text,
        },
        inner,
    };
    let layer = fmt::layer().with_writer(writer).with_timer(LogTimer(clock));
    let filter = settings.filter.clone();
    // Boxed, because the subscribers of the two formats have different types.
    match settings.format {
        LogFormat::Text => {
            let layer = layer.with_ansi(settings.colour).with_target(false);
            Box::new(tracing_subscriber::registry().with(layer.with_filter(filter)))
        }
        LogFormat::Json => {
            let layer = layer
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false);
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
        let secrets = [
            "hunter2hunter2",
            "quo\"ted\\value",
            "nin\u{303}o\u{200b}1234",
        ];
        let secrets = SecretSet::new(secrets.map(str::to_owned));
        let buffer = log_buffer.clone();
        let redactor = Redactor::new(secrets);
        let inner = move || buffer.clone();
        let subscriber = build_subscriber(&settings, Clock::start(), redactor, inner);
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
        assert_eq!(rest, " WARN source failed source=\"btc\" ms=12\n");
    }

    #[test]
    fn event_is_always_one_line() {
        for colour in [false, true] {
            let line = capture_log("text", colour, || {
                let path = "a\r\nb\u{9b}31m";
                tracing::info!(error = "a\n\"b\" \u{1b}[31m", %path, "two\nlines \u{1b}[2J");
            });
            assert!(line.contains("two\\nlines \\x1b[2J"), "{line:?}");
            assert!(line.contains("\"a\\n\\\"b\\\" \\u{1b}[31m\""), "{line:?}");
            assert!(line.contains("a\\r\\nb\\u{9b}31m"), "{line:?}");
            assert_eq!(
                line.matches(char::is_control).count(),
                if colour {
                    line.matches('\u{1b}').count() + 1
                } else {
                    1
                }
            );
        }
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
            tracing::info!(
                source = "btc",
                error = "a\u{9b}31m\u{7f}",
                "source recovered"
            );
        });
        assert!(!line.trim_end().contains(char::is_control), "{line:?}");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&object["level"], &object["message"]),
            (&"INFO".into(), &"source recovered".into())
        );
        assert_eq!(object["source"], "btc");
        assert_eq!(object["error"], "a\u{9b}31m\u{7f}");
        assert!(object["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn secrets_are_redacted_in_both_formats() {
        for format in ["text", "json"] {
            let line = capture_log(format, false, || {
                tracing::info!(url = "http://x/?k=hunter2hunter2", debug = ?"quo\"ted\\value", accent = "nin\u{303}o\u{200b}1234", "got hunter2hunter2");
            });
            assert!(!line.contains("hunter2") && !line.contains("ted"), "{line}");
            assert!(
                line.matches("***").count() == 4 && !line.contains("1234"),
                "{line}"
            );
        }
    }
}
