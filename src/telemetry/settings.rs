//! What to log, and how: `RESUMEN_LOG` and `RESUMEN_LOG_FORMAT`.

use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// What to log, and how.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// Which events. Default: `info` and worse
    pub filter: Targets,
    /// How a line looks. Default: text
    pub format: LogFormat,
    /// Whether text has ANSI colours. Default: no
    pub colour: bool,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Why a text is no setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogSettingsError {
    /// A level that there is not.
    #[error(
        "RESUMEN_LOG: {0:?} is no level; a filter is a level (off, error, warn, info, debug, trace) or target=level, several separated by commas, such as info,resumen::http=debug"
    )]
    UnknownLevel(String),
    /// `=level`
    #[error("RESUMEN_LOG: a target is missing before the `=` of {0:?}")]
    MissingTarget(String),
    /// Neither text nor json.
    #[error("RESUMEN_LOG_FORMAT: {0:?} is no format; it is text or json")]
    UnknownFormat(String),
}

impl LogSettings {
    /// Reads the two variables; unset and empty ones give the defaults.
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

/// Stricter than the filter's own parser, which takes a misspelt level for the name of a target and logs nothing.
fn parse_targets(text: &str) -> Result<Targets, LogSettingsError> {
    let mut targets = Targets::new().with_default(LevelFilter::INFO);
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

fn parse_level(name: &str) -> Result<LevelFilter, LogSettingsError> {
    let number = name.starts_with(|c: char| c.is_ascii_digit());
    let known = LevelFilter::from_str(name)
        .ok()
        .filter(|_| !number && !name.is_empty());
    known.ok_or_else(|| LogSettingsError::UnknownLevel(name.to_owned()))
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
        let one_room = parse_filter("warn, resumen::http=trace");
        assert!(one_room.would_enable("resumen::http::front", &Level::TRACE));
        assert!(!one_room.would_enable("resumen::cache", &Level::INFO));
        assert!(parse_filter("resumen::http=debug").would_enable("resumen::cache", &Level::INFO));
    }

    #[test]
    fn invalid_settings_are_refused() {
        for bad in [
            "loud",
            "resumen=loud",
            "info,,x",
            "resumen=",
            "=info",
            "3",
            "resumen=7",
        ] {
            let error = LogSettings::parse(Some(bad), None).unwrap_err().to_string();
            assert!(error.starts_with("RESUMEN_LOG: "), "{bad}: {error}");
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
