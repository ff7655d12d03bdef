//! Settings of the log: the environment variables `RESUMEN_LOG` and `RESUMEN_LOG_FORMAT`.

use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Settings of the log.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// Minimum level of events, per target. Default: `info`.
    pub filter: Targets,
    /// Format of a line. Default: text.
    pub format: LogFormat,
    /// Whether text lines have ANSI colours. Default: false.
    pub colour: bool,
}

/// Format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Error in the value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogSettingsError {
    /// The level does not exist.
    #[error(
        "RESUMEN_LOG: {0:?} is not a level; expected off, error, warn, info, debug, trace or target=level, several separated by commas, such as info,resumen::server=debug"
    )]
    UnknownLevel(String),
    /// A directive has no target before the `=`.
    #[error("RESUMEN_LOG: {0:?} has no target before the `=`")]
    MissingTarget(String),
    /// The format is neither text nor json.
    #[error("RESUMEN_LOG_FORMAT: {0:?} is not a format; expected text or json")]
    UnknownFormat(String),
}

impl LogSettings {
    /// Parses the values of the two variables; an unset or empty one gives the default.
    pub fn parse(filter: Option<&str>, format: Option<&str>) -> Result<Self, LogSettingsError> {
        let format = match format.unwrap_or_default() {
            "" | "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => return Err(LogSettingsError::UnknownFormat(other.to_owned())),
        };
        Ok(Self {
            filter: parse_targets(filter.unwrap_or_default())?,
            format,
            colour: false,
        })
    }
}

/// Parses a comma-separated list of `level` and `target=level`. `Targets` has a parser of the same
/// syntax, but it reads a misspelt level as a target and then logs nothing.
fn parse_targets(text: &str) -> Result<Targets, LogSettingsError> {
    // The warnings of the HTTP/2 library tell what a peer has sent: any client could fill the log.
    let mut targets = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("h2", LevelFilter::OFF);
    for directive in text.split(',').map(str::trim).filter(|d| !d.is_empty()) {
        targets = match directive.split_once('=') {
            None => targets.with_default(parse_level(directive)?),
            Some(("", _)) => return Err(LogSettingsError::MissingTarget(directive.to_owned())),
            Some((target, name)) => {
                targets.with_target(target.trim_end(), parse_level(name.trim_start())?)
            }
        };
    }
    Ok(targets)
}

/// Parses the name of a level. `LevelFilter` also accepts numbers and the empty text.
fn parse_level(name: &str) -> Result<LevelFilter, LogSettingsError> {
    LevelFilter::from_str(name)
        .ok()
        .filter(|_| name.starts_with(|c: char| c.is_ascii_alphabetic()))
        .ok_or_else(|| LogSettingsError::UnknownLevel(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn parse_filter(text: &str) -> Targets {
        LogSettings::parse(Some(text), None).unwrap().filter
    }

    #[test]
    fn filter_sets_levels_by_target() {
        assert!(parse_filter("").would_enable("resumen", &Level::INFO));
        assert!(!parse_filter("").would_enable("resumen", &Level::DEBUG));
        assert!(!parse_filter("off").would_enable("resumen", &Level::ERROR));
        let mixed = parse_filter("warn, resumen::server=trace");
        assert!(mixed.would_enable("resumen::server::worker", &Level::TRACE));
        assert!(!mixed.would_enable("resumen::cache", &Level::INFO));
        assert!(parse_filter("resumen::server=debug").would_enable("resumen::cache", &Level::INFO));
    }

    #[test]
    fn peer_warnings_are_off_by_default() {
        for filter in ["", "debug"] {
            assert!(!parse_filter(filter).would_enable("h2::proto::streams::recv", &Level::WARN));
        }
        assert!(parse_filter("h2=warn").would_enable("h2::proto::streams::recv", &Level::WARN));
    }

    #[test]
    fn invalid_settings_are_refused() {
        for invalid in [
            "loud",
            "resumen=loud",
            "info,,x",
            "resumen=",
            "=info",
            "3",
            "resumen=7",
        ] {
            let error = LogSettings::parse(Some(invalid), None)
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("RESUMEN_LOG: "), "{invalid}: {error}");
        }
        assert!(
            LogSettings::parse(None, Some("xml"))
                .unwrap_err()
                .to_string()
                .contains("text or json")
        );
        assert_eq!(
            LogSettings::parse(None, Some("json")).unwrap().format,
            LogFormat::Json
        );
    }
}
