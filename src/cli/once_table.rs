//! The table that `once` prints: one line per source, its errors below it, and a summary at the end.
//!
//! The input is the JSON body of `GET /resumen`, so the table shows nothing that an HTTP client would not see.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table};
use serde_json::Value;

use super::layout::{TerminalText, borderless_table, truncate_line};
use super::once_row::ResultRow;
use super::terminal::{Terminal, TextStyle, escape_control};

const HEADINGS: [&str; 6] = ["SOURCE", "STATE", "AGE", "MS", "PROVIDER", "DATA"];

/// Indices of the columns with numbers, which are right-aligned.
const NUMERIC_COLUMNS: [usize; 2] = [2, 3];

/// Index of the last column, which gets the rest of the line.
const DATA_COLUMN: usize = 5;

/// Minimum width of the last column; a narrower terminal gets one paragraph per source.
const MIN_DATA_WIDTH: u16 = 16;

/// Indentation of the lines that belong to the source above.
const INDENT: u16 = 4;

/// Renders the body of a summary as a table.
pub(super) fn render_table(terminal: Terminal, body: &Value) -> String {
    let generated_at = body["generated_at"].as_str().unwrap_or_default();
    let results = || body["resultados"].as_object().into_iter().flatten();
    let rows: Vec<ResultRow> = results()
        .map(|(name, result)| ResultRow::new(name, result, generated_at))
        .collect();
    let mut out = TerminalText::new(terminal);
    match layout_rows(terminal, &rows) {
        Some(table) => write_rows(&mut out, &rows, &table.trim_fmt()),
        None => write_paragraphs(&mut out, &rows),
    }
    for attribution in results().filter_map(|(_, result)| result["attribution"].as_str()) {
        out.push_wrapped(TextStyle::Dim, 0, &escape_control(attribution));
    }
    out.push_line("");
    write_summary(&mut out, body, &rows);
    out.text
}

