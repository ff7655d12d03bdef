//! Hundreds of hostile filters and bodies against one service in a memory limit of 128 MiB, as in the
//! compose file: each ends with its code, the service lives, and other sources stay fresh.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use resumen::process::Clock;
use rustix::process::Signal;
use serde_json::Value;

use super::filter_processes::workers_of;
use crate::support::child_process::TestProcess;
use crate::support::fake_provider::FakeProvider;
use crate::support::memory_group::MemoryGroup;
use crate::support::process_usage::measure_usage;
use crate::support::service_process::{ServiceFolder, ServiceProcess, listening_url};

/// Filters that end with a failure whatever they stand in: they never end, exhaust memory or overflow
/// the stack.
const BOMBS: &[&str] = &[
    "def f: f; f",
    "last(repeat(.))",
    "last(range(0; 1e18; 0.5))",
    "reduce range(1e12) as $i (0; . + 1)",
    "last(foreach range(1e12) as $i (0; . + $i))",
    "[1,1] | map(reduce range(60) as $i (.; [., .])) | .[0] == .[1]",
    "reduce range(60) as $i (1; [., .]) | tojson | length",
    "reduce range(60) as $i (1; [., .]) | flatten | length",
    "reduce range(60) as $i (1; [., .]) | [..] | length",
    "(\"9\" * 1000000) as $x | last(range(1e9) | $x | tonumber)",
    "\"a\" * 60000 | last(range(1e9) as $i | test(\"(a*)*b\"))",
    "until(false; . )",
    "last(while(true; .))",
    "def f: 1 + f; f",
    "def f: [f]; f",
    "def f: {a: f}; f",
    "def f(x): f(x + 1) + 1; f(1)",
    "def f: def g: f + 1; g + 1; f",
    "[range(1e9)]",
    "\"a\" * 1000000000",
    "[limit(1e8; repeat(.))]",
    "[combinations(30)]",
    "[[range(1e4)] | combinations(3)] | length",
    "last(recurse(., .))",
    "[recurse(., .)]",
    "reduce range(1e9) as $i (.; [., .])",
    "reduce range(1e9) as $i (\"\"; . + \"abcdefgh\")",
    "[range(1e9) | tostring] | join(\",\")",
    "[range(1e9)] | sort | group_by(. % 2)",
    "{} | .[range(1e9) | tostring] = 1",
];

/// What a bomb stands in; `@` is the bomb.
const FRAMES: &[&str] = &[
    "@",
    "try (@) catch 1",
    "[@]",
    "{a: (@)}",
    "first((@), 1) | [.]",
    "def g: @; [g, g]",
    "(@)? // 1",
    "if (@) then 1 else 2 end",
];

