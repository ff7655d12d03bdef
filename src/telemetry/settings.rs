//! What to log, and how: `RESUMEN_LOG` and `RESUMEN_LOG_FORMAT`.

use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// What to log, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which events. Default: `info` and worse
    pub filter: Targets,
    /// How a line looks. Default: text
    pub format: Format,
    /// Whether text has ANSI colours. Default: no
    pub colour: bool,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Why a text is no setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A level that there is not.
    #[error(
        "RESUMEN_LOG: {0:?} is no level; a filter is a level (off, error, warn, info, debug, trace) or target=level, several separated by commas, such as info,resumen::http=debug"
    )]
    Level(String),
    /// `=level`
    #[error("RESUMEN_LOG: a target is missing before the `=` of {0:?}")]
    NoTarget(String),
    /// Neither text nor json.
    #[error("RESUMEN_LOG_FORMAT: {0:?} is no format; it is text or json")]
    Format(String),
}

impl Settings {
    /// Reads the two variables; unset and empty ones give the defaults.
    pub fn parse(filter: Option<&str>, format: Option<&str>) -> Result<Self, SettingsError> {
        let format = match format.unwrap_or_default() {
            "" | "text" => Format::Text,
            "json" => Format::Json,
            other => return Err(SettingsError::Format(other.to_owned())),
        };
        Ok(Self {
            filter: targets(filter.unwrap_or_default())?,
            format,
            colour: false,
        })
    }
}

/// Stricter than the filter's own parser, which takes a misspelt level for the name of a target and logs nothing.
fn targets(text: &str) -> Result<Targets, SettingsError> {
    let mut targets = Targets::new().with_default(LevelFilter::INFO);
    for directive in text.split(',').map(str::trim).filter(|d| !d.is_empty()) {
        targets = match directive.split_once('=') {
            None => targets.with_default(level(directive)?),
            Some(("", _)) => return Err(SettingsError::NoTarget(directive.to_owned())),
            Some((target, name)) => {
                targets.with_target(target.trim_end(), level(name.trim_start())?)
            }
        };
    }
    Ok(targets)
}

fn level(name: &str) -> Result<LevelFilter, SettingsError> {
    let number = name.starts_with(|c: char| c.is_ascii_digit());
    let known = LevelFilter::from_str(name)
        .ok()
        .filter(|_| !number && !name.is_empty());
    known.ok_or_else(|| SettingsError::Level(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn filter(text: &str) -> Targets {
        Settings::parse(Some(text), None).unwrap().filter
    }

    #[test]
    fn levels_and_targets() {
        assert!(filter("").would_enable("resumen", &Level::INFO));
        assert!(!filter("").would_enable("resumen", &Level::DEBUG));
        assert!(!filter("off").would_enable("resumen", &Level::ERROR));
        let one_room = filter("warn, resumen::http=trace");
        assert!(one_room.would_enable("resumen::http::front", &Level::TRACE));
        assert!(!one_room.would_enable("resumen::cache", &Level::INFO));
        assert!(filter("resumen::http=debug").would_enable("resumen::cache", &Level::INFO));
    }

    #[test]
    fn nonsense_is_refused_with_the_levels_that_there_are() {
        for bad in [
            "loud",
            "resumen=loud",
            "info,,x",
            "resumen=",
            "=info",
            "3",
            "resumen=7",
        ] {
            let error = Settings::parse(Some(bad), None).unwrap_err().to_string();
            assert!(error.starts_with("RESUMEN_LOG: "), "{bad}: {error}");
        }
        assert!(
            Settings::parse(None, Some("xml"))
                .unwrap_err()
                .to_string()
                .contains("text or json")
        );
        assert_eq!(
            Settings::parse(None, Some("json")).unwrap().format,
            Format::Json
        );
    }
}
