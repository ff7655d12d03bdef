//! Bodies of every format but JSON: the conversion never panics, its result is JSON of the documented form, and a failure has
//! one of its codes.

use std::sync::LazyLock;

use bytes::Bytes;
use resumen::domain::{BodyFormat, Code, CsvDialect, Redactor};
use resumen::extract::{Extractor, RawBody};
use serde_json::Value;

static EXTRACTOR: LazyLock<Extractor> =
    LazyLock::new(|| Extractor::new("no-worker".into(), Redactor::default()));

/// Converts `body` and returns what a filter sees, if the body is of the format.
fn convert(format: BodyFormat, body: &[u8]) -> Option<Value> {
    if body.len() > 16 << 10 {
        return None;
    }
    let body = RawBody {
        bytes: Bytes::copy_from_slice(body),
        format,
        charset: None,
    };
    match EXTRACTOR.convert_in_place(&body) {
        Ok(data) => {
            assert!(!data.as_json().contains(['\n', '\r']));
            Some(serde_json::from_str(data.as_json()).expect("JSON"))
        }
        Err(failure) => {
            let codes = [
                Code::InvalidBody,
                Code::EmptyBody,
                Code::JsonTooDeep,
                Code::ExtractFailed,
            ];
            assert!(codes.contains(&failure.code), "{failure}");
            assert!(!failure.message.contains(['\n', '\r']));
            None
        }
    }
}

fn rows(value: Option<Value>) -> Vec<Value> {
    match value {
        None => Vec::new(),
        Some(Value::Array(rows)) => rows,
        Some(other) => panic!("no array: {other}"),
    }
}

/// Each document is that of its line, by `serde_json`.
pub fn check_jsonl(body: &[u8]) {
    let documents = rows(convert(BodyFormat::JsonLines, body));
    if documents.is_empty() || body.starts_with(&[0xff]) || body.starts_with(&[0xfe]) {
        return;
    }
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let lines = body.split(|byte| *byte == b'\n');
    let lines: Vec<&[u8]> = lines.filter(|line| !line.trim_ascii().is_empty()).collect();
    assert_eq!(documents.len(), lines.len());
    for (document, line) in documents.iter().zip(lines) {
        // serde_json rejects a lone surrogate, which the grammar allows.
        if let Ok(expected) = serde_json::from_slice::<Value>(line) {
            assert_eq!(*document, expected);
        }
    }
}

/// A string, at most one line ending shorter than the body.
pub fn check_text(body: &[u8]) {
    let Some(text) = convert(BodyFormat::Text, body) else {
        return;
    };
    let text = text.as_str().expect("a string");
    if let Ok(body) = std::str::from_utf8(body) {
        let body = body.strip_prefix('\u{feff}').unwrap_or(body);
        assert!(body.starts_with(text) && body.len() - text.len() <= 2);
    }
}

/// All rows have the columns of the header; without a header, the first row has the names of those.
pub fn check_csv(body: &[u8]) {
    let dialect = CsvDialect::default();
    let objects = rows(convert(BodyFormat::Csv(dialect), body));
    let arrays = rows(convert(
        BodyFormat::Csv(CsvDialect {
            has_header: false,
            ..dialect
        }),
        body,
    ));
    let Some(first) = objects.first().and_then(Value::as_object) else {
        return;
    };
    assert_eq!(arrays.len(), objects.len() + 1);
    assert_eq!(arrays[0].as_array().map(Vec::len), Some(first.len()));
    for (object, array) in objects.iter().zip(&arrays[1..]) {
        let object = object.as_object().expect("an object");
        assert!(object.keys().eq(first.keys()));
        let fields = object.values().filter(|field| !field.is_null());
        assert!(fields.eq(array.as_array().expect("an array")));
    }
}

/// One root, and members of the documented forms.
pub fn check_xml(body: &[u8]) {
    fn check_element(value: &Value) {
        match value {
            Value::String(_) => {}
            Value::Object(members) => {
                assert!(!members.is_empty());
                for (name, member) in members {
                    match member {
                        Value::Array(items) => {
                            assert!(items.len() > 1);
                            items.iter().for_each(check_element);
                        }
                        _ if name.starts_with(['@', '#']) => assert!(member.is_string()),
                        member => check_element(member),
                    }
                }
            }
            other => panic!("no element: {other}"),
        }
    }
    if let Some(document) = convert(BodyFormat::Xml, body) {
        let members = document.as_object().expect("an object");
        assert_eq!(members.len(), 1);
        members.values().for_each(check_element);
    }
}

/// Every match has its text, collapsed, and its HTML.
pub fn check_html(body: &[u8]) {
    let format = BodyFormat::Html {
        select: "p, a[href], td:nth-child(2n)".into(),
    };
    for found in rows(convert(format, body)) {
        let text = found["text"].as_str().expect("a text");
        assert_eq!(text.split_whitespace().collect::<Vec<_>>().join(" "), text);
        assert!(found["html"].is_string());
    }
}

/// Samples have four members, and numbers or the three texts as values.
pub fn check_prometheus(body: &[u8]) {
    for sample in rows(convert(BodyFormat::Prometheus, body)) {
        let members = sample.as_object().expect("an object");
        assert!(members.keys().eq(["name", "labels", "value", "timestamp"]));
        assert!(sample["name"].as_str().is_some_and(|name| !name.is_empty()));
        let labels = sample["labels"].as_object().expect("an object");
        assert!(labels.values().all(Value::is_string));
        let value = &sample["value"];
        let is_text = ["NaN", "+Inf", "-Inf"].iter().any(|text| value == text);
        assert!(value.is_number() || is_text, "{sample}");
        let timestamp = &sample["timestamp"];
        assert!(timestamp.is_number() || timestamp.is_null());
    }
}
