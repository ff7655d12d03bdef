//! Logs: one line per event on standard error, as text or JSON, with every secret redacted.
//!
//! Every line, that of a panic included, passes through `RedactingWriter`, so redaction does not
//! depend on the code that logs. Lines are dated by the program's clock, like the responses. Spans
//! are not used and not printed: an event carries all its fields.

mod access_log;
mod log_output;
mod log_timer;
mod panic_hook;
mod redacting_writer;
mod settings;
mod subscriber;

pub use access_log::AccessLog;
pub use settings::{LogFormat, LogSettings, LogSettingsError};
pub use subscriber::install;
