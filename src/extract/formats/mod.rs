//! Conversion of bodies into the values that filters see, one file a format.
//!
//! Nothing is fetched, and no entity of a document's own is expanded. Nothing bounds time and memory: only a worker
//! converts bodies of other formats than JSON.

mod charset;
mod csv;
mod format_flaw;
mod html;
mod json_lines;
mod prometheus;
#[cfg(test)]
mod tests;
mod text;
mod xml;

use bytes::Bytes;
use jaq_json::Val;

use self::format_flaw::FormatFlaw;
use super::body_kind::describe_other_format;
use super::error::ExtractError;
use super::json::{check_json, describe_position};
use super::raw_body::RawBody;
use super::reader::read_json;
use crate::domain::{BodyFormat, Code};
use crate::text::MAX_DEPTH;

pub use html::check_selector;

/// Decodes `body` to UTF-8 and converts it into the value that a filter sees.
///
/// # Errors
/// `empty_body`, `json_too_deep`, and `not_json` for JSON, `invalid_body` for the other formats.
pub(super) fn read_body(body: &RawBody) -> Result<Val, ExtractError> {
    let text = charset::decode_text(body)?;
    if body.format == BodyFormat::Json {
        check_json(&text)?;
        return Ok(read_json(&text));
    }
    if text.is_empty() {
        return Err(empty_body("the answer has no body"));
    }
    let is_blank = text.iter().all(u8::is_ascii_whitespace);
    if is_blank && body.format != BodyFormat::Text {
        return Err(empty_body("the body is nothing but white space"));
    }
    convert(&text, &body.format).map_err(|flaw| describe_flaw(&flaw, &body.format, &text))
}

/// Converts `bytes`, which have no byte order mark.
fn convert(bytes: &Bytes, format: &BodyFormat) -> Result<Val, FormatFlaw> {
    if let BodyFormat::Html { select } = format {
        // Browsers replace what is no character, and pages are written for browsers.
        return html::read_html(&String::from_utf8_lossy(bytes), select);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| FormatFlaw::invalid("a byte that is not UTF-8", error.valid_up_to()))?;
    match format {
        BodyFormat::Json | BodyFormat::Html { .. } => Ok(read_json(bytes)),
        BodyFormat::JsonLines => json_lines::read_json_lines(text, bytes),
        BodyFormat::Text => Ok(text::read_text(bytes)),
        BodyFormat::Csv(dialect) => csv::read_csv(text, *dialect),
        BodyFormat::Xml => xml::read_xml(text, bytes),
        BodyFormat::Prometheus => prometheus::read_samples(text),
    }
}

fn empty_body(message: &str) -> ExtractError {
    ExtractError::new(Code::EmptyBody, message)
}

/// Returns the failure of a body that is not of its format.
fn describe_flaw(flaw: &FormatFlaw, format: &BodyFormat, text: &[u8]) -> ExtractError {
    let name = match format {
        BodyFormat::Json => "JSON",
        BodyFormat::JsonLines => "JSON lines",
        BodyFormat::Text => "text",
        BodyFormat::Csv(_) => "CSV",
        BodyFormat::Xml => "XML",
        BodyFormat::Html { .. } => "HTML",
        BodyFormat::Prometheus => "a Prometheus exposition",
    };
    let position = |at: usize| describe_position(text, at);
    let (what, at) = match flaw {
        FormatFlaw::TooDeep { at } => {
            let at = position(*at);
            let what = format!("the body nests deeper than {MAX_DEPTH} levels at {at}");
            return ExtractError::new(Code::JsonTooDeep, what);
        }
        FormatFlaw::Invalid { what, at } => (what, at.map(position)),
    };
    let place = at.map(|at| format!(" at {at}")).unwrap_or_default();
    let other = describe_other_format(text, format.name());
    let other = other.map(|other| format!("{other}; ")).unwrap_or_default();
    let message = format!("{other}not {name}: {what}{place}; the body begins");
    ExtractError::with_quote(Code::InvalidBody, message, text)
}
