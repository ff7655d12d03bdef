//! An answer as a table for people: one line per source, its error below it in full, and last of all who is not ok.
//!
//! It reads the answer's JSON like any client does, so that it can show nothing that the service does not tell.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::console;
use super::text::{cut, fold, harmless, instant, span};

/// Where a table is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Canvas {
    /// The columns of the terminal; none: data is never cut and errors are not folded.
    pub(super) width: Option<usize>,
    /// Whether to use ANSI colours.
    pub(super) colour: bool,
}

/// Between two columns.
const GAP: &str = "  ";

/// Before what belongs to the line above.
const INDENT: &str = "    ";

/// The heads of the columns; the last one takes the rest of the line.
const HEADS: [&str; 6] = ["SOURCE", "STATE", "AGE", "MS", "PROVIDER", "DATA"];

/// Which columns stand to the right.
const RIGHT: [bool; 6] = [false, false, true, true, false, false];

/// The least room for data beside the other columns; where there is less each source is a paragraph.
const LEAST: usize = 16;

/// Where an answer has been told which providers failed although another one answered: a list of objects with `provider`,
/// and `code`, `failing_since` and `error` as in the answer.
pub(super) const HIDDEN: &str = "hidden";

/// One source.
struct Row {
    cells: [String; 6],
    hue: Hue,
    code: Option<String>,
    error: Option<String>,
    hidden: Vec<String>,
}

/// What a text is painted for.
#[derive(Clone, Copy)]
pub(super) enum Hue {
    Good = 32,
    Doubtful = 33,
    Bad = 31,
    Faint = 2,
    Bold = 1,
}

impl Canvas {
    /// This stream.
    pub(super) fn of(stream: &(impl IsTerminal + AsFd)) -> Self {
        Self {
            width: console::width(stream),
            colour: console::colours(stream),
        }
    }

    /// Draws the body of an answer.
    pub(super) fn draw(self, body: &Value) -> String {
        let answered = body["generated_at"].as_str().unwrap_or_default();
        let rows: Vec<Row> = results(body)
            .map(|(name, result)| Row::new(name, result, answered))
            .collect();
        let widths = widths(&rows);
        let columns: usize = widths.iter().map(|width| width + GAP.len()).sum();
        let mut out = String::new();
        if self.width.is_some_and(|width| columns + LEAST > width) {
            for row in &rows {
                self.paragraph(&mut out, row);
            }
        } else {
            let heads = line(&HEADS.map(str::to_owned), &widths);
            let _ = writeln!(out, "{}", self.paint(Hue::Faint, &heads));
            for row in &rows {
                self.row(&mut out, row, &widths);
            }
        }
        for credit in results(body).filter_map(|(_, result)| result["attribution"].as_str()) {
            self.folded(&mut out, Hue::Faint, "", &harmless(credit));
        }
        out.push('\n');
        self.summary(&mut out, body, &rows);
        out
    }

    fn row(self, out: &mut String, row: &Row, widths: &[usize; 5]) {
        let mut cells = row.cells.clone();
        let taken: usize = widths.iter().map(|width| width + GAP.len()).sum();
        if let Some(width) = self.width {
            cells[5] = cut(&cells[5], width.saturating_sub(taken));
        }
        let line = line(&cells, widths);
        let pad = " ".repeat(widths[0].saturating_sub(cells[0].width()) + GAP.len());
        let [name, state] = [
            self.paint(Hue::Bold, &cells[0]),
            self.paint(row.hue, &cells[1]),
        ];
        let rest = &line[cells[0].len() + pad.len() + cells[1].len()..];
        let _ = writeln!(out, "{name}{pad}{state}{rest}");
        self.error(out, row);
    }

    /// A source where there is no room for columns.
    fn paragraph(self, out: &mut String, row: &Row) {
        let [name, state, age, ms, provider, data] = &row.cells;
        let (name, state) = (self.paint(Hue::Bold, name), self.paint(row.hue, state));
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
        self.folded(out, Hue::Faint, INDENT, &detail.join(", "));
        if !data.is_empty() {
            let _ = writeln!(out, "{INDENT}{}", cut(data, self.room(INDENT)));
        }
        self.error(out, row);
    }

    fn error(self, out: &mut String, row: &Row) {
        if let Some(error) = &row.error {
            self.folded(out, row.hue, INDENT, error);
        }
        for trouble in &row.hidden {
            self.folded(out, Hue::Doubtful, INDENT, trouble);
        }
    }

    fn folded(self, out: &mut String, hue: Hue, indent: &str, text: &str) {
        for line in fold(text, self.room(indent))
            .iter()
            .filter(|line| !line.is_empty())
        {
            let _ = writeln!(out, "{indent}{}", self.paint(hue, line));
        }
    }

    fn room(self, indent: &str) -> usize {
        self.width.map_or(usize::MAX, |width| {
            width.saturating_sub(indent.len()).max(LEAST)
        })
    }

