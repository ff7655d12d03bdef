//! Filters that do not end, exhaust memory, or could crash jaq.

use std::time::Duration;

use bytes::Bytes;

use super::{compile_error, into_failure, run_error, run_ok};
use crate::domain::{Code, Failure};
use crate::extract::filter::Filter;
use crate::extract::limits::CancelFlag;
use crate::extract::threads::run_on_deep_stack;

/// Smaller than the real limit, so that the tests are fast.
const SMALL_LIMIT_BYTES: usize = 1 << 20;

/// Returns the failure of a filter that is cancelled after 50 ms.
fn run_until_stopped(filter: &str) -> Failure {
    let filter = Filter::compile(filter).unwrap();
    let cancel = CancelFlag::default();
    let clone = cancel.clone();
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        clone.cancel();
    });
    let body = Bytes::from_static(b"[1,2,3,4,5,6,7,8,9]");
    let failure = run_on_deep_stack("test", || filter.run(&body, &cancel))
        .unwrap()
        .map_err(into_failure)
        .unwrap_err();
    canceller.join().unwrap();
    failure
}

#[test]
fn oversized_filter_is_refused() {
    let parens = format!("{}1{}", "(".repeat(65), ")".repeat(65));
    assert_eq!(compile_error(&parens).0, "a filter nests at most 64 levels");
    assert!(Filter::compile(&parens[1..parens.len() - 1]).is_ok());
    for open in [
        "(",
        "[",
        "{a:",
        "\"\\(",
        "-",
        "try ",
        "if ",
        "reduce ",
        "not|",
        ".[",
        "1 as $x | ",
        "label $x | ",
    ] {
        let _ = Filter::compile(&open.repeat(Filter::MAX_TEXT_BYTES / open.len()));
        let _ = Filter::compile(&open.repeat(256 / open.len()));
    }
    assert_eq!(
        compile_error(&" ".repeat(Filter::MAX_TEXT_BYTES + 1)).0,
        "a filter has at most 65536 bytes"
    );
    assert_eq!(run_ok(&format!(".{}", "|.".repeat(20_000)), "1"), "1");
    assert_eq!(run_ok(&format!("{}.", "-".repeat(10_000)), "1").len(), 1);
}

#[test]
fn endless_filter_is_stopped() {
    for filter in [
        "repeat(.)",
        "[repeat(1)?]",
        "last(range(1e18))",
        "[limit(1e18; repeat(1)) | empty]",
        "until(false; .)",
        "first(range(1e18) | select(. < 0))",
        "reduce range(1e18) as $i (0; . + 1)",
        "all(range(1e18); true)",
        "isempty(range(1e18) | empty)",
        "last(foreach range(1e18) as $i (0; $i))",
        "(range(1e18) | null) // 1",
        "if range(1e18) < 0 then 1 else empty end",
        "try repeat(error(\"x\")) catch .",
        "last(recurse(.))",
        "last(.[] + .[] + .[] + .[] + .[] + .[] + .[] + .[] + .[] + .[])",
        "[while(true; .)] | 1",
        "last(repeat(.) | tojson | fromjson)",
        "last(limit(1e18; repeat(try error catch .)))",
        "path(repeat(.))",
        "last(path(repeat(.)))",
        "repeat(.) |= .",
        "first(combinations(1000) | select(.[0] > 9))",
        "[splits(\"a\"; repeat(\"g\"))] | length | repeat(.) | empty",
    ] {
        let failure = run_until_stopped(filter);
        assert!(
            [Code::ExtractTimeout, Code::ExtractFailed].contains(&failure.code),
            "{filter}: {failure}"
        );
    }
}

#[test]
fn memory_growth_is_stopped() {
    for filter in [
        "[range(1e18)]",
        "[repeat(1)]",
        "[limit(1e8; repeat(1))]",
        "reduce range(1e18) as $i (.; . + .)",
        "\"x\" * 1000000000",
        "\"x\" * 1000000000000000000",
        "[range(1e7) | \"x\" * 1000]",
        "reduce range(60) as $i (\"x\"; . + .)",
        "reduce range(60) as $i (\"x\"; \"\\(.)\\(.)\")",
        "reduce range(60) as $i ([1]; . + .)",
        "reduce range(60) as $i (1; [., .]) | tojson",
        "reduce range(60) as $i (1; [., .]) | tostring | length",
        "reduce range(60) as $i (1; {a: ., b: .}) | \"\\(.)\"",
        "reduce range(60) as $i (1; [., .]) | [..] | length",
        "[foreach range(1e6) as $i ([]; . + [$i])] | length",
        "[range(1e6) as $i | [range($i)]] | length",
        "reduce range(1e7) as $i (1; [.]) | 1",
        "last(recurse([.]))",
        "until(false; [.])",
        "last(repeat({a: .}))",
        "reduce range(1e6) as $i (null; setpath([range(900) | \"a\"]; .)) | 1",
        "reduce range(1e6) as $i ([1]; .[0] |= [.]) | [recurse(.[])] | length",
        "[combinations(30)] | length",
        "reduce range(60) as $i (\"ab\"; . / \"\" | join(\"xxxxxxxx\"))",
        "reduce range(60) as $i (\"x\"; @json \"\\(.)\\(.)\")",
        "reduce range(60) as $i (\"<\"; @html + .) | length",
        "[range(1e7)] | map(tostring) | join(\",\") | length",
        "reduce range(60) as $i (\"a,\"; gsub(\",\"; \",,,,\")) | length",
        "[range(1e7)] | sort_by(-.) | length",
        "reduce range(60) as $i (1; {a: ., b: .}) | . * .",
        "null | path(until(false; .a))",
    ] {
        let filter = Filter::compile(filter).unwrap();
        let body = Bytes::from_static(b"[1,2,3,4,5,6,7,8,9]");
        let run = || filter.run_with_memory_limit(&body, &CancelFlag::default(), SMALL_LIMIT_BYTES);
        let message = run_on_deep_stack("test", run)
            .unwrap()
            .map_err(into_failure)
            .unwrap_err()
            .message;
        assert!(
            message.starts_with("the filter takes too") || message.starts_with("the filter nests"),
            "{filter:?}: {message}"
        );
    }
}

