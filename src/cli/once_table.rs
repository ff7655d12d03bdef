//! An answer as a table for people: one line per source, its error below it in full, and last of all who is not ok.
//!
//! It reads the answer's JSON like any client does, so that it can show nothing that the service does not tell.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::terminal;
use super::wrap::{escape_control, format_age, format_instant, truncate_to_width, wrap_text};

/// Where a table is drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    /// The columns of the terminal; none: data is never cut and errors are not folded.
    pub(crate) width: Option<usize>,
    /// Whether to use ANSI colours.
    pub(crate) has_colour: bool,
}

/// Between two columns.
const GAP: &str = "  ";

/// Before what belongs to the line above.
const INDENT: &str = "    ";

/// The heads of the columns; the last one takes the rest of the line.
const HEADINGS: [&str; 6] = ["SOURCE", "STATE", "AGE", "MS", "PROVIDER", "DATA"];

/// Which columns stand to the right.
const RIGHT_ALIGNED: [bool; 6] = [false, false, true, true, false, false];

/// The least room for data beside the other columns; where there is less each source is a paragraph.
const MIN_DATA_WIDTH: usize = 16;

/// Where an answer has been told which providers failed although another one answered: a list of objects with `provider`,
/// and `code`, `failing_since` and `error` as in the answer.
pub(crate) const HIDDEN_FAILURES_KEY: &str = "hidden";

/// One source.
struct ResultRow {
    cells: [String; 6],
    style: TextStyle,
    code: Option<String>,
    error: Option<String>,
    hidden_failures: Vec<String>,
}

/// What a text is painted for.
#[derive(Clone, Copy)]
pub(crate) enum TextStyle {
    Success = 32,
    Warning = 33,
    Error = 31,
    Dim = 2,
    Bold = 1,
}

impl Terminal {
    /// This stream.
    pub(crate) fn from_stream(stream: &(impl IsTerminal + AsFd)) -> Self {
        Self {
            width: terminal::terminal_width(stream),
            has_colour: terminal::supports_colour(stream),
        }
    }

    /// Draws the body of an answer.
    pub(crate) fn render_answer(self, body: &Value) -> String {
        let answered = body["generated_at"].as_str().unwrap_or_default();
        let rows: Vec<ResultRow> = iter_results(body)
            .map(|(name, result)| ResultRow::new(name, result, answered))
            .collect();
        let widths = column_widths(&rows);
        let columns: usize = widths.iter().map(|width| width + GAP.len()).sum();
        let mut out = String::new();
        if self
            .width
            .is_some_and(|width| columns + MIN_DATA_WIDTH > width)
        {
            for row in &rows {
                self.write_paragraph(&mut out, row);
            }
        } else {
            let heads = format_row(&HEADINGS.map(str::to_owned), &widths);
            let _ = writeln!(out, "{}", self.apply_style(TextStyle::Dim, &heads));
            for row in &rows {
                self.write_row(&mut out, row, &widths);
            }
        }
        for credit in iter_results(body).filter_map(|(_, result)| result["attribution"].as_str()) {
            self.write_wrapped(&mut out, TextStyle::Dim, "", &escape_control(credit));
        }
        out.push('\n');
        self.write_summary(&mut out, body, &rows);
        out
    }

    fn write_row(self, out: &mut String, row: &ResultRow, widths: &[usize; 5]) {
        let mut cells = row.cells.clone();
        let taken: usize = widths.iter().map(|width| width + GAP.len()).sum();
        if let Some(width) = self.width {
            cells[5] = truncate_to_width(&cells[5], width.saturating_sub(taken));
        }
        let line = format_row(&cells, widths);
        let pad = " ".repeat(widths[0].saturating_sub(cells[0].width()) + GAP.len());
        let [name, state] = [
            self.apply_style(TextStyle::Bold, &cells[0]),
            self.apply_style(row.style, &cells[1]),
        ];
        let rest = &line[cells[0].len() + pad.len() + cells[1].len()..];
        let _ = writeln!(out, "{name}{pad}{state}{rest}");
        self.write_errors(out, row);
    }