    /// How many are ok, and by name who is not: with many sources the end is all that a terminal still shows.
    fn summary(self, out: &mut String, body: &Value, rows: &[Row]) {
        let ok = results(body)
            .filter(|(_, result)| result["ok"] == true)
            .count();
        let hue = if ok == rows.len() {
            Hue::Good
        } else {
            Hue::Bad
        };
        let text = |key: &str| harmless(body[key].as_str().unwrap_or_default());
        let count = format!(
            "{ok} of {} ok, {} at {}",
            rows.len(),
            text("origen"),
            text("generated_at")
        );
        self.folded(out, hue, "", &count);
        let failing = rows
            .iter()
            .filter_map(|row| Some((&row.cells[0], row.code.as_ref()?)));
        let failing: Vec<String> = failing
            .map(|(name, code)| format!("{name} ({code})"))
            .collect();
        if !failing.is_empty() {
            self.folded(
                out,
                Hue::Bad,
                "",
                &format!("failing: {}", failing.join(", ")),
            );
        }
    }

    /// `text` in this hue, where there are colours.
    pub(super) fn paint(self, hue: Hue, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("\u{1b}[{}m{text}\u{1b}[0m", hue as u8)
        } else {
            text.to_owned()
        }
    }
}

impl Row {
    fn new(name: &str, result: &Value, answered: &str) -> Self {
        let (state, hue) = match (
            result["ok"] == true,
            result["stale"] == true,
            result.get("error").is_some(),
        ) {
            (false, _, _) => ("missing", Hue::Bad),
            (true, true, _) => ("stale", Hue::Doubtful),
            (true, false, true) => ("fresh", Hue::Doubtful),
            (true, false, false) => ("fresh", Hue::Good),
        };
        let text = |key: &str| result[key].as_str().map(harmless).unwrap_or_default();
        let cells = [
            harmless(name),
            state.to_owned(),
            result["age_ms"].as_u64().map(span).unwrap_or_default(),
            result["ms"]
                .as_f64()
                .map(|ms| format!("{ms:.0}"))
                .unwrap_or_default(),
            text("provider"),
            result.get("data").map(compact).unwrap_or_default(),
        ];
        let code = result["code"].as_str().map(harmless);
        let hidden = result[HIDDEN].as_array().into_iter().flatten();
        let hidden = hidden.filter_map(|one| {
            let provider = harmless(one["provider"].as_str().unwrap_or_default());
            Some(format!("provider {provider}: {}", trouble(one, answered)?))
        });
        Self {
            cells,
            hue,
            code,
            error: trouble(result, answered),
            hidden: hidden.collect(),
        }
    }
}

/// `timeout since 06:48:10Z: no answer within 1 s`
fn trouble(told: &Value, answered: &str) -> Option<String> {
    let code = told["code"].as_str().map(harmless).unwrap_or_default();
    let since = told["failing_since"]
        .as_str()
        .map(|since| format!(" since {}", harmless(&instant(since, answered))));
    let error = harmless(told["error"].as_str()?);
    Some(format!("{code}{}: {error}", since.unwrap_or_default()))
}

/// How wide each column must be; the last one takes what is left.
fn widths(rows: &[Row]) -> [usize; 5] {
    std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row.cells[column].width());
        cells
            .chain([HEADS[column].width()])
            .max()
            .unwrap_or_default()
    })
}

fn line(cells: &[String; 6], widths: &[usize; 5]) -> String {
    let mut line = String::new();
    for column in 0..5 {
        let pad = " ".repeat(widths[column].saturating_sub(cells[column].width()));
        let [before, after] = if RIGHT[column] {
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

fn results(body: &Value) -> impl Iterator<Item = (&str, &Value)> {
    body["resultados"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, result)| (name.as_str(), result))
}

/// `{"usd": 1, "eur": 2}` as `usd 1, eur 2`; what has parts of its own stays JSON.
fn compact(data: &Value) -> String {
    let plain = |value: &Value| match value {
        Value::String(text) => harmless(text),
        other => harmless(&other.to_string()),
    };
    match data {
        Value::Object(members) if !members.is_empty() => {
            let members: Vec<_> = members
                .iter()
                .map(|(k, v)| format!("{} {}", harmless(k), plain(v)))
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

    fn answer() -> Value {
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
    fn a_table_tells_states_ages_and_errors_in_full() {
        let table = Canvas {
            width: None,
            colour: false,
        }
        .draw(&answer());
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
    fn a_narrow_terminal_cuts_data_and_folds_errors() {
        let table = Canvas {
            width: Some(64),
            colour: false,
        }
        .draw(&answer());
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
    fn where_there_is_no_room_for_columns_each_source_is_a_paragraph() {
        let table = Canvas {
            width: Some(40),
            colour: false,
        }
        .draw(&answer());
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
    fn colours_change_nothing_but_colours() {
        for width in [40, 64] {
            let painted = Canvas {
                width: Some(width),
                colour: true,
            }
            .draw(&answer());
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
                Canvas {
                    width: Some(width),
                    colour: false
                }
                .draw(&answer())
            );
        }
    }

    #[test]
    fn data_is_told_as_its_members() {
        assert_eq!(
            compact(&json!({"a": ["x"], "b": null, "c": "y\n"})),
            "a [\"x\"], b null, c y\\u{a}"
        );
    }
}
