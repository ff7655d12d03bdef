//! CSV (RFC 4180): an array of objects by the header line, or of arrays.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;

use bytes::Bytes;
use csv::{ByteRecord, ReaderBuilder};
use jaq_json::{Map, Val};

use super::super::body_kind::describe_other_format;
use super::format_flaw::FormatFlaw;
use crate::domain::CsvDialect;

/// The most columns of a table. Each row of a wide table has an object with as many names.
const MAX_COLUMNS: usize = 10_000;

/// A row that is put behind the text. If a quotation mark of the text is not closed, the row becomes a part of its last
/// field: the parser itself accepts that.
const LAST_ROW: &[u8] = b"\n\x01end";

/// Reads the rows. Fields are texts. Blank lines are ignored; a line may end with LF, CRLF or CR.
pub(super) fn read_csv(text: &str, dialect: CsvDialect) -> Result<Val, FormatFlaw> {
    // Almost any text is some CSV, so that a page or a document is recognised by its start.
    if text.trim_start().starts_with(['<', '{', '['])
        && let Some(other) = describe_other_format(text.as_bytes(), "csv")
        && ["XML", "HTML", "JSON"]
            .iter()
            .any(|name| other.contains(name))
    {
        return Err(FormatFlaw::of_whole("no table"));
    }
    let mut reader = ReaderBuilder::new()
        .delimiter(dialect.delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes().chain(LAST_ROW));
    let mut row = ByteRecord::new();
    let mut names: Option<Vec<Val>> = None;
    let mut rows = Vec::new();
    loop {
        let is_row = reader.read_byte_record(&mut row);
        if !is_row.map_err(|error| FormatFlaw::of_whole(error.to_string()))? {
            return Err(FormatFlaw::of_whole("a quotation mark is not closed"));
        }
        let is_at_end = reader.position().byte() as usize == text.len() + LAST_ROW.len();
        if is_at_end && row.len() == 1 && row[0] == LAST_ROW[1..] {
            return Ok(rows.into_iter().collect());
        }
        let at = || {
            row.position()
                .map_or(0, |position| position.byte() as usize)
                .min(text.len())
        };
        if row.len() > MAX_COLUMNS {
            let what = format!("a row of more than {MAX_COLUMNS} fields");
            return Err(FormatFlaw::invalid(what, at()));
        }
        let fields = row
            .iter()
            .map(|field| Val::utf8_str(Bytes::copy_from_slice(field)));
        let Some(names) = &names else {
            if dialect.has_header {
                names = Some(column_names(&row));
            } else {
                rows.push(fields.collect());
            }
            continue;
        };
        if row.len() > names.len() {
            let (columns, found) = (names.len(), row.len());
            let what = format!("a row of {found} fields below a header of {columns}");
            return Err(FormatFlaw::invalid(what, at()));
        }
        let padded = fields.chain(std::iter::repeat(Val::Null));
        let members: Map = names.iter().cloned().zip(padded).collect();
        rows.push(Val::obj(members));
    }
}

/// Returns a unique name for each column: an empty one is `column3`, a repeated one `name_2`.
fn column_names(header: &ByteRecord) -> Vec<Val> {
    let mut used: HashSet<String> = HashSet::new();
    let mut repetitions: HashMap<String, usize> = HashMap::new();
    let names = header.iter().enumerate().map(|(index, field)| {
        let mut plain = String::from_utf8_lossy(field).into_owned();
        if plain.trim().is_empty() {
            plain = format!("column{}", index + 1);
        }
        let mut name = plain.clone();
        while used.contains(&name) {
            let count = repetitions.entry(plain.clone()).or_insert(1);
            *count += 1;
            name = format!("{plain}_{count}");
        }
        used.insert(name.clone());
        Val::utf8_str(name)
    });
    names.collect()
}