#[test]
fn endless_update_hits_stack_limit() {
    for filter in ["recurse |= [.]", "repeat(.) |= (., .)"] {
        assert_eq!(
            run_error(filter, "[1]"),
            "the filter recurses without end",
            "{filter}"
        );
    }
}

#[test]
fn dropped_error_is_not_formatted() {
    let doubled = "reduce range(60) as $i (1; [., .])";
    assert_eq!(
        run_error(&format!("{doubled} | tonumber?"), "1"),
        "the filter gave no result"
    );
    assert_eq!(run_ok(&format!("{doubled} | (. + 1)? // 3"), "1"), "3");
    assert_eq!(run_ok("[.[] | (tonumber, 0)?]", r#"["x",1]"#), "[1,0]");
    assert_eq!(
        run_ok("[path(.[] | (.a)?)]", r#"[1,{"a":2}]"#),
        r#"[[1,"a"]]"#
    );
    assert_eq!(
        run_ok("[.[] | (label $out | 1, break $out)?]", "[0]"),
        "[1]"
    );
}

#[test]
fn regex_matches_are_limited() {
    let body = format!("\"{}\"", ",".repeat(100_000));
    for filter in [
        "gsub(\",\"; \"\")",
        "[scan(\",\")]",
        "[match(\"\"; \"g\")]",
        "[match(\"()()()()()()()()\"; \"g\")]",
    ] {
        let filter = Filter::compile(filter).unwrap();
        let run = || {
            filter.run_with_memory_limit(
                &Bytes::from(body.clone()),
                &CancelFlag::default(),
                SMALL_LIMIT_BYTES,
            )
        };
        let message = run_on_deep_stack("test", run)
            .unwrap()
            .map_err(into_failure)
            .unwrap_err()
            .message;
        assert_eq!(&*message, "the filter takes too much memory", "{filter:?}");
    }
    assert_eq!(
        run_ok(
            "gsub(\",\"; \"\") | length",
            &format!("{}\"", &body[..50_000])
        ),
        "0"
    );
    assert_eq!(
        run_error("test(\"a|\" * 50000)", &body),
        "the filter's error: a regex of more than 65536 bytes"
    );
}

#[test]
fn merged_objects_are_counted_once() {
    assert_eq!(
        run_ok(
            "reduce range(3000) as $i ({}; . * {a: {($i | tostring): 1}}) | .a | length",
            "1"
        ),
        "3000"
    );
}

#[test]
fn crashing_steps_are_errors() {
    for filter in [
        ".[1000000000] = 1",
        ".[1e9] = 1",
        "[\"[\" * 30000 | fromjson]",
        "\"[\" * 30000 | tonumber",
        "[1114112] | implode",
        "getpath([range(100000) | \"a\"])",
        "setpath([range(100000) | 0]; 1)",
        "\"NaN\" | fromjson",
        "\"1 2\" | fromjson",
        "\"\" | fromjson",
        "\"(\" | test(\"(\")",
        "test(\"(a{1000}){1000}\")",
        "reduce range(60) as $i (1; [., .]) | try tonumber catch error(.)",
        "reduce range(60) as $i (1; [., .]) | mktime",
        "reduce range(60) as $i (1; [., .]) | strftime(\"%Y\")",
        "reduce range(60) as $i (1; [., .]) | [2020, 0, 1, 0, 0, 1e9, .] | mktime",
        "reduce range(60) as $i (1; [., .]) | [2020, \"x\", 1, 0, 0, 0, .] | strftime(\"%Y\")",
        "[nan, 1, nan, 2] | sort | error",
        "break_",
        "\"x\" * -1",
        "\"x\" * 0",
        "{a: 1} | .[0:1]",
        "range(\"a\")",
        "ltrimstr(1; 2)",
    ] {
        let Ok(compiled) = Filter::compile(filter) else {
            continue;
        };
        assert_eq!(compiled.text(), filter);
        run_error(filter, "[1,2,3]");
    }
}
