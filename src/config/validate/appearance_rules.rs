//! `title`, `group`, `order`, `unit`, `decimals`, `thresholds` and `paths`: how the panel shows a source.

use std::sync::Arc;

use crate::config::loader::ConfigLoader;
use crate::config::table::Table;
use crate::domain::{PathAppearance, SourceAppearance, Thresholds, ValueAppearance};

/// How the panel shows the source of a table.
pub(super) fn validate_appearance(
    table: &Table,
    loader: &mut ConfigLoader<'_>,
) -> SourceAppearance {
    let paths = table.tables("paths").iter().map(|path| {
        let appearance = PathAppearance {
            label: read_text(path, "label"),
            value: validate_value(path, loader),
            is_hidden: path.boolean("hidden").unwrap_or(false),
            kind: read_text(path, "as"),
        };
        (path.name.value.clone(), appearance)
    });
    let paths = paths.collect();
    SourceAppearance {
        title: read_text(table, "title"),
        group: read_text(table, "group"),
        order: table.integer("order"),
        value: validate_value(table, loader),
        paths,
    }
}

fn validate_value(table: &Table, loader: &mut ConfigLoader<'_>) -> ValueAppearance {
    let limits = table.tables("thresholds").first();
    let limit = |key| limits.and_then(|limits| limits.number(key).cloned());
    let thresholds = Thresholds {
        warn: limit("warn"),
        crit: limit("crit"),
    };
    if let (
        Some(limits),
        Thresholds {
            warn: None,
            crit: None,
        },
    ) = (limits, &thresholds)
        && !limits.is_invalid("warn")
        && !limits.is_invalid("crit")
    {
        let help = "expected `warn`, `crit` or both";
        loader.error(&limits.span, "`thresholds` has no limit", help);
    }
    ValueAppearance {
        unit: read_text(table, "unit"),
        decimals: table.integer("decimals"),
        thresholds,
    }
}

/// A text that is not blank.
fn read_text(table: &Table, key: &str) -> Option<Arc<str>> {
    let text = table.text(key)?.value.trim();
    (!text.is_empty()).then(|| text.into())
}
