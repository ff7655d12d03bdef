//! An answer as a table for people: one line per source, its error below it in full.
//!
//! It reads the answer's JSON like any client does, so that it can show nothing that the service does not tell.

use std::fmt::Write as _;

use serde_json::Value;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

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

/// The heads of the columns; the last one takes the rest of the line.
const HEADS: [&str; 6] = ["SOURCE", "STATE", "AGE", "MS", "PROVIDER", "DATA"];

/// Which columns stand to the right.
const RIGHT: [bool; 6] = [false, false, true, true, false, false];

/// The least room for data, however narrow the terminal is.
const LEAST: usize = 16;

/// One source.
struct Row {
    cells: [String; 6],
    hue: Hue,
    error: Option<String>,
}

#[derive(Clone, Copy)]
enum Hue {
    Good = 32,
    Doubtful = 33,
    Bad = 31,
    Faint = 2,
    Bold = 1,
}

impl Canvas {
    /// Draws the body of an answer.
    pub(super) fn draw(self, body: &Value) -> String {
        let rows: Vec<Row> = results(body).map(|(name, result)| Row::new(name, result)).collect();
        let widths: [usize; 5] = std::array::from_fn(|column| {
            let cells = rows.iter().map(|row| row.cells[column].width());
            cells.chain([HEADS[column].width()]).max().unwrap_or_default()
        });
        let mut out = String::new();
        let heads = self.line(&HEADS.map(str::to_owned), &widths);
        let _ = writeln!(out, "{}", self.paint(Hue::Faint, &heads));
        for row in &rows {
            let line = self.line(&row.cells, &widths);
            let _ = writeln!(out, "{}", self.paint_state(row, &line, &widths));
            if let Some(error) = &row.error {
                self.error(&mut out, error, row.hue);
            }
        }
        let _ = writeln!(out, "\n{}", self.summary(body, &rows));
        for credit in results(body).filter_map(|(_, result)| result["attribution"].as_str()) {
            let _ = writeln!(out, "{}", self.paint(Hue::Faint, &harmless(credit)));
        }
        out
    }

    fn line(self, cells: &[String; 6], widths: &[usize; 5]) -> String {
        let mut line = String::new();
        for column in 0..5 {
            let pad = " ".repeat(widths[column].saturating_sub(cells[column].width()));
            let [before, after] = if RIGHT[column] { [pad.as_str(), ""] } else { ["", pad.as_str()] };
            let _ = write!(line, "{before}{}{after}{GAP}", cells[column]);
        }
        let room = self.width.map(|width| width.saturating_sub(line.width()).max(LEAST));
        line.push_str(&cut(&cells[5], room));
        line.truncate(line.trim_end().len());
        line
    }

    /// Paints the second cell of a line: the state.
    fn paint_state(self, row: &Row, line: &str, widths: &[usize; 5]) -> String {
        let pad = widths[0].saturating_sub(row.cells[0].width()) + GAP.len();
        let from = row.cells[0].len() + pad;
        let to = from + row.cells[1].len();
        let [name, state, rest] = [&line[..row.cells[0].len()], &line[from..to], &line[to..]];
        let name = self.paint(Hue::Bold, name);
        format!("{name}{}{}{rest}", " ".repeat(pad), self.paint(row.hue, state))
    }

