//! Filters that never end, explode, or would crash.

use std::time::Duration;

use bytes::Bytes;

use super::{fails, gives, refused, told};
use crate::domain::{Code, Failure};
use crate::extract::Filter;
use crate::extract::threads::on_deep_stack;
use crate::extract::watch::Stop;

/// Less than there is in earnest, so that what explodes does so soon.
const LITTLE: usize = 1 << 20;

/// What a filter fails with that is asked to stop after a moment.
fn stopped(filter: &str) -> Failure {
    let filter = Filter::compile(filter).unwrap();
    let stop = Stop::default();
    let asking = stop.clone();
    let ask = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        asking.ask();
    });
    let body = Bytes::from_static(b"[1,2,3,4,5,6,7,8,9]");
    let failure = on_deep_stack("test", || filter.run(&body, &stop))
        .unwrap()
        .map_err(told)
        .unwrap_err();
    ask.join().unwrap();
    failure
}

#[test]
fn texts_that_nest_or_never_end_are_refused_not_crashed_on() {
    let parens = format!("{}1{}", "(".repeat(65), ")".repeat(65));
    assert_eq!(refused(&parens).0, "a filter nests at most 64 levels");
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
        let _ = Filter::compile(&open.repeat(Filter::MAX_TEXT / open.len()));
        let _ = Filter::compile(&open.repeat(256 / open.len()));
    }
    assert_eq!(
        refused(&" ".repeat(Filter::MAX_TEXT + 1)).0,
        "a filter has at most 65536 bytes"
    );
    assert_eq!(gives(&format!(".{}", "|.".repeat(20_000)), "1"), "1");
    assert_eq!(gives(&format!("{}.", "-".repeat(10_000)), "1").len(), 1);
}

#[test]
fn what_never_ends_is_stopped() {
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
        let failure = stopped(filter);
        assert!(
            [Code::ExtractTimeout, Code::ExtractFailed].contains(&failure.code),
            "{filter}: {failure}"
        );
    }
}

#[test]
fn what_explodes_is_given_up() {
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
        let run = || filter.run_within(&body, &Stop::default(), LITTLE);
        let message = on_deep_stack("test", run)
            .unwrap()
            .map_err(told)
            .unwrap_err()
            .message;
        assert!(
            message.starts_with("the filter takes too") || message.starts_with("the filter nests"),
            "{filter:?}: {message}"
        );
    }
}

#[test]
fn endless_updates_end_before_the_stack_does() {
    for filter in ["recurse |= [.]", "repeat(.) |= (., .)"] {
        assert_eq!(
            fails(filter, "[1]"),
            "the filter recurses without end",
            "{filter}"
        );
    }
}

#[test]
fn an_error_that_is_dropped_is_not_written_out() {
    let doubled = "reduce range(60) as $i (1; [., .])";
    assert_eq!(
        fails(&format!("{doubled} | tonumber?"), "1"),
        "the filter gave no result"
    );
    assert_eq!(gives(&format!("{doubled} | (. + 1)? // 3"), "1"), "3");
    assert_eq!(gives("[.[] | (tonumber, 0)?]", r#"["x",1]"#), "[1,0]");
    assert_eq!(
        gives("[path(.[] | (.a)?)]", r#"[1,{"a":2}]"#),
        r#"[[1,"a"]]"#
    );
    assert_eq!(gives("[.[] | (label $out | 1, break $out)?]", "[0]"), "[1]");
}

#[test]
fn matches_without_end_are_given_up_before_they_are_made() {
    let body = format!("\"{}\"", ",".repeat(100_000));
    for filter in [
        "gsub(\",\"; \"\")",
        "[scan(\",\")]",
        "[match(\"\"; \"g\")]",
        "[match(\"()()()()()()()()\"; \"g\")]",
    ] {
        let filter = Filter::compile(filter).unwrap();
        let run = || filter.run_within(&Bytes::from(body.clone()), &Stop::default(), LITTLE);
        let message = on_deep_stack("test", run)
            .unwrap()
            .map_err(told)
            .unwrap_err()
            .message;
        assert_eq!(&*message, "the filter takes too much memory", "{filter:?}");
    }
    assert_eq!(
        gives(
            "gsub(\",\"; \"\") | length",
            &format!("{}\"", &body[..50_000])
        ),
        "0"
    );
    assert_eq!(
        fails("test(\"a|\" * 50000)", &body),
        "the filter's error: a regex of more than 65536 bytes"
    );
}

#[test]
fn objects_that_grow_by_merging_are_counted_once() {
    assert_eq!(
        gives(
            "reduce range(3000) as $i ({}; . * {a: {($i | tostring): 1}}) | .a | length",
            "1"
        ),
        "3000"
    );
}

#[test]
fn steps_that_could_crash_are_errors() {
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
        fails(filter, "[1,2,3]");
    }
}
