//! How people see a source: the operator's choice of titles, units and limits.

use std::sync::Arc;

use serde_json::Number;

/// How the panel shows a source. The default leaves everything to the panel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceAppearance {
    /// Shown instead of the name.
    pub title: Option<Arc<str>>,
    /// Heading under which the source stands with others of the same group.
    pub group: Option<Arc<str>>,
    /// Position: sources with a smaller number come first, those without a number last.
    pub order: Option<u64>,
    /// For all numbers of the source whose path has none of its own.
    pub value: ValueAppearance,
    /// The values that differ from it, by dotted path.
    pub paths: Vec<(String, PathAppearance)>,
}

/// How a number is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValueAppearance {
    /// Written behind the number.
    pub unit: Option<Arc<str>>,
    /// Number of decimals.
    pub decimals: Option<u64>,
    /// Limits of concern.
    pub thresholds: Thresholds,
}

/// How the value at a path is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathAppearance {
    /// Shown instead of the key.
    pub label: Option<Arc<str>>,
    /// Replaces what the source has.
    pub value: ValueAppearance,
    /// Whether the value, and what is below it, is left out.
    pub is_hidden: bool,
    /// What the value is: one of [`PathAppearance::KINDS`].
    pub kind: Option<Arc<str>>,
}

/// Limits of a number. If `crit` is below `warn`, low numbers are bad.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// The first limit.
    pub warn: Option<Number>,
    /// The second limit.
    pub crit: Option<Number>,
}

/// The limit that a number is at or beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThresholdLevel {
    /// The first limit.
    Warn,
    /// The second limit.
    Crit,
}

impl SourceAppearance {
    /// The choice for the value at this dotted path, as far as it has one of its own.
    pub fn path(&self, path: &str) -> Option<&PathAppearance> {
        let found = self.paths.iter().find(|(known, _)| known == path);
        found.map(|(_, appearance)| appearance)
    }

    /// How a number at this dotted path is shown: by its own choice, else by that of the source.
    pub fn value_at(&self, path: &str) -> ValueAppearance {
        let own = self.path(path).map(|own| own.value.clone());
        let own = own.unwrap_or_default();
        let source = &self.value;
        let has_limits = own.thresholds != Thresholds::default();
        ValueAppearance {
            unit: own.unit.or_else(|| source.unit.clone()),
            decimals: own.decimals.or(source.decimals),
            thresholds: if has_limits {
                own.thresholds
            } else {
                source.thresholds.clone()
            },
        }
    }
}

impl ValueAppearance {
    /// Returns the digits of a number with these decimals and this unit: `81.3 %` for `81.26`.
    pub fn format_number(&self, digits: &str) -> String {
        let decimals = self
            .decimals
            .and_then(|decimals| usize::try_from(decimals).ok());
        let number = decimals.and_then(|decimals| Some((decimals, digits.parse::<f64>().ok()?)));
        let mut text = match number {
            // A double holds 15 digits. What has more of them stays as it came.
            Some((decimals, number)) if number.abs() < 1e15 => format!("{number:.decimals$}"),
            _ => digits.to_owned(),
        };
        if let Some(unit) = &self.unit {
            text.push(' ');
            text.push_str(unit);
        }
        text
    }
}

impl Thresholds {
    /// The level of a number; `None` if it is not at a limit.
    pub fn level_of(&self, number: f64) -> Option<ThresholdLevel> {
        let limit = |limit: &Option<Number>| limit.as_ref().and_then(Number::as_f64);
        let (warn, crit) = (limit(&self.warn), limit(&self.crit));
        let is_low_bad = warn.zip(crit).is_some_and(|(warn, crit)| crit < warn);
        let is_beyond = |limit: f64| {
            if is_low_bad {
                number <= limit
            } else {
                number >= limit
            }
        };
        if crit.is_some_and(is_beyond) {
            Some(ThresholdLevel::Crit)
        } else {
            warn.is_some_and(is_beyond).then_some(ThresholdLevel::Warn)
        }
    }
}

impl ThresholdLevel {
    /// `warning` or `critical`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warning",
            Self::Crit => "critical",
        }
    }
}

impl PathAppearance {
    /// The kinds of values that can be chosen.
    pub const KINDS: &[&str] = &["text", "link", "image", "color", "time", "duration"];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thresholds(warn: u64, crit: u64) -> Thresholds {
        Thresholds {
            warn: Some(warn.into()),
            crit: Some(crit.into()),
        }
    }

    #[test]
    fn level_follows_direction() {
        let levels = |limits: &Thresholds| [5.0, 10.0, 15.0, 20.0].map(|n| limits.level_of(n));
        let (warn, crit) = (Some(ThresholdLevel::Warn), Some(ThresholdLevel::Crit));
        assert_eq!(levels(&thresholds(10, 20)), [None, warn, warn, crit]);
        assert_eq!(levels(&thresholds(15, 5)), [crit, warn, warn, None]);
        assert_eq!(levels(&Thresholds::default()), [None; 4]);
    }

    #[test]
    fn path_overrides_source() {
        let value = |unit: Option<&str>, decimals| ValueAppearance {
            unit: unit.map(Into::into),
            decimals,
            thresholds: Thresholds::default(),
        };
        let own = PathAppearance {
            value: ValueAppearance {
                thresholds: thresholds(1, 2),
                ..value(Some("%"), None)
            },
            ..PathAppearance::default()
        };
        let source = SourceAppearance {
            value: value(Some("GB"), Some(1)),
            paths: vec![("fs.0.used".into(), own)],
            ..SourceAppearance::default()
        };
        let used = source.value_at("fs.0.used");
        assert_eq!(used.format_number("81.26"), "81.3 %");
        assert_eq!(used.thresholds, thresholds(1, 2));
        let other = source.value_at("fs.0.size");
        assert_eq!(other.format_number("3"), "3.0 GB");
        let long = "12345678901234567890";
        assert_eq!(other.format_number(long), format!("{long} GB"));
    }
}
