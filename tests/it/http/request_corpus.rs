//! Requests as raw bytes with their expected responses, one file each in `tests/corpus/requests`.
//!
//! A file begins with a description and the expectation:
//! `expect:` the statuses in order, then `open` or `close` for the connection afterwards; `code:` of the
//! last problem; `method:` if it is not GET. After a line `---` follow the bytes: line ends of the file
//! are ignored, `\r \n \t \0 \\` and `\xHH` are escapes as in Rust, and `\{TEXT*N}` is TEXT N times.

use std::fs;
use std::path::Path;

use crate::http::server_with_readings;
use crate::support::raw_client::RawHttpClient;

/// The case of one file.
#[derive(Debug)]
pub struct CorpusCase {
    /// The expected statuses.
    pub statuses: Vec<u16>,
    /// Whether the server then closes the connection.
    pub closes: bool,
    /// The code of the last problem.
    pub code: Option<String>,
    pub method: String,
    /// The bytes to send.
    pub bytes: Vec<u8>,
}

/// All cases by file name.
pub fn load_cases() -> Vec<(String, CorpusCase)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/requests");
    let read = |path: &Path| {
        (
            path.file_name().unwrap().display().to_string(),
            parse_case(&fs::read_to_string(path).unwrap()),
        )
    };
    let mut cases: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| read(&file.unwrap().path()))
        .collect();
    cases.sort_by(|(a, _), (b, _)| a.cmp(b));
    cases
}

fn parse_case(text: &str) -> CorpusCase {
    let (head, raw) = text.split_once("\n---\n").expect("a line `---`");
    let value = |key: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(key))
            .map(|value| value.trim().to_owned())
    };
    let expect = value("expect:").expect("a line `expect:`");
    let parts: Vec<&str> = expect.split(' ').collect();
    let (last, statuses) = parts.split_last().unwrap();
    assert!(["open", "close"].contains(last), "{expect}");
    CorpusCase {
        statuses: statuses.iter().map(|word| word.parse().unwrap()).collect(),
        closes: *last == "close",
        code: value("code:"),
        method: value("method:").unwrap_or_else(|| "GET".into()),
        bytes: unescape(raw),
    }
}

fn unescape(raw: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = raw;
    while let Some(char) = rest.chars().next() {
        rest = &rest[char.len_utf8()..];
        match char {
            '\n' => {}
            '\\' => rest = escape(rest, &mut bytes),
            other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// Reads one escape after its backslash; returns the text after it.
fn escape<'r>(rest: &'r str, bytes: &mut Vec<u8>) -> &'r str {
    let simple = [
        ('r', b'\r'),
        ('n', b'\n'),
        ('t', b'\t'),
        ('0', 0),
        ('\\', b'\\'),
    ];
    let char = rest.chars().next().expect("something after a backslash");
    if let Some((_, byte)) = simple.iter().find(|(letter, _)| *letter == char) {
        bytes.push(*byte);
        return &rest[1..];
    }
    if char == 'x' {
        bytes.push(u8::from_str_radix(&rest[1..3], 16).unwrap());
        return &rest[3..];
    }
    let (inside, rest) = rest
        .strip_prefix('{')
        .and_then(|rest| rest.split_once('}'))
        .expect("\\{TEXT*N}");
    let (text, times) = inside.rsplit_once('*').unwrap();
    bytes.extend_from_slice(&unescape(text).repeat(times.parse().unwrap()));
    rest
}

fn run_case(case: &CorpusCase, client: &mut RawHttpClient) -> Result<(), String> {
    client.send(&case.bytes);
    let responses = if case.closes {
        client.read_responses_to_end(&case.method)
    } else {
        case.statuses
            .iter()
            .map(|_| client.read_response(&case.method))
            .collect()
    };
    let statuses: Vec<u16> = responses.iter().map(|response| response.status).collect();
    if statuses != case.statuses {
        return Err(format!(
            "statuses {statuses:?}, expected {:?}",
            case.statuses
        ));
    }
    if let Some(code) = &case.code {
        let body = responses.last().unwrap().json();
        if body["code"] != **code {
            return Err(format!("code {}, expected {code}", body["code"]));
        }
    }
    for response in responses
        .iter()
        .filter(|response| response.status >= 400 && !response.body.is_empty())
    {
        let kind = response.header("content-type");
        if kind != Some("application/problem+json")
            || response.header("cache-control") != Some("no-store")
        {
            return Err(format!("not a problem: {response:?}"));
        }
    }
    let is_served = case.closes || client.get("/salud/listo").text() == r#"{"status":"ok"}"#;
    if is_served {
        Ok(())
    } else {
        Err("the connection does not serve the next request".into())
    }
}

#[test]
fn corpus_requests_get_expected_status() {
    let server = server_with_readings();
    let mut differences = Vec::new();
    let cases = load_cases();
    for (name, case) in &cases {
        let mut client = server.connect_client();
        let result =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run_case(case, &mut client)));
        let result =
            result.unwrap_or_else(|panic| Err(format!("{:?}", panic.downcast_ref::<String>())));
        if let Err(error) = result {
            differences.push(format!("{name}: {error}"));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {}:\n{}",
        differences.len(),
        cases.len(),
        differences.join("\n")
    );
    assert!(cases.len() > 150, "{}", cases.len());
}