/// Filters that end by themselves, with data or a failure.
const ODDITIES: &[&str] = &[
    "..",
    ".. | ..",
    "[..] | length",
    "error(\"boo\")",
    "error(null)",
    "error({a: [1]})",
    "null",
    "empty",
    "1, 2",
    "{a: null}",
    "nan",
    "infinite",
    "-infinite",
    "[nan]",
    "1e400",
    "1 / 0",
    "1 % 0",
    "[] | first",
    "\"x\" | tonumber",
    "\"[1,\" | fromjson",
    "\"NaN\" | fromjson",
    "(\"[\" * 1000000) | fromjson",
    "try ((\"[\" * 1000000) | fromjson) catch 1",
    "(\"{\\\"a\\\":\" * 100000) | fromjson",
    "reduce range(64) as $i (1; [.])",
    "reduce range(65) as $i (1; [.])",
    "reduce range(10000) as $i (1; [.])",
    "reduce range(1000000) as $i (1; [.]) | length",
    "(\"9\" * 1000000) | tonumber",
    "pow(2; 100000)",
    "[limit(10; repeat(1))]",
    "[label $out | foreach range(1e9) as $x (0; . + 1; if . > 3 then ., break $out else . end)]",
    "[limit(3; range(1e12))]",
    "first(range(1e12))",
    "\"a\" * 100000 | test(\"(a*)*b\")",
    "\"a\" * 100000 | gsub(\"a\"; \"bb\") | length",
    "(\",\" * 100000) | [splits(\",\")] | length",
    "(\",\" * 100000) / \",\" | length",
    "\"x\" | test(\"a{1000}{1000}{1000}\")",
    "\"x\" | test(\"(\")",
    "\"\" | gsub(\"\"; \"a\")",
    "\"2026-01-01\" | strptime(\"%Y\")",
    "[2026, 127, 1, 0, 0, 0, 0, 0] | mktime",
    "1e18 | todate",
    "-1e18 | strftime(\"%Y\")",
    "@sh",
    "@base64d",
    "\"%%%\" | @base64d",
    "\"=\" | @base64d",
    "[[1]] | @csv",
    "getpath([\"a\", 0, \"b\"])",
    "getpath([range(100000)])",
    "setpath([100000000]; 1)",
    "setpath([-1]; 1)",
    "[] | .[1000000000] = 1",
    "[] | .[1e18] = 1",
    ".[-1] = 1",
    "delpaths([[0], [1]])",
    "del(.[])",
    "to_entries",
    "[paths] | length",
    "[leaf_paths] | length",
    "tostream",
    "[tostream] | fromstream(.[])",
    "fromstream(1 | truncate_stream([[0], 1], [[1, 0], 2]))",
    "limit(-1; 1)",
    "[range(10000)] | permutations",
    "[range(9)] | [combinations(2)] | length",
    "[range(100000)] | sort_by(-.) | first",
    "[range(100000)] | unique | length",
    "[range(100000)] | min_by(tostring)",
    "[range(1000)] | map([range(1000)] | add) | add",
    "[range(100000) | {(tostring): 1}] | add | length",
    "[range(300000)] | length",
    "reduce range(100000) as $i (\"\"; . + \"x\") | length",
    "def f: if . > 100000 then . else . + 1 | f end; 0 | f",
    "def f: if . > 10000 then . else (. + 1 | f) + 1 end; 0 | f",
    "[splits(\"a\")]",
    "ltrimstr(1)",
    "ascii",
    "implode",
    "[1114112] | implode",
    "[-1] | implode",
    "[55296] | implode",
    "explode",
    "(\"é\" * 100000) | explode | implode | length",
    "tojson | fromjson",
    "[.[]?]",
    ".a.b.c.d.e.f",
    ".[\"a\"][0][\"b\"]",
    "\"\\u0000\"",
    "\"\\(1; 2)\"",
    "\"\\(range(10))\"",
    "{(range(3) | tostring): 1}",
    "[.] | inside([1])",
    "input_line_number",
    "splits(1)",
    "ltrimstr(\"\" * 0)",
    "@json \"x\\([range(1000)])\"",
    "@text, @json",
    "[getpath([\"a\"], [\"b\"])]",
    "walk(.)",
    "walk([.])",
    "[walk(.., ..)] | length",
    "env",
    "halt",
    "$ENV",
    "input",
    "debug",
    "now",
    "significand, logb, gamma, lgamma, tgamma, frexp, modf",
    "[1, 2] | IN(range(1e9); 1e8)",
    "any(range(1e12); . > 3)",
    "all(range(1e12); . < 3)",
    "isvalid(error)",
    "add(range(100000))",
    "have_literal_numbers",
    "splits(\"(?<x>a)\"; \"g\")",
    "ascii_downcase",
    "tojson * 1000 | length",
    ". as [$a, {b: $c}] | [$a, $c]",
    ". as [$a] ?// $a | [$a]",
    "reduce .[]? as [$a, $b] (0; . + 1)",
    "[limit(1000; recurse(. + 1; . < 1e9))] | length",
    "ltrimstr(\"a\"), rtrimstr(\"b\")",
    "[range(0; 10; 0)] | length",
    "[range(10; 0; -1)]",
];

/// Bodies that the filters read, in turn.
fn hostile_bodies() -> Vec<String> {
    let repeat = |text: &str, count| text.repeat(count);
    vec![
        "[1]".to_owned(),
        format!("[{}{{}}]", repeat("{},", 340_000)),
        format!("[{}1]", repeat("1,", 520_000)),
        format!("[{}[]]", repeat("[],", 340_000)),
        format!("\"{}\"", repeat("a", 1_000_000)),
        format!("\"{}\"", repeat("\\u0061", 170_000)),
        repeat("9", 1_000_000),
        format!("{}1{}", repeat("[", 64), repeat("]", 64)),
        repeat("[", 1_000_000),
        repeat("{\"a\":", 200_000),
        format!(
            "{{{}\"z\":1}}",
            (0..60_000).fold(String::new(), |mut all, n| {
                let _ = write!(all, "\"{n}\":{n},");
                all
            })
        ),
        format!("{{{}\"z\":1}}", repeat("\"a\":1,", 170_000)),
        "{\"a\":NaN}".to_owned(),
        "[1e400,-1E+400,0.1000,-0]".to_owned(),
        "\"\\ud800\"".to_owned(),
        "<html>".to_owned(),
        String::new(),
        "null".to_owned(),
    ]
}

/// All filters of the attack that a configuration takes.
fn hostile_filters() -> Vec<String> {
    let framed = BOMBS
        .iter()
        .flat_map(|bomb| FRAMES.iter().map(move |frame| frame.replace('@', bomb)));
    let all = framed.chain(ODDITIES.iter().map(ToString::to_string));
    all.filter(|filter| resumen::extract::Filter::compile(filter).is_ok())
        .collect()
}