    /// An error below its source, folded at words.
    fn error(self, out: &mut String, error: &str, hue: Hue) {
        let indent = "    ";
        let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(indent.len()).max(LEAST));
        let mut line = String::new();
        for word in error.split(' ') {
            if !line.is_empty() && line.width() + 1 + word.width() > room {
                let _ = writeln!(out, "{indent}{}", self.paint(hue, &line));
                line.clear();
            }
            let space = if line.is_empty() { "" } else { " " };
            let _ = write!(line, "{space}{word}");
        }
        let _ = writeln!(out, "{indent}{}", self.paint(hue, &line));
    }

    fn summary(self, body: &Value, rows: &[Row]) -> String {
        let ok = results(body).filter(|(_, result)| result["ok"] == true).count();
        let hue = if ok == rows.len() { Hue::Good } else { Hue::Bad };
        let count = self.paint(hue, &format!("{ok} of {} ok", rows.len()));
        let origin = harmless(body["origen"].as_str().unwrap_or_default());
        format!("{count}, {origin} at {}", harmless(body["generated_at"].as_str().unwrap_or_default()))
    }

    fn paint(self, hue: Hue, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\u{1b}[{}m{text}\u{1b}[0m", hue as u8) } else { text.to_owned() }
    }
}

impl Row {
    fn new(name: &str, result: &Value) -> Self {
        let (state, hue) = match (result["ok"] == true, result["stale"] == true, result.get("error").is_some()) {
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
            result["ms"].as_f64().map(|ms| format!("{ms:.0}")).unwrap_or_default(),
            text("provider"),
            result.get("data").map(compact).unwrap_or_default(),
        ];
        let since = result["failing_since"].as_str().map(|since| format!(" since {}", harmless(since)));
        let error = result["error"].as_str().map(|error| {
            let code = text("code");
            format!("{code}{}: {}", since.unwrap_or_default(), harmless(error))
        });
        Self { cells, hue, error }
    }
}

fn results(body: &Value) -> impl Iterator<Item = (&str, &Value)> {
    body["resultados"].as_object().into_iter().flatten().map(|(name, result)| (name.as_str(), result))
}

/// An age as people say it: the two largest units at most.
pub(super) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, ms % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// `{"usd": 1, "eur": 2}` as `usd 1, eur 2`; what has parts of its own stays JSON.
fn compact(data: &Value) -> String {
    let plain = |value: &Value| match value {
        Value::String(text) => harmless(text),
        other => harmless(&other.to_string()),
    };
    match data {
        Value::Object(members) if !members.is_empty() => {
            let members: Vec<_> = members.iter().map(|(k, v)| format!("{} {}", harmless(k), plain(v))).collect();
            members.join(", ")
        }
        other => plain(other),
    }
}

/// What providers tell must not drive the terminal: control and direction characters are escaped.
fn harmless(text: &str) -> String {
    let direction = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    let escape = |c: char| if c.is_control() || direction(c) { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

fn cut(text: &str, room: Option<usize>) -> String {
    let Some(room) = room.filter(|room| text.width() > *room) else { return text.to_owned() };
    let mut left = room - 1;
    let fits = |c: &char| {
        let width = c.width().unwrap_or_default();
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
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
                    "stale": false, "from": "live"},
                "clima": {"ok": true, "data": {"temperatura_c": 21.3, "dónde": "Buenos Aires 東京"}, "ms": 1000.204,
                    "provider": "open-meteo", "age_ms": 1_020_834, "stale": true, "from": "snapshot",
                    "error": "no answer within 1 s (waiting for headers)", "code": "timeout",
                    "failing_since": "2026-11-22T06:48:10.102Z", "attribution": "Weather data by Open-Meteo.com"},
                "usd": {"ok": false, "ms": 210.55, "error": "HTTP 503 Service Unavailable", "code": "http_status",
                    "from": "snapshot"},
            }
        })
    }

    #[test]
    fn a_table_tells_states_ages_and_errors_in_full() {
        let table = Canvas { width: None, colour: false }.draw(&answer());
        insta::assert_snapshot!(table, @r"
        SOURCE  STATE           AGE    MS  PROVIDER    DATA
        btc     fresh         0.8 s    84  coinbase    usd 97123.45
        clima   stale    17 min 0 s  1000  open-meteo  temperatura_c 21.3, dónde Buenos Aires 東京
            timeout since 2026-11-22T06:48:10.102Z: no answer within 1 s (waiting for headers)
        usd     missing               211
            http_status: HTTP 503 Service Unavailable

        2 of 3 ok, live at 2026-11-22T06:55:10.734Z
        Weather data by Open-Meteo.com
        ");
    }

    #[test]
    fn a_narrow_terminal_cuts_data_and_folds_errors() {
        let table = Canvas { width: Some(64), colour: false }.draw(&answer());
        insta::assert_snapshot!(table, @r"
        SOURCE  STATE           AGE    MS  PROVIDER    DATA
        btc     fresh         0.8 s    84  coinbase    usd 97123.45
        clima   stale    17 min 0 s  1000  open-meteo  temperatura_c 21…
            timeout since 2026-11-22T06:48:10.102Z: no answer within 1 s
            (waiting for headers)
        usd     missing               211
            http_status: HTTP 503 Service Unavailable

        2 of 3 ok, live at 2026-11-22T06:55:10.734Z
        Weather data by Open-Meteo.com
        ");
        assert!(table.lines().all(|line| line.width() <= 64), "{table}");
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let painted = Canvas { width: Some(64), colour: true }.draw(&answer());
        assert!(painted.contains("\u{1b}[33mstale\u{1b}[0m") && painted.contains("\u{1b}[31mmissing\u{1b}[0m"));
        let mut plain = painted;
        for code in ["0", "1", "2", "31", "32", "33"] {
            plain = plain.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(plain, Canvas { width: Some(64), colour: false }.draw(&answer()));
    }

    #[test]
    fn ages_have_two_units_at_most() {
        let spans = [0, 823, 9_999, 59_999, 1_020_834, 11_000_000, 200_000_000].map(span);
        assert_eq!(spans, ["0.0 s", "0.8 s", "9.9 s", "59 s", "17 min 0 s", "3 h 3 min", "2 d 7 h"]);
    }

    #[test]
    fn providers_do_not_drive_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\u{202e}c"), "a\\u{1b}[2Jb\\u{202e}c");
        assert_eq!(compact(&json!({"a": ["x"], "b": null, "c": "y\n"})), "a [\"x\"], b null, c y\\u{a}");
    }
}