/// Returns the rows as columns, or `None` if the terminal is too narrow for them.
fn layout_rows(terminal: Terminal, rows: &[ResultRow]) -> Option<Table> {
    let mut table = borderless_table(HEADINGS);
    for row in rows {
        // One line per row, so that the lines can be paired with the rows again.
        table.add_row(Row::from(&row.cells).max_height(1).clone());
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        if NUMERIC_COLUMNS.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if index == DATA_COLUMN {
            // A delimiter that occurs nowhere: data is cut at the last column instead of after a word.
            column.set_padding((0, 0)).set_delimiter('\0');
        } else {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    if let Some(width) = terminal.width {
        let contents = table.column_max_content_widths();
        let columns = table.column_iter().zip(contents).take(DATA_COLUMN);
        let taken: u16 = columns
            .map(|(column, content)| content + column.padding_width())
            .sum();
        if taken + MIN_DATA_WIDTH > width {
            return None;
        }
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
    }
    Some(table)
}

fn write_rows(out: &mut TerminalText, rows: &[ResultRow], table: &str) {
    let terminal = out.terminal;
    let mut lines = table.lines();
    let headings = lines.next().unwrap_or_default();
    out.push_line(&terminal.apply_style(TextStyle::Dim, headings));
    let mut group = None;
    for (row, line) in rows.iter().zip(lines) {
        write_group(out, &mut group, row);
        let [name, state, ..] = &row.cells;
        // Styles are added last: the layout would count their escape sequences as columns.
        let (name, rest) = line.split_at(name.len());
        let rest = rest.replacen(state, &terminal.apply_style(row.style, state), 1);
        out.push_line(&(terminal.apply_style(TextStyle::Bold, name) + &rest));
        write_errors(out, row);
    }
}

fn write_paragraphs(out: &mut TerminalText, rows: &[ResultRow]) {
    let terminal = out.terminal;
    let mut group = None;
    for row in rows {
        write_group(out, &mut group, row);
        let [name, state, age, ms, provider, data] = &row.cells;
        let name = terminal.apply_style(TextStyle::Bold, name);
        let state = terminal.apply_style(row.style, state);
        out.push_line(format!("{name}  {state}  {age}").trim_end());
        let details = match (provider.as_str(), ms.as_str()) {
            (provider, "") => provider.to_owned(),
            ("", ms) => format!("{ms} ms"),
            (provider, ms) => format!("{provider}, {ms} ms"),
        };
        out.push_wrapped(TextStyle::Dim, INDENT, &details);
        if !data.is_empty() {
            out.push_line(&truncate_line(data, INDENT, terminal.width));
        }
        write_errors(out, row);
    }
}

/// Writes the title of the row's group above its first row; an empty line above the sources of no group.
fn write_group<'r>(out: &mut TerminalText, group: &mut Option<&'r str>, row: &'r ResultRow) {
    let own = row.group.as_deref();
    if *group != own {
        let title = out.terminal.apply_style(TextStyle::Bold, own.unwrap_or(""));
        out.push_line(&title);
        *group = own;
    }
}

fn write_errors(out: &mut TerminalText, row: &ResultRow) {
    if let Some(error) = &row.error {
        out.push_wrapped(row.style, INDENT, error);
    }
    for failure in &row.hidden_failures {
        out.push_wrapped(TextStyle::Warning, INDENT, failure);
    }
}

/// Writes the number of ok sources and the failing ones by name. They come last because a terminal shows the end of a
/// long output.
fn write_summary(out: &mut TerminalText, body: &Value, rows: &[ResultRow]) {
    let (ok, total) = (rows.iter().filter(|row| row.is_ok).count(), rows.len());
    let text = |key: &str| escape_control(body[key].as_str().unwrap_or_default());
    let (mode, generated_at) = (text("origen"), text("generated_at"));
    let style = if ok == total {
        TextStyle::Success
    } else {
        TextStyle::Error
    };
    out.push_wrapped(
        style,
        0,
        &format!("{ok} of {total} ok, {mode} at {generated_at}"),
    );
    let failing = rows.iter().filter_map(|row| {
        let code = row.code.as_ref()?;
        Some(format!("{} ({code})", row.cells[0]))
    });
    let failing = failing.collect::<Vec<_>>().join(", ");
    if !failing.is_empty() {
        out.push_wrapped(TextStyle::Error, 0, &format!("failing: {failing}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use unicode_width::UnicodeWidthStr as _;

    fn terminal(width: Option<u16>, has_colour: bool) -> Terminal {
        Terminal { width, has_colour }
    }

    fn sample_body() -> Value {
        json!({
            "origen": "live", "generated_at": "2026-11-22T06:55:10.734Z", "complete": false,
            "resultados": {
                "btc": {"ok": true, "data": {"usd": 97123.45}, "ms": 84.213, "provider": "coinbase", "age_ms": 823,
                    "stale": false, "from": "live",
                    "hidden": [{"provider": "kraken", "code": "timeout", "failing_since": "2026-11-22T06:50:00.100Z",
                        "error": "no answer within 1 s"}]},
                "clima": {"ok": true, "data": {"temperatura_c": 21.3, "dónde": "Buenos Aires 東京"}, "ms": 1000.204,
                    "provider": "open-meteo", "age_ms": 1_020_834, "stale": true, "from": "snapshot",
                    "error": "no answer within 1 s (waiting for headers)", "code": "timeout",
                    "failing_since": "2026-11-22T06:48:10.102Z", "attribution": "Weather data by Open-Meteo.com"},
                "usd": {"ok": false, "ms": 210.55, "error": "HTTP 503 Service Unavailable", "code": "http_status",
                    "failing_since": "2026-11-21T23:59:59.999Z", "from": "snapshot"},
            }
        })
    }

    #[test]
    fn table_shows_errors_in_full() {
        let table = render_table(terminal(None, false), &sample_body());
        insta::assert_snapshot!(table, @r"
        SOURCE  STATE           AGE    MS  PROVIDER    DATA
        btc     fresh         0.8 s    84  coinbase    usd 97123.45
            provider kraken: timeout since 06:50:00Z: no answer within 1 s
        clima   stale    17 min 0 s  1000  open-meteo  temperatura_c 21.3, dónde Buenos Aires 東京
            timeout since 06:48:10Z: no answer within 1 s (waiting for headers)
        usd     missing               211
            http_status since 2026-11-21T23:59:59Z: HTTP 503 Service Unavailable
        Weather data by Open-Meteo.com

        2 of 3 ok, live at 2026-11-22T06:55:10.734Z
        failing: clima (timeout), usd (http_status)
        ");
    }

    #[test]
    fn narrow_table_wraps_errors() {
        let table = render_table(terminal(Some(64), false), &sample_body());
        insta::assert_snapshot!(table, @r"
        SOURCE  STATE           AGE    MS  PROVIDER    DATA
        btc     fresh         0.8 s    84  coinbase    usd 97123.45
            provider kraken: timeout since 06:50:00Z: no answer within 1
            s
        clima   stale    17 min 0 s  1000  open-meteo  temperatura_c 21…
            timeout since 06:48:10Z: no answer within 1 s (waiting for
            headers)
        usd     missing               211
            http_status since 2026-11-21T23:59:59Z: HTTP 503 Service
            Unavailable
        Weather data by Open-Meteo.com

        2 of 3 ok, live at 2026-11-22T06:55:10.734Z
        failing: clima (timeout), usd (http_status)
        ");
        assert!(table.lines().all(|line| line.width() <= 64), "{table}");
    }

    #[test]
    fn tiny_terminal_gets_paragraphs() {
        let table = render_table(terminal(Some(40), false), &sample_body());
        insta::assert_snapshot!(table, @r"
        btc  fresh  0.8 s
            coinbase, 84 ms
            usd 97123.45
            provider kraken: timeout since
            06:50:00Z: no answer within 1 s
        clima  stale  17 min 0 s
            open-meteo, 1000 ms
            temperatura_c 21.3, dónde Buenos Ai…
            timeout since 06:48:10Z: no answer
            within 1 s (waiting for headers)
        usd  missing
            211 ms
            http_status since
            2026-11-21T23:59:59Z: HTTP 503
            Service Unavailable
        Weather data by Open-Meteo.com

        2 of 3 ok, live at
        2026-11-22T06:55:10.734Z
        failing: clima (timeout), usd
        (http_status)
        ");
        assert!(table.lines().all(|line| line.width() <= 40), "{table}");
    }

    #[test]
    fn colour_keeps_text_unchanged() {
        for width in [40, 64] {
            let painted = render_table(terminal(Some(width), true), &sample_body());
            assert!(
                painted.contains("\u{1b}[33mstale\u{1b}[0m")
                    && painted.contains("\u{1b}[31mmissing\u{1b}[0m")
            );
            let mut plain = painted;
            for code in ["0", "1", "2", "31", "32", "33"] {
                plain = plain.replace(&format!("\u{1b}[{code}m"), "");
            }
            assert_eq!(
                plain,
                render_table(terminal(Some(width), false), &sample_body())
            );
        }
    }
}