/// The sources `bad…` of these filters, of which the first has the number `first`.
fn hostile_sources(filters: &[String], first: usize, providers: &[FakeProvider]) -> String {
    let mut sources = String::new();
    for (number, filter) in (first..).zip(filters) {
        let url = providers[number % providers.len()].url();
        let extract = serde_json::to_string(filter).unwrap();
        let keys = "interval = \"1h\"\ntimeout = \"2s\"";
        let _ = write!(
            sources,
            "[sources.bad{number}]\nurl = \"{url}\"\nextract = {extract}\n{keys}\n"
        );
    }
    sources
}

/// How many hostile sources the service has at a time: their bodies of 1 MiB wait in its memory.
const BATCH: usize = 24;

#[test]
fn hostile_filters_end_with_their_codes() {
    let Some(group) = MemoryGroup::with_limit(128 << 20) else {
        return;
    };
    let filters = hostile_filters();
    assert!(filters.len() >= 320, "{} filters", filters.len());
    let providers: Vec<FakeProvider> = hostile_bodies()
        .iter()
        .map(|body| FakeProvider::with_json(body))
        .collect();
    let good = FakeProvider::with_json("{\"n\":1}");
    let base = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"\"\n[sources.good]\nurl = \"{}\"\n\
         extract = '{{n: (.n + 1)}}'\ninterval = \"2s\"\ntimeout = \"2s\"\n",
        good.url()
    );
    let folder = ServiceFolder::new(&base);
    let mut command = group.command(Path::new(env!("CARGO_BIN_EXE_resumen")));
    command
        .args(["serve", "--config", "resumen.toml"])
        .current_dir(folder.path());
    let service = start(&mut command);
    let (mut oldest, mut most_processes) = (0.0_f64, 0);
    let mut counts = BTreeMap::<String, usize>::new();
    for (batch, filters) in filters.chunks(BATCH).enumerate() {
        let first = batch * BATCH;
        folder.write_config(&(base.clone() + &hostile_sources(filters, first, &providers)));
        service.send_signal(Signal::HUP);
        service.wait_for_log("configuration reloaded");
        let by = Clock::start().deadline(Duration::from_secs(60));
        let codes = loop {
            let results = service.results("/resumen");
            oldest = oldest.max(results["good"]["age_ms"].as_f64().unwrap_or_default());
            most_processes = most_processes.max(group.processes().len());
            let codes = hostile_codes(&results, first..first + filters.len());
            if codes.iter().all(|code| code != "pending") {
                break codes;
            }
            assert!(Clock::start().instant() < by.at, "{codes:?} of {filters:?}");
            std::thread::sleep(Duration::from_millis(50));
        };
        for (filter, code) in filters.iter().zip(codes) {
            assert!(CODES.contains(&code.as_str()), "{filter}: {code}");
            *counts.entry(code).or_default() += 1;
        }
    }
    println!(
        "{} filters: {counts:?}; other source at most {oldest} ms old; {most_processes} processes",
        filters.len()
    );
    assert!(
        counts["extract_failed"] > 30 && counts["extract_timeout"] > 10,
        "{counts:?}"
    );
    // The interval with its jitter, and an attempt of the whole timeout.
    assert!(oldest < 6_000.0, "{oldest} ms");
    // The service, its filter processes, and those that are being replaced.
    assert!(most_processes <= 8, "{most_processes} processes");
    let good = &service.results("/resumen")["good"];
    assert!(good["ok"] == true && good["data"]["n"] == 2, "{good}");
    let usage = measure_usage(service.process.pid(), &service.base_url);
    assert!(usage.resident_kib < 100 << 10, "{usage:?}");
    assert!(workers_of(service.process.pid()).len() <= 3);
    service.stop();
}

/// How an attempt may end: a bomb that its frame catches or cuts short gives data, and a hostile body
/// does not reach the filter. jaq panics at some dates, which the worker contains.
const CODES: [&str; 7] = [
    "extract_failed",
    "extract_timeout",
    "ok",
    "not_json",
    "json_too_deep",
    "empty_body",
    "panic",
];

fn start(command: &mut std::process::Command) -> ServiceProcess {
    let process = TestProcess::start(command);
    let base_url = listening_url(&process);
    ServiceProcess { process, base_url }
}

/// The codes of these hostile sources, `ok` with data.
fn hostile_codes(results: &Value, numbers: Range<usize>) -> Vec<String> {
    let code = |number| {
        let source = &results[format!("bad{number}")];
        if source.is_null() {
            return "pending".to_owned();
        }
        source["code"].as_str().unwrap_or("ok").to_owned()
    };
    numbers.map(code).collect()
}
