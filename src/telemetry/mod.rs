//! Logs: one line per event on standard error, for people or as JSON, with every secret masked.
//!
//! Imports `domain` (the secrets) and `clock`. Lines carry the clock's time, so that they agree with the answers.
//! Whatever writes a line, a panic included, writes it through [`Mask`]: a secret cannot get into a log even if the
//! code that logged it forgot to hide it. Spans are not used and not shown; an event says everything by itself.

mod format;
mod panics;
mod redact;
mod settings;

pub use redact::LogRedactor;
pub use settings::{LogFormat, LogSettings};

use tracing::Subscriber;
use tracing_subscriber::Layer as _;
use tracing_subscriber::fmt::{self, MakeWriter, time::FormatTime};
use tracing_subscriber::layer::SubscriberExt as _;

use self::format::{LogTimer, TextFormat};
use crate::process::Clock;

/// Sends the events of the whole process to standard error, and every panic with them. The [`Mask`] takes the secrets
/// as soon as they are known. A second call changes nothing but gives a mask of no effect.
pub fn install(settings: &LogSettings, clock: Clock) -> LogRedactor {
    let mask = LogRedactor::default();
    let subscriber = build_subscriber(settings, clock, mask.wrap_writer(std::io::stderr));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        panics::install_panic_hook();
    }
    mask
}

fn build_subscriber<W>(
    settings: &LogSettings,
    clock: Clock,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let stamp = LogTimer(clock);
    let filter = settings.filter.clone();
    let layer = fmt::layer().with_writer(writer);
    match settings.format {
        LogFormat::Text => {
            let human = TextFormat {
                timer: stamp,
                colour: settings.colour,
            };
            let layer = layer.with_ansi(settings.colour).event_format(human);
            Box::new(tracing_subscriber::registry().with(layer.with_filter(filter)))
        }
        LogFormat::Json => {
            let layer = layer
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false);
            Box::new(
                tracing_subscriber::registry().with(layer.with_timer(stamp).with_filter(filter)),
            )
        }
    }
}

impl FormatTime for LogTimer {
    fn format_time(&self, w: &mut fmt::format::Writer<'_>) -> std::fmt::Result {
        self.write_timestamp(w)
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

    /// What `log` wrote, in this format, with one known secret.
    fn capture_log(format: &str, colour: bool, log: impl FnOnce()) -> String {
        let page = CapturedLog::default();
        let mut settings = LogSettings::parse(Some("debug"), Some(format)).unwrap();
        settings.colour = colour;
        let mask = LogRedactor::default();
        mask.replace_secrets(SecretSet::new([
            "hunter2hunter2".into(),
            "quo\"ted\\value".into(),
        ]));
        let writer = {
            mask.wrap_writer({
                let page = page.clone();
                move || page.clone()
            })
        };
        let subscriber = build_subscriber(&settings, Clock::start(), writer);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_line_has_all_parts() {
        let line = capture_log("text", false, || {
            tracing::warn!(source = "btc", ms = 12, "starts to fail")
        });
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(
            time.parse::<jiff::Timestamp>().is_ok()
                && time.len() == "2026-11-22T06:55:10.734Z".len(),
            "{time}"
        );
        assert_eq!(rest, "WARN  starts to fail source=btc ms=12\n");
    }

    #[test]
    fn event_is_always_one_line() {
        let line = capture_log("text", false, || {
            tracing::info!(error = "a\n\"b\" \u{1b}[31m", empty = "", "two\nlines")
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
            tracing::info!(source = "btc", "recovered")
        });
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&object["level"], &object["message"]),
            (&"INFO".into(), &"recovered".into())
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
