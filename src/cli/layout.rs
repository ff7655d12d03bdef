//! Layout of text for a terminal: tables without borders, wrapped and cut lines, by `comfy_table`.

use comfy_table::{ContentArrangement, Table, TableStyle};

use super::terminal::{Terminal, TextStyle};

/// Text for one terminal, built line by line.
pub(super) struct TerminalText {
    /// The terminal that the text is laid out for.
    pub(super) terminal: Terminal,
    /// The lines so far.
    pub(super) text: String,
}

impl TerminalText {
    /// Returns an empty text.
    pub(super) fn new(terminal: Terminal) -> Self {
        Self {
            terminal,
            text: String::new(),
        }
    }

    /// Appends a line as it is.
    pub(super) fn push_line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Appends `text` in this style, wrapped behind `indent` spaces; nothing if it is empty.
    pub(super) fn push_wrapped(&mut self, style: TextStyle, indent: u16, text: &str) {
        for line in wrap_lines(text, indent, self.terminal.width) {
            self.push_line(&self.terminal.apply_style(style, &line));
        }
    }
}

/// Returns an empty table without borders. Columns are as wide as their content and two spaces apart.
pub(super) fn borderless_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Returns `text` wrapped between words, in lines of at most `width` columns that each begin with `indent` spaces.
pub(super) fn wrap_lines(text: &str, indent: u16, width: Option<u16>) -> Vec<String> {
    let table = single_cell(text, indent, width);
    table.trim_fmt().lines().map(str::to_owned).collect()
}

/// Returns `text` behind `indent` spaces, cut to `width` columns with `…` at the end.
pub(super) fn truncate_line(text: &str, indent: u16, width: Option<u16>) -> String {
    let mut table = single_cell(text, indent, width);
    // A delimiter that occurs nowhere: the text is cut at the last column instead of after a word.
    table.set_delimiter('\0');
    if let Some(row) = table.row_mut(0) {
        row.max_height(1);
    }
    table.trim_fmt()
}

fn single_cell(text: &str, indent: u16, width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).add_row([text]);
    if let Some(width) = width {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
    }
    if let Some(column) = table.column_mut(0) {
        column.set_padding((indent, 0));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_wraps_between_words() {
        let wrap = |text, width| wrap_lines(text, 0, Some(width));
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a 東京東京 b", 5), ["a 東", "京東", "京 b"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("東東", 1), ["東", "東"]);
        assert!(wrap("", 3).is_empty());
        assert_eq!(wrap_lines("one two", 2, Some(6)), ["  one", "  two"]);
        assert_eq!(wrap_lines("one two", 2, None), ["  one two"]);
    }

    #[test]
    fn cut_text_ends_in_ellipsis() {
        let cut = |text, width| truncate_line(text, 0, Some(width));
        assert_eq!(
            (cut("東京東", 4), cut("東京", 4)),
            ("東…".into(), "東京".into())
        );
        assert_eq!(cut("one two three", 9), "one two …");
    }
}
