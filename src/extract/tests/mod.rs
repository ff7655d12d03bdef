//! Tests of the whole extraction of a body.

mod language;

use bytes::Bytes;

use super::constructed_names;
use super::evaluate::evaluate_body;
use super::filter::Filter;
use crate::domain::{Code, Failure, Redactor};

fn run_filter(filter: &str, body: &str) -> Result<String, Failure> {
    Filter::compile(filter).unwrap_or_else(|error| panic!("{filter}: {error:?}"));
    let body = Bytes::copy_from_slice(body.as_bytes());
    evaluate_body(filter, &body.into()).map_err(|error| error.into_failure(&Redactor::default()))
}

fn run_ok(filter: &str, body: &str) -> String {
    run_filter(filter, body).unwrap_or_else(|failure| panic!("{filter}: {failure}"))
}

fn run_error(filter: &str, body: &str) -> String {
    let failure = run_filter(filter, body).expect_err(filter);
    assert_eq!(failure.code, Code::ExtractFailed, "{filter}: {failure}");
    failure.message.to_string()
}

fn compile_error(filter: &str) -> (String, String) {
    let error = Filter::compile(filter).expect_err(filter);
    (error.message, filter[error.span].to_owned())
}

#[test]
fn documented_filters_work() {
    let coinbase = r#"{"data":{"amount":"68012.34","base":"BTC","currency":"USD"}}"#;
    assert_eq!(
        run_ok("{usd: (.data.amount | tonumber)}", coinbase),
        r#"{"usd":68012.34}"#
    );
    let rates = r#"[{"base":"USD","quote":"EUR","rate":0.87598},{"base":"USD","quote":"ARS","rate":1450.50}]"#;
    assert_eq!(
        run_ok("map({(.quote): .rate}) | add", rates),
        r#"{"EUR":0.87598,"ARS":1450.50}"#
    );
    let strings = r#"{"data":{"rates":{"EUR":"0.92","ARS":"1450.0"}}}"#;
    assert_eq!(
        run_ok(
            ".data.rates | {EUR: (.EUR|tonumber), ARS: (.ARS|tonumber)}",
            strings
        ),
        r#"{"EUR":0.92,"ARS":1450.0}"#
    );
    assert_eq!(
        run_ok(
            "{ars: (.btc.usd * .usd.ARS)}",
            r#"{"btc":{"usd":2.5},"usd":{"ARS":1000}}"#
        ),
        r#"{"ars":2500}"#
    );
    let kraken = r#"{"error":[],"result":{"XXBTZUSD":{"c":["68012.3","0.01"]}}}"#;
    let filter =
        "if .error != [] then error(.error[0]) else {usd: (.result[].c[0] | tonumber)} end";
    assert_eq!(run_ok(filter, kraken), r#"{"usd":68012.3}"#);
}

#[test]
fn untouched_numbers_keep_digits() {
    let numbers = "[0.1000,1e400,-0,12345678901234567890,9007199254740993,-1E-7,1.0,1e2]";
    assert_eq!(run_ok(".", numbers), numbers);
    assert_eq!(run_ok("[.[]]", numbers), numbers);
    assert_eq!(run_ok("{a: .} | .a", numbers), numbers);
    assert_eq!(
        run_ok("map(.) | . + [] | reverse | reverse", numbers),
        numbers
    );
    assert_eq!(run_ok("[.[] | tojson] | map(fromjson)", numbers), numbers);
    assert_eq!(run_ok("[.[] | tostring | tonumber]", numbers), numbers);
    assert_eq!(run_ok("reduce .[] as $x ([]; . + [$x])", numbers), numbers);
    assert_eq!(
        run_ok("[.[3], .[4]] | add(.[1:][])", numbers),
        "9007199254740993"
    );
    assert_eq!(
        run_ok("[.[3, 4]] | unique", numbers),
        "[9007199254740993,12345678901234567890]"
    );
    assert_eq!(
        run_ok("[.[3], .[3] - 1] | .[0] == .[1]", "[1,2,3,4]"),
        "false"
    );
    assert_eq!(run_ok("\"\\(.[0])\"", numbers), r#""0.1000""#);
    assert_eq!(
        run_ok("{x: 0.10, y: 100000000000000000000}", "1"),
        r#"{"x":0.10,"y":100000000000000000000}"#
    );
}

#[test]
fn whole_numbers_are_exact() {
    assert_eq!(run_ok(".[0] + .[1]", "[0.1,0.2]"), "0.30000000000000004");
    assert_eq!(run_ok(". / 2", "6"), "3");
    assert_eq!(run_ok(". * 1.5", "3"), "4.5");
    assert_eq!(run_ok(". + 1", "9007199254740993"), "9007199254740994");
    assert_eq!(
        run_ok(". + 0", "12345678901234567890"),
        "12345678901234567890"
    );
    assert_eq!(
        run_ok(". * .", "9007199254740991"),
        "81129638414606663681390495662081"
    );
    assert_eq!(
        run_ok(". += 1 | . *= 2 | . -= 1 | . /= 2 | . %= 2", "3"),
        "1"
    );
    let digits = format!("1{}", "0".repeat(32));
    assert_eq!(run_ok("reduce range(5) as $i (10; . * .)", "0"), digits);
    assert_eq!(run_ok("-.", "0.1000"), "-0.1000");
    assert_eq!(
        run_ok("[.[] | floor, round]", "[1.5, -1.5, 7]"),
        "[1,2,-2,-2,7,7]"
    );
    assert!(run_error(". + 1 | . * 1e308", "1e400").contains("JSON cannot hold: a number"));
    assert!(run_error("1 / 0", "1").contains("because the divisor is zero"));
    assert!(run_error("[infinite]", "1").contains("NaN or infinite"));
    let many = "reduce range(14) as $i (10; . * .)";
    assert_eq!(
        run_error(many, "0"),
        "the filter gave what JSON cannot hold: a number of more than 4000 digits; make a text of it with tostring"
    );
    assert_eq!(run_ok(&format!("{many} | tostring | length"), "0"), "16385");
    assert!(run_error(".", &"7".repeat(4001)).contains("more than 4000 digits"));
    assert_eq!(run_ok(".", &"7".repeat(4000)), "7".repeat(4000));
}

#[test]
fn tonumber_is_lenient() {
    for (text, number) in [
        ("1.50", "1.50"),
        (" 7\\n", "7"),
        ("1e400", "1e400"),
        ("+5", "5"),
        (".5", "0.5"),
        ("007", "7"),
    ] {
        assert_eq!(run_ok("tonumber", &format!("\"{text}\"")), number, "{text}");
    }
    for text in [
        "", " ", "NaN", "Infinity", "inf", "1,5", "0x10", "1 2", "[1]", "1_0", "e5", "-", "--1",
    ] {
        assert!(
            run_error("tonumber", &format!("\"{text}\"")).contains("cannot use"),
            "{text}"
        );
    }
    assert!(run_error("tonumber", "null").contains("cannot use null as number"));
}

#[test]
fn filter_gives_one_useful_result() {
    assert_eq!(run_error("empty", "1"), "the filter gave no result");
    assert!(run_error(".[]", "[1,2]").starts_with("the filter gave several results"));
    assert!(run_error("1, error(\"late\")", "1").ends_with(": late"));
    let null = "the filter gave null; `// \"none\"` behind it gives a value where there is none";
    assert_eq!(run_error(".a", "{}"), null);
    assert_eq!(run_error(".", "null"), null);
    assert!(run_error("{a, b}", "{}").starts_with("the filter gave an object of nulls only; "));
    assert_eq!(run_ok(".", r#"{"a":null,"b":0}"#), r#"{"a":null,"b":0}"#);
    for (body, same) in [
        ("{}", "{}"),
        ("[]", "[]"),
        ("\"\"", "\"\""),
        ("false", "false"),
        ("[null]", "[null]"),
    ] {
        assert_eq!(run_ok(".", body), same);
    }
    assert!(run_error("nan", "1").contains("JSON cannot hold"));
    assert!(run_error("[infinite]", "1").contains("JSON cannot hold"));
    assert_eq!(run_ok("\"/w==\" | @base64d", "1"), "\"\u{fffd}\"");
    assert!(run_error("[range(200000)]", "1").contains("more than 1048576 bytes"));
    assert!(run_error("reduce range(64) as $i (.; [.])", "[]").contains("more than 64 levels"));
    assert!(
        run_error("reduce range(60) as $i (.; [., .])", "[]").contains("more than 1048576 bytes")
    );
    assert_eq!(run_ok("\"a\\nb\"", "1"), r#""a\nb""#);
    assert_eq!(run_ok(".", r#"{"a":1,"b":2,"a":3}"#), r#"{"a":3,"b":2}"#);
}

#[test]
fn error_keeps_the_filter_message() {
    assert_eq!(
        run_error("error(\"closed until 9\\n\")", "1"),
        "the filter's error: closed until 9"
    );
    assert_eq!(
        run_error("error({code: 7})", "1"),
        r#"the filter's error: {"code":7}"#
    );
    assert_eq!(
        run_error("error(.message)", r#"{"message":"a\u0007b"}"#),
        "the filter's error: a\\u{7}b"
    );
    assert_eq!(
        run_error(".a.b", r#"{"a":"x"}"#),
        r#"the filter's error: cannot index "x" with "b""#
    );
    assert!(
        run_error("error(\"x\" * 500)", "1").chars().count() <= 120 + "the filter's error: ".len()
    );
    assert!(
        run_error("reduce range(60) as $i (1; [., .]) | tonumber", "1")
            .starts_with("the filter's error: cannot use [[")
    );
    assert!(run_error("[.[] | tonumber]", "[\"x\"]").contains("cannot use \"x\" as number"));
    assert_eq!(run_ok("try error(\"a\") catch .", "1"), "\"a\"");
    assert_eq!(run_ok("try error({a: 1}) catch .a", "1"), "1");
    assert_eq!(
        run_ok("[.[] | try tonumber catch \"bad\"]", "[\"1\",\"x\"]"),
        "[1,\"bad\"]"
    );
    assert_eq!(run_ok("[.[] | tonumber?]", "[\"1\",\"x\",\"2\"]"), "[1,2]");
    assert_eq!(run_ok("(.a.b? // 5)", r#"{"a":"x"}"#), "5");
}

#[test]
fn constructed_names_are_found() {
    let names = |text| constructed_names(text);
    assert_eq!(
        names(r#".data | {token: (.t | tostring), "id": 1, sid}"#),
        Some(vec!["token", "id", "sid"])
    );
    for unknown in [
        ".",
        "{a} + .",
        "{(.k): 1}",
        r#"{"a\(.b)": 1}"#,
        "if .a then {b} else . end",
        "{",
    ] {
        assert_eq!(names(unknown), None, "{unknown}");
    }
}