    /// A source where there is no room for columns.
    fn write_paragraph(self, out: &mut String, row: &ResultRow) {
        let [name, state, age, ms, provider, data] = &row.cells;
        let (name, state) = (
            self.apply_style(TextStyle::Bold, name),
            self.apply_style(row.style, state),
        );
        let _ = writeln!(out, "{}", [name.as_str(), &state, age].join(GAP).trim_end());
        let ms = if ms.is_empty() {
            String::new()
        } else {
            format!("{ms} ms")
        };
        let detail: Vec<&str> = [provider.as_str(), &ms]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect();
        self.write_wrapped(out, TextStyle::Dim, INDENT, &detail.join(", "));
        if !data.is_empty() {
            let _ = writeln!(
                out,
                "{INDENT}{}",
                truncate_to_width(data, self.available_width(INDENT))
            );
        }
        self.write_errors(out, row);
    }

    fn write_errors(self, out: &mut String, row: &ResultRow) {
        if let Some(error) = &row.error {
            self.write_wrapped(out, row.style, INDENT, error);
        }
        for trouble in &row.hidden_failures {
            self.write_wrapped(out, TextStyle::Warning, INDENT, trouble);
        }
    }

    fn write_wrapped(self, out: &mut String, hue: TextStyle, indent: &str, text: &str) {
        for line in wrap_text(text, self.available_width(indent))
            .iter()
            .filter(|line| !line.is_empty())
        {
            let _ = writeln!(out, "{indent}{}", self.apply_style(hue, line));
        }
    }

    fn available_width(self, indent: &str) -> usize {
        self.width.map_or(usize::MAX, |width| {
            width.saturating_sub(indent.len()).max(MIN_DATA_WIDTH)
        })
    }

    /// How many are ok, and by name who is not: with many sources the end is all that a terminal still shows.
    fn write_summary(self, out: &mut String, body: &Value, rows: &[ResultRow]) {
        let ok = iter_results(body)
            .filter(|(_, result)| result["ok"] == true)
            .count();
        let hue = if ok == rows.len() {
            TextStyle::Success
        } else {
            TextStyle::Error
        };
        let text = |key: &str| escape_control(body[key].as_str().unwrap_or_default());
        let count = format!(
            "{ok} of {} ok, {} at {}",
            rows.len(),
            text("origen"),
            text("generated_at")
        );
        self.write_wrapped(out, hue, "", &count);
        let failing = rows
            .iter()
            .filter_map(|row| Some((&row.cells[0], row.code.as_ref()?)));
        let failing: Vec<String> = failing
            .map(|(name, code)| format!("{name} ({code})"))
            .collect();
        if !failing.is_empty() {
            self.write_wrapped(
                out,
                TextStyle::Error,
                "",
                &format!("failing: {}", failing.join(", ")),
            );
        }
    }

    /// `text` in this hue, where there are colours.
    pub(crate) fn apply_style(self, hue: TextStyle, text: &str) -> String {
        if self.has_colour && !text.is_empty() {
            format!("\u{1b}[{}m{text}\u{1b}[0m", hue as u8)
        } else {
            text.to_owned()
        }
    }
}

