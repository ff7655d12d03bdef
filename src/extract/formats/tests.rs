//! Rules of each format. `tests/corpus/formats` has whole bodies.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::evaluate::evaluate_body;
use super::super::raw_body::RawBody;
use crate::domain::{BodyFormat, Code, CsvDialect, Failure, Redactor};

fn convert_with(
    format: BodyFormat,
    charset: Option<&str>,
    body: impl Into<Bytes>,
) -> Result<String, Failure> {
    let body = RawBody {
        bytes: body.into(),
        format,
        charset: charset.map(Into::into),
    };
    evaluate_body(".", &body).map_err(|error| error.into_failure(&Redactor::default()))
}

fn converted(format: BodyFormat, body: &str) -> String {
    convert_with(format, None, body.to_owned()).unwrap_or_else(|failure| panic!("{failure}"))
}

fn refused(format: BodyFormat, body: &str) -> String {
    let failure = convert_with(format, None, body.to_owned()).expect_err(body);
    assert_eq!(failure.code, Code::InvalidBody, "{failure}");
    failure.message.to_string()
}

fn html(select: &str) -> BodyFormat {
    BodyFormat::Html {
        select: select.into(),
    }
}

#[test]
fn text_loses_one_line_ending() {
    for (body, text) in [
        ("a", "a"),
        ("a\n", "a"),
        ("a\r\n", "a"),
        ("a\n\n", "a\n"),
        ("a\r", "a\r"),
        ("\n", ""),
    ] {
        let expected = serde_json::to_string(text).unwrap();
        assert_eq!(converted(BodyFormat::Text, body), expected);
    }
}

#[test]
fn json_lines_give_documents() {
    assert_eq!(
        converted(BodyFormat::JsonLines, "1.10\r\n\r\n{\"a\":[]}\n"),
        "[1.10,{\"a\":[]}]"
    );
    let message = refused(BodyFormat::JsonLines, "1\n[1,]\n");
    assert!(
        message.starts_with(
            "not JSON lines: a comma before a closing bracket, at line 2, column 4; the body begins: 1"
        ),
        "{message}"
    );
}

