//! Two texts beside each other, as `check --live` shows what came and what was made of it.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use super::wrap::{escape_control, wrap_text};

/// Between the two.
const COLUMN_GAP: &str = " │ ";

/// Before each line.
const INDENT: &str = "  ";

/// The most lines of one text.
const MAX_COLUMN_LINES: usize = 24;

/// The least columns of one text; where there are fewer they stand below each other.
const MIN_COLUMN_WIDTH: usize = 30;

/// Two texts, each with its head, in `width` columns.
pub(crate) fn format_two_columns(left: [&str; 2], right: [&str; 2], width: usize) -> String {
    let room = width.saturating_sub(INDENT.len() + COLUMN_GAP.width()) / 2;
    if room < MIN_COLUMN_WIDTH {
        let room = width.saturating_sub(INDENT.len());
        return join_columns(
            &[column_lines(left, room), column_lines(right, room)].concat(),
            &[],
            0,
        );
    }
    join_columns(&column_lines(left, room), &column_lines(right, room), room)
}

fn join_columns(left: &[String], right: &[String], room: usize) -> String {
    let mut out = String::new();
    for at in 0..left.len().max(right.len()) {
        let [left, other] = [left, right].map(|side| side.get(at).map_or("", String::as_str));
        let gap = if right.is_empty() { "" } else { COLUMN_GAP };
        let pad = " ".repeat(room.saturating_sub(left.width()));
        let _ = writeln!(
            out,
            "{INDENT}{}",
            format!("{left}{pad}{gap}{other}").trim_end()
        );
    }
    out
}

/// The head and the first lines of a text, folded to `room`.
fn column_lines([head, text]: [&str; 2], room: usize) -> Vec<String> {
    let mut lines = vec![head.to_owned()];
    lines.extend(
        text.lines()
            .flat_map(|line| wrap_indented(line, room))
            .take(MAX_COLUMN_LINES + 1),
    );
    if lines.len() > MAX_COLUMN_LINES + 1 {
        lines.truncate(MAX_COLUMN_LINES);
        lines.push("… and more, which --format json shows".to_owned());
    }
    lines
}

/// One line, folded behind its own indent. No more of it than can be shown: it may be a megabyte long.
fn wrap_indented(line: &str, room: usize) -> Vec<String> {
    let line: String = line.chars().take(room * MAX_COLUMN_LINES).collect();
    let text = line.trim_start_matches(' ');
    let indent = " ".repeat((line.len() - text.len()).min(room / 2));
    wrap_text(&escape_control(text), room - indent.len())
        .into_iter()
        .map(|part| format!("{indent}{part}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &str = "{\n  \"data\": {\n    \"amount\": \"97123.45\",\n    \"wo\": \"東京東京東京東京東京東京東京東京\"\n  }\n}";
    const DATA: &str = "{\n  \"usd\": 97123.45\n}";

    #[test]
    fn texts_fill_two_columns() {
        let text = format_two_columns(["RAW", RAW], ["EXTRACTED", DATA], 68);
        insta::assert_snapshot!(text, @r#"
          RAW                             │ EXTRACTED
          {                               │ {
            "data": {                     │   "usd": 97123.45
              "amount": "97123.45",       │ }
              "wo":                       │
              "東京東京東京東京東京東京東 │
              京東京"                     │
            }                             │
          }                               │
        "#);
        assert!(text.lines().all(|line| line.width() <= 68), "{text}");
    }

    #[test]
    fn narrow_columns_are_stacked() {
        let long = "1\n".repeat(30);
        let text = format_two_columns(["RAW", &long], ["EXTRACTED", DATA], 40);
        assert!(
            text.contains("  1\n  … and more, which --format json shows\n  EXTRACTED\n  {\n"),
            "{text}"
        );
        assert_eq!(
            text.matches("  1\n").count(),
            MAX_COLUMN_LINES - 1,
            "{text}"
        );
        let flood = format_two_columns(["RAW", &"x".repeat(1 << 20)], ["FAILED", ""], 80);
        assert_eq!(flood.lines().count(), MAX_COLUMN_LINES + 1, "{flood}");
    }
}