impl ResultRow {
    fn new(name: &str, result: &Value, answered: &str) -> Self {
        let (state, hue) = match (
            result["ok"] == true,
            result["stale"] == true,
            result.get("error").is_some(),
        ) {
            (false, _, _) => ("missing", TextStyle::Error),
            (true, true, _) => ("stale", TextStyle::Warning),
            (true, false, true) => ("fresh", TextStyle::Warning),
            (true, false, false) => ("fresh", TextStyle::Success),
        };
        let text = |key: &str| result[key].as_str().map(escape_control).unwrap_or_default();
        let cells = [
            escape_control(name),
            state.to_owned(),
            result["age_ms"]
                .as_u64()
                .map(format_age)
                .unwrap_or_default(),
            result["ms"]
                .as_f64()
                .map(|ms| format!("{ms:.0}"))
                .unwrap_or_default(),
            text("provider"),
            result.get("data").map(format_data).unwrap_or_default(),
        ];
        let code = result["code"].as_str().map(escape_control);
        let hidden = result[HIDDEN_FAILURES_KEY].as_array().into_iter().flatten();
        let hidden = hidden.filter_map(|one| {
            let provider = escape_control(one["provider"].as_str().unwrap_or_default());
            Some(format!(
                "provider {provider}: {}",
                format_failure(one, answered)?
            ))
        });
        Self {
            cells,
            style: hue,
            code,
            error: format_failure(result, answered),
            hidden_failures: hidden.collect(),
        }
    }
}

/// `timeout since 06:48:10Z: no answer within 1 s`
fn format_failure(told: &Value, answered: &str) -> Option<String> {
    let code = told["code"]
        .as_str()
        .map(escape_control)
        .unwrap_or_default();
    let since = told["failing_since"].as_str().map(|since| {
        format!(
            " since {}",
            escape_control(&format_instant(since, answered))
        )
    });
    let error = escape_control(told["error"].as_str()?);
    Some(format!("{code}{}: {error}", since.unwrap_or_default()))
}

/// How wide each column must be; the last one takes what is left.
fn column_widths(rows: &[ResultRow]) -> [usize; 5] {
    std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row.cells[column].width());
        cells
            .chain([HEADINGS[column].width()])
            .max()
            .unwrap_or_default()
    })
}

fn format_row(cells: &[String; 6], widths: &[usize; 5]) -> String {
    let mut line = String::new();
    for column in 0..5 {
        let pad = " ".repeat(widths[column].saturating_sub(cells[column].width()));
        let [before, after] = if RIGHT_ALIGNED[column] {
            [pad.as_str(), ""]
        } else {
            ["", pad.as_str()]
        };
        let _ = write!(line, "{before}{}{after}{GAP}", cells[column]);
    }
    line.push_str(&cells[5]);
    line.truncate(line.trim_end().len());
    line
}

fn iter_results(body: &Value) -> impl Iterator<Item = (&str, &Value)> {
    body["resultados"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, result)| (name.as_str(), result))
}

/// `{"usd": 1, "eur": 2}` as `usd 1, eur 2`; what has parts of its own stays JSON.
fn format_data(data: &Value) -> String {
    let plain = |value: &Value| match value {
        Value::String(text) => escape_control(text),
        other => escape_control(&other.to_string()),
    };
    match data {
        Value::Object(members) if !members.is_empty() => {
            let members: Vec<_> = members
                .iter()
                .map(|(k, v)| format!("{} {}", escape_control(k), plain(v)))
                .collect();
            members.join(", ")
        }
        other => plain(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample_answer() -> Value {
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
        let table = Terminal {
            width: None,
            has_colour: false,
        }
        .render_answer(&sample_answer());
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
        let table = Terminal {
            width: Some(64),
            has_colour: false,
        }
        .render_answer(&sample_answer());
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
        let table = Terminal {
            width: Some(40),
            has_colour: false,
        }
        .render_answer(&sample_answer());
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
            let painted = Terminal {
                width: Some(width),
                has_colour: true,
            }
            .render_answer(&sample_answer());
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
                Terminal {
                    width: Some(width),
                    has_colour: false
                }
                .render_answer(&sample_answer())
            );
        }
    }

    #[test]
    fn data_is_listed_by_member() {
        assert_eq!(
            format_data(&json!({"a": ["x"], "b": null, "c": "y\n"})),
            "a [\"x\"], b null, c y\\u{a}"
        );
    }
}
