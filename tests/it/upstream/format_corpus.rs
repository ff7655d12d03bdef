//! Bodies of every format, good, odd and hostile, through real filter workers: `tests/corpus/formats` has the exact data or
//! the code of each.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use resumen::domain::{BodyFormat, CsvDialect, Name};
use resumen::extract::{Extractor, Filter, RawBody};
use resumen::process::Clock;
use serde::Deserialize;

use crate::support::scripted_fetch::{test_extractor, test_name};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CorpusFile {
    case: Vec<FormatCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FormatCase {
    name: String,
    /// Default: the name of the file.
    format: Option<String>,
    #[serde(default = "comma")]
    delimiter: char,
    #[serde(default = "yes")]
    header: bool,
    select: Option<String>,
    /// The charset that `Content-Type` names.
    charset: Option<String>,
    /// The body, `\xHH` for a byte and `\n`, `\r`, `\t`, `\\`; or parts, of which a number repeats the one behind it.
    body: BodyText,
    #[serde(default = "identity")]
    filter: String,
    /// The result, byte for byte.
    data: Option<String>,
    /// The code, if there is no result.
    code: Option<String>,
    /// Parts of the message.
    #[serde(default)]
    says: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum BodyText {
    Text(String),
    Parts(Vec<BodyPart>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum BodyPart {
    Text(String),
    Repetition(usize),
}

fn comma() -> char {
    ','
}

fn yes() -> bool {
    true
}

fn identity() -> String {
    ".".to_owned()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        let (byte, length) = match behind.as_bytes() {
            [b'x', ..] => (u8::from_str_radix(&behind[1..3], 16).unwrap(), 3),
            [b'n', ..] => (b'\n', 1),
            [b'r', ..] => (b'\r', 1),
            [b't', ..] => (b'\t', 1),
            [b'\\', ..] => (b'\\', 1),
            _ => panic!("no escape: {behind}"),
        };
        bytes.push(byte);
        rest = &behind[length..];
    }
    bytes.extend(rest.as_bytes());
    bytes
}

fn body_bytes(body: &BodyText) -> Bytes {
    match body {
        BodyText::Text(text) => unescape(text).into(),
        BodyText::Parts(parts) => {
            let (mut bytes, mut times) = (Vec::new(), 1);
            for part in parts {
                match part {
                    BodyPart::Repetition(count) => times = *count,
                    BodyPart::Text(text) => {
                        bytes.extend(unescape(text).repeat(times));
                        times = 1;
                    }
                }
            }
            bytes.into()
        }
    }
}

impl FormatCase {
    fn raw_body(&self, file: &str) -> RawBody {
        let select = || self.select.as_deref().expect("select").into();
        let format = match self.format.as_deref().unwrap_or(file) {
            "json" => BodyFormat::Json,
            "jsonl" => BodyFormat::JsonLines,
            "text" => BodyFormat::Text,
            "csv" => BodyFormat::Csv(CsvDialect {
                delimiter: self.delimiter as u8,
                has_header: self.header,
            }),
            "xml" => BodyFormat::Xml,
            "html" => BodyFormat::Html { select: select() },
            "prometheus" => BodyFormat::Prometheus,
            other => panic!("no format: {other}"),
        };
        RawBody {
            bytes: body_bytes(&self.body),
            format,
            charset: self.charset.as_deref().map(Into::into),
        }
    }

    /// Returns how the result differs from the documented one.
    async fn check(&self, file: &str, extractor: &Extractor, source: &Name) -> Option<String> {
        let filter = Filter::compile(&self.filter).unwrap();
        let deadline = Clock::start().deadline(Duration::from_secs(60));
        let body = self.raw_body(file);
        let result = extractor
            .extract_body(source, &filter, &body, deadline)
            .await;
        let differs = match (&result, &self.data, &self.code) {
            (Ok(data), Some(expected), None) => data.as_json() != expected,
            (Err(failure), None, Some(code)) => {
                let says = |part: &String| failure.message.contains(part.as_str());
                failure.code.as_str() != code || !self.says.iter().all(says)
            }
            _ => true,
        };
        let shown = match result {
            Ok(data) => data.as_json().chars().take(400).collect(),
            Err(failure) => format!("{}: {}", failure.code, failure.message),
        };
        differs.then(|| format!("{file}: {}: {shown}", self.name))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corpus_bodies_give_documented_results() {
    let (extractor, source) = (test_extractor(), test_name("a"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/formats");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let cases: CorpusFile = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
        for case in cases.case {
            count += 1;
            wrong.extend(case.check(&file, &extractor, &source).await);
        }
    }
    assert!(count > 120, "{count} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