#[test]
fn csv_names_columns() {
    let csv = |body| converted(BodyFormat::Csv(CsvDialect::default()), body);
    assert_eq!(csv("n,,n\n1\n"), r#"[{"n":"1","column2":null,"n_2":null}]"#);
    assert_eq!(csv("\"a\"\n\"x\"\"\n\"\n"), r#"[{"a":"x\"\n"}]"#);
}

#[test]
fn csv_without_header_keeps_rows() {
    let dialect = CsvDialect {
        delimiter: b';',
        has_header: false,
    };
    assert_eq!(
        converted(BodyFormat::Csv(dialect), "1;2\n3"),
        r#"[["1","2"],["3"]]"#
    );
}

#[test]
fn unclosed_quotation_mark_is_refused() {
    for body in ["\"", "a,b\n1,\"x\n", "a\n\"\"\"", "a\n\"x\"\"\n"] {
        let message = refused(BodyFormat::Csv(CsvDialect::default()), body);
        assert!(
            message.contains("a quotation mark is not closed"),
            "{message}"
        );
    }
}

#[test]
fn xml_follows_the_table() {
    let body = "<a:r x='1'>t<b/><b>2</b><c><![CDATA[<]]></c></a:r>";
    assert_eq!(
        converted(BodyFormat::Xml, body),
        r##"{"a:r":{"@x":"1","b":["","2"],"c":"<","#text":"t"}}"##
    );
}

#[test]
fn xml_expands_no_entity() {
    for body in [
        "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        "<a>&b;</a>",
        "<a b='&c;'/>",
        "<a>&#xD800;</a>",
        "<a>&#x110000;</a>",
    ] {
        refused(BodyFormat::Xml, body);
    }
}

#[test]
fn html_match_has_text_and_attributes() {
    assert_eq!(
        converted(html("p > b"), "<p><b id=x> 1\n <i>2</i></b>"),
        r#"[{"text":"1 2","html":" 1\n <i>2</i>","id":"x"}]"#
    );
}

#[test]
fn bad_selectors_are_told() {
    for select in ["", "p >", "a[", "p::before", ":no-such", "1p", "//p"] {
        let error = super::check_selector(select).expect_err(select);
        assert!(!error.is_empty() && !error.contains('\n'), "{error}");
    }
    for select in ["p", "#a .b > c, d + e ~ f", "li:nth-child(2n+1):not(.x)"] {
        assert_eq!(super::check_selector(select), Ok(()));
    }
}

#[test]
fn prometheus_keeps_digits() {
    assert_eq!(
        converted(BodyFormat::Prometheus, "a{b=\"c\"} 1.50 7\nd NaN\n"),
        r#"[{"name":"a","labels":{"b":"c"},"value":1.50,"timestamp":7},{"name":"d","labels":{},"value":"NaN","timestamp":null}]"#
    );
}

#[test]
fn one_byte_order_mark_is_skipped() {
    assert_eq!(converted(BodyFormat::Json, "\u{feff}[1]"), "[1]");
    let failure = convert_with(BodyFormat::Json, None, "\u{feff}\u{feff}[1]").unwrap_err();
    assert_eq!(failure.code, Code::NotJson);
    let failure = convert_with(BodyFormat::Json, None, "\u{feff} ").unwrap_err();
    assert_eq!(failure.code, Code::EmptyBody);
}

#[test]
fn charsets_have_their_order() {
    let text = |charset, body: &'static [u8]| {
        convert_with(BodyFormat::Text, charset, Bytes::from_static(body)).unwrap()
    };
    assert_eq!(text(Some("iso-8859-15"), b"\xa4"), "\"€\"");
    assert_eq!(text(Some("iso-8859-15"), "\u{feff}ñ".as_bytes()), "\"ñ\"");
    assert_eq!(text(Some("no-such"), "ñ".as_bytes()), "\"ñ\"");
    assert_eq!(text(None, b"\xff\xfea\0"), "\"a\"");
    let failure = convert_with(BodyFormat::Text, Some("shift_jis"), &b"\x81"[..]).unwrap_err();
    assert_eq!(failure.code, Code::InvalidBody);
}

#[test]
fn another_format_is_named() {
    let message = refused(BodyFormat::Prometheus, "<?xml version='1.0'?><a/>");
    assert!(
        message.starts_with("the body is XML: set format = \"xml\"; not a Prometheus exposition: "),
        "{message}"
    );
    let message = refused(BodyFormat::Xml, "[1]");
    assert!(message.starts_with("the body is JSON: set format = \"json\"; not XML: "));
    assert!(refused(BodyFormat::Xml, "<a>").starts_with("not XML: "));
}

proptest! {
    #[test]
    fn csv_round_trips(rows in proptest::collection::vec(
        proptest::collection::vec("[a-c\", \n\r;ñ]{0,6}", 2..4), 1..6)
    ) {
        let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let body = writer.into_inner().unwrap();
        let dialect = CsvDialect { delimiter: b',', has_header: false };
        let text = convert_with(BodyFormat::Csv(dialect), None, body).unwrap();
        let read: Vec<Vec<String>> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read, rows);
    }

    #[test]
    fn xml_text_round_trips(text in "[ -~ñ東]{0,20}") {
        let body = format!("<a>{}</a>", quick_xml::escape::escape(text.as_str()));
        let read: serde_json::Value = serde_json::from_str(&converted(BodyFormat::Xml, &body)).unwrap();
        prop_assert_eq!(read["a"].as_str().unwrap(), text.trim());
    }

    #[test]
    fn conversion_never_panics(bytes: Vec<u8>, text in "[a{}\"=,# \n0-9.<>/!&;\\[\\]?-]{0,40}") {
        let formats = [
            BodyFormat::JsonLines,
            BodyFormat::Text,
            BodyFormat::Csv(CsvDialect::default()),
            BodyFormat::Xml,
            html("*"),
            BodyFormat::Prometheus,
        ];
        for format in formats {
            for body in [&bytes[..], text.as_bytes()] {
                let _ = convert_with(format.clone(), None, body.to_vec());
            }
        }
    }
}
