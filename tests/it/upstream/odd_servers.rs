//! Odd answers of servers, asked of curl, of Python's requests (from `PyPI`, in `target/requests`) and of `HttpFetch`: a body
//! that both others read is read here too, or a table in `docs/errors.md` has the answer with the reason. If a program is
//! missing, the test is skipped and prints a line.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use resumen::domain::{Failure, Redactor};
use resumen::fetch::{Fetch, HttpFetch};
use resumen::process::Clock;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use crate::support::default_provider_at;
use crate::support::fake_provider::FakeProvider;
use crate::support::markdown::{code_spans, markdown_sections};
use crate::support::requirements::{require, require_program};

/// The section of `docs/errors.md` with the answers that a source does not read.
const SECTION: &str = "Answers that other clients read";

/// Time limit of one request, in seconds. All servers respond at once.
const TIMEOUT_SECONDS: &str = "20";

/// Number of answers that the test must at least compare, so that it cannot pass because the others fail.
const MIN_COMPARED: usize = 40;

#[derive(Deserialize)]
struct AnswerFile {
    answer: Vec<OddAnswer>,
}

#[derive(Deserialize)]
struct OddAnswer {
    name: String,
    answer: Vec<String>,
}

/// A client's result: the decoded body, or why there is none.
type Reading = Result<Vec<u8>, String>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_answers_are_read_as_by_other_clients() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/requests/bin/python");
    let has_requests = require(
        "requests (`pip install requests`, into target/requests)",
        python.exists(),
    );
    if !require_program("curl") || !has_requests {
        return;
    }
    let text = std::fs::read_to_string(root.join("tests/corpus/odd/answers.toml")).unwrap();
    let answers = toml::from_str::<AnswerFile>(&text).unwrap().answer;
    let servers: Vec<FakeProvider> = answers
        .iter()
        .map(|odd| {
            let script: Vec<&str> = odd.answer.iter().map(String::as_str).collect();
            FakeProvider::with_script(&script)
        })
        .collect();
    let urls: Vec<String> = servers.iter().map(FakeProvider::url).collect();

    let script = root.join("tests/support/ask_requests.py");
    let all = urls.clone();
    let requests = spawn_blocking(move || ask_requests(&python, &script, &all));
    let mut readings = Vec::new();
    // One by one: many programs at once would delay the tests that measure time.
    for url in urls {
        let own = ask_source(&url).await;
        let curl = spawn_blocking(move || ask_curl(&url)).await.unwrap();
        readings.push((curl, own));
    }
    let requests = requests.await.unwrap();
    assert_eq!(requests.len(), answers.len());

    let explained = explained_answers();
    let mut compared = 0;
    let mut unexplained = Vec::new();
    let mut unread = BTreeMap::new();
    for (index, (curl, own)) in readings.into_iter().enumerate() {
        let name = &answers[index].name;
        if let Err(failure) = &own {
            unread.insert(name.clone(), failure.code.as_str().to_owned());
        }
        // What the others do not agree on is no standard to hold.
        let Some(body) = curl
            .ok()
            .filter(|body| requests[index].as_ref() == Ok(body))
        else {
            continue;
        };
        compared += 1;
        if own.as_ref().ok() != Some(&body) && !explained.contains_key(name) {
            unexplained.push(format!("{name}: {own:?}"));
        }
    }
    assert!(compared >= MIN_COMPARED, "only {compared} were compared");
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    let is_outdated = |(name, code): &(&String, &String)| unread.get(*name) != Some(code);
    let outdated: Vec<_> = explained.iter().filter(is_outdated).collect();
    assert!(
        outdated.is_empty(),
        "read, not asked, or with another code: {outdated:?}"
    );
}

/// The names in the table of `docs/errors.md`, with their codes.
fn explained_answers() -> BTreeMap<String, String> {
    let sections = markdown_sections("errors.md");
    let section = sections.iter().find(|section| section.heading == SECTION);
    let rows = section.expect("the section exists").table_rows();
    let entry = |row: Vec<String>| (row[0].clone(), code_spans(&row[1])[0].to_owned());
    rows.into_iter().map(entry).collect()
}

async fn ask_source(url: &str) -> Result<Vec<u8>, Failure> {
    let clock = Clock::start();
    let fetch = HttpFetch::new(clock, Redactor::default());
    let timeout = Duration::from_secs(TIMEOUT_SECONDS.parse().unwrap());
    let deadline = clock.deadline(timeout).into();
    let result = fetch.fetch(&default_provider_at(url), deadline).await;
    match result {
        Ok(payload) => Ok(payload.body.to_vec()),
        Err(error) => Err(error.failure),
    }
}

fn ask_curl(url: &str) -> Reading {
    let options = [
        "--disable",
        "--noproxy",
        "*",
        "--compressed",
        "--silent",
        "--max-time",
        TIMEOUT_SECONDS,
    ];
    let output = Command::new("curl")
        .args(options)
        .arg(url)
        .output()
        .unwrap();
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(output.status.to_string())
    }
}

/// Asks with one process, because the start of Python is slow.
fn ask_requests(python: &Path, script: &Path, urls: &[String]) -> Vec<Reading> {
    let output = Command::new(python)
        .arg(script)
        .arg(TIMEOUT_SECONDS)
        .args(urls)
        .env("NO_PROXY", "*")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| match line.split_once(' ') {
            Some(("body", digits)) => Ok(decode_hex(digits)),
            Some((_, error)) => Err(error.to_owned()),
            None => panic!("not a line of the script: {line}"),
        })
        .collect()
}

fn decode_hex(digits: &str) -> Vec<u8> {
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
