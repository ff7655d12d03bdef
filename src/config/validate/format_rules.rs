//! `format`, `csv` and `select`. Each key comes from the provider, else its source, else `[defaults]`.

use crate::config::loader::ConfigLoader;
use crate::config::problems::{ValueError, refuse};
use crate::config::span::SpannedStr;
use crate::config::table::Table;
use crate::domain::{BodyFormat, CsvDialect};
use crate::extract::check_selector;

/// The format of a provider. `tables` are its own, that of its source and `[defaults]`, in this order.
pub(super) fn validate_format(tables: &[&Table], loader: &mut ConfigLoader<'_>) -> BodyFormat {
    let text = |key| tables.iter().find_map(|table| table.text(key));
    let written = text("format");
    let name = written.map_or("json", |format| format.value.as_str());
    warn_of_unused_keys(tables[0], name, loader);
    match name {
        "jsonl" => BodyFormat::JsonLines,
        "text" => BodyFormat::Text,
        "csv" => BodyFormat::Csv(validate_csv(tables, loader)),
        "xml" => BodyFormat::Xml,
        "prometheus" => BodyFormat::Prometheus,
        "html" => match (text("select"), written) {
            (Some(select), _) => {
                let checked = check_selector(&select.value);
                let help = "expected a CSS selector, such as `table#prices td.price`";
                let refused = |why| refuse(format!("{select} is not a CSS selector: {why}"), help);
                loader.check(select, checked.or_else(refused));
                BodyFormat::Html {
                    select: select.value.as_str().into(),
                }
            }
            (None, written) => {
                let is_invalid = tables.iter().any(|table| table.is_invalid("select"));
                if let Some(written) = written.filter(|_| !is_invalid) {
                    let message = "`format = \"html\"` needs `select`";
                    let help = "add a CSS selector, such as `select = \"table#prices td.price\"`";
                    loader.missing(&written.span, message, help);
                }
                BodyFormat::Json
            }
        },
        _ => BodyFormat::Json,
    }
}

fn validate_csv(tables: &[&Table], loader: &mut ConfigLoader<'_>) -> CsvDialect {
    let tables = || tables.iter().flat_map(|table| table.tables("csv"));
    let delimiter = tables().find_map(|csv| csv.text("delimiter"));
    let has_header = tables().find_map(|csv| csv.boolean("header"));
    let default = CsvDialect::default();
    let checked = delimiter.and_then(|text| loader.check(text, parse_delimiter(text)));
    CsvDialect {
        delimiter: checked.unwrap_or(default.delimiter),
        has_header: has_header.unwrap_or(default.has_header),
    }
}

fn parse_delimiter(text: &SpannedStr) -> Result<u8, ValueError> {
    match text.value.as_bytes() {
        [delimiter] if delimiter.is_ascii() && !b"\"\r\n".contains(delimiter) => Ok(*delimiter),
        _ => refuse(
            format!("{text} cannot separate fields"),
            "expected one ASCII character, such as `,`, `;` or `\\t`",
        ),
    }
}

/// Warns of keys that the table itself has and its format does not use.
fn warn_of_unused_keys(table: &Table, format: &str, loader: &mut ConfigLoader<'_>) {
    for (key, wanted) in [("csv", "csv"), ("select", "html")] {
        let Some(span) = table.span_of(key).filter(|_| format != wanted) else {
            continue;
        };
        let message = format!("`{key}` has no effect with `format = \"{format}\"`");
        let help = format!("it is for `format = \"{wanted}\"`");
        loader.warning(span, &message, help);
    }
}
