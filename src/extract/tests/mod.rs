//! The whole way of a body through a filter.

use bytes::Bytes;

mod language;
mod limits;

use super::complaint::Complaint;
use super::filter::Filter;
use super::json;
use super::threads::on_deep_stack;
use super::watch::Stop;
use crate::domain::{Code, Failure, Veil};

fn told(complaint: Complaint) -> Failure {
    complaint.into_failure(&Veil::default())
}

fn run(filter: &str, body: &str) -> Result<String, Failure> {
    let filter = Filter::compile(filter).unwrap_or_else(|error| panic!("{filter}: {error:?}"));
    let body = Bytes::copy_from_slice(body.as_bytes());
    let way =
        || json::check(&body).and_then(|range| filter.run(&body.slice(range), &Stop::default()));
    on_deep_stack("test", way).unwrap().map_err(told)
}

fn gives(filter: &str, body: &str) -> String {
    run(filter, body).unwrap_or_else(|failure| panic!("{filter}: {failure}"))
}

fn fails(filter: &str, body: &str) -> String {
    let failure = run(filter, body).expect_err(filter);
    assert_eq!(failure.code, Code::ExtractFailed, "{filter}: {failure}");
    failure.message.to_string()
}

fn refused(filter: &str) -> (String, String) {
    let error = Filter::compile(filter).expect_err(filter);
    (error.message, filter[error.span].to_owned())
}

#[test]
fn filters_of_the_reference_work() {
    let coinbase = r#"{"data":{"amount":"68012.34","base":"BTC","currency":"USD"}}"#;
    assert_eq!(
        gives("{usd: (.data.amount | tonumber)}", coinbase),
        r#"{"usd":68012.34}"#
    );
    let rates = r#"[{"base":"USD","quote":"EUR","rate":0.87598},{"base":"USD","quote":"ARS","rate":1450.50}]"#;
    assert_eq!(
        gives("map({(.quote): .rate}) | add", rates),
        r#"{"EUR":0.87598,"ARS":1450.50}"#
    );
    let strings = r#"{"data":{"rates":{"EUR":"0.92","ARS":"1450.0"}}}"#;
    assert_eq!(
        gives(
            ".data.rates | {EUR: (.EUR|tonumber), ARS: (.ARS|tonumber)}",
            strings
        ),
        r#"{"EUR":0.92,"ARS":1450.0}"#
    );
    assert_eq!(
        gives(
            "{ars: (.btc.usd * .usd.ARS)}",
            r#"{"btc":{"usd":2.5},"usd":{"ARS":1000}}"#
        ),
        r#"{"ars":2500}"#
    );
    let kraken = r#"{"error":[],"result":{"XXBTZUSD":{"c":["68012.3","0.01"]}}}"#;
    let filter =
        "if .error != [] then error(.error[0]) else {usd: (.result[].c[0] | tonumber)} end";
    assert_eq!(gives(filter, kraken), r#"{"usd":68012.3}"#);
}

#[test]
fn digits_are_kept_wherever_a_number_passes() {
    let numbers = "[0.1000,1e400,-0,12345678901234567890,9007199254740993,-1E-7,1.0,1e2]";
    assert_eq!(gives(".", numbers), numbers);
    assert_eq!(gives("[.[]]", numbers), numbers);
    assert_eq!(gives("{a: .} | .a", numbers), numbers);
    assert_eq!(
        gives("map(.) | . + [] | reverse | reverse", numbers),
        numbers
    );
    assert_eq!(gives("[.[] | tojson] | map(fromjson)", numbers), numbers);
    assert_eq!(gives("[.[] | tostring | tonumber]", numbers), numbers);
    assert_eq!(gives("reduce .[] as $x ([]; . + [$x])", numbers), numbers);
    assert_eq!(
        gives("[.[3], .[4]] | add(.[1:][])", numbers),
        "9007199254740993"
    );
    assert_eq!(
        gives("[.[3, 4]] | unique", numbers),
        "[9007199254740993,12345678901234567890]"
    );
    assert_eq!(
        gives("[.[3], .[3] - 1] | .[0] == .[1]", "[1,2,3,4]"),
        "false"
    );
    assert_eq!(gives("\"\\(.[0])\"", numbers), r#""0.1000""#);
    assert_eq!(
        gives("{x: 0.10, y: 100000000000000000000}", "1"),
        r#"{"x":0.10,"y":100000000000000000000}"#
    );
}

#[test]
fn arithmetic_is_in_doubles() {
    assert_eq!(gives(".[0] + .[1]", "[0.1,0.2]"), "0.30000000000000004");
    assert_eq!(gives(". / 2", "6"), "3");
    assert_eq!(gives(". * 1.5", "3"), "4.5");
    assert_eq!(gives(". + 1", "9007199254740993"), "9007199254740992");
    assert_eq!(
        gives(". + 0", "12345678901234567890"),
        "1.2345678901234567e19"
    );
    assert_eq!(gives(". * .", "9007199254740991"), "8.112963841460666e31");
    assert_eq!(
        gives(". += 1 | . *= 2 | . -= 1 | . /= 2 | . %= 4", "3"),
        "3.5"
    );
    assert_eq!(gives("reduce range(5) as $i (10; . * .)", "0"), "1e32");
    assert_eq!(gives("-.", "0.1000"), "-0.1000");
    assert_eq!(
        gives("[.[] | floor, round]", "[1.5, -1.5, 7]"),
        "[1,2,-2,-2,7,7]"
    );
    assert!(fails(". + 1 | . * 1e308", "1e400").contains("JSON cannot hold: a number"));
    assert!(fails("1 / 0", "1").contains("NaN or infinite"));
}

#[test]
fn numbers_in_strings_are_read_leniently_but_are_numbers() {
    for (text, number) in [
        ("1.50", "1.50"),
        (" 7\\n", "7"),
        ("1e400", "1e400"),
        ("+5", "5"),
        (".5", "0.5"),
        ("007", "7"),
    ] {
        assert_eq!(gives("tonumber", &format!("\"{text}\"")), number, "{text}");
    }
    for text in [
        "", " ", "NaN", "Infinity", "inf", "1,5", "0x10", "1 2", "[1]", "1_0", "e5", "-", "--1",
    ] {
        assert!(
            fails("tonumber", &format!("\"{text}\"")).contains("cannot use"),
            "{text}"
        );
    }
    assert!(fails("tonumber", "null").contains("cannot use null as number"));
}

#[test]
fn one_result_that_says_something() {
    assert_eq!(fails("empty", "1"), "the filter gave no result");
    assert!(fails(".[]", "[1,2]").starts_with("the filter gave several results"));
    assert!(fails("1, error(\"late\")", "1").ends_with(": late"));
    assert_eq!(fails(".a", "{}"), "the filter gave null");
    assert_eq!(fails(".", "null"), "the filter gave null");
    assert_eq!(
        fails("{a, b}", "{}"),
        "the filter gave an object of nulls only"
    );
    assert_eq!(gives(".", r#"{"a":null,"b":0}"#), r#"{"a":null,"b":0}"#);
    for (body, same) in [
        ("{}", "{}"),
        ("[]", "[]"),
        ("\"\"", "\"\""),
        ("false", "false"),
        ("[null]", "[null]"),
    ] {
        assert_eq!(gives(".", body), same);
    }
    assert!(fails("nan", "1").contains("JSON cannot hold"));
    assert!(fails("[infinite]", "1").contains("JSON cannot hold"));
    assert!(fails("\"/w==\" | @base64d", "1").contains("bytes that are no text"));
    assert!(fails("[range(200000)]", "1").contains("more than 1048576 bytes"));
    assert!(fails("reduce range(64) as $i (.; [.])", "[]").contains("more than 64 levels"));
    assert!(fails("reduce range(60) as $i (.; [., .])", "[]").contains("more than 1048576 bytes"));
    assert_eq!(gives("\"a\\nb\"", "1"), r#""a\nb""#);
    assert_eq!(gives(".", r#"{"a":1,"b":2,"a":3}"#), r#"{"a":3,"b":2}"#);
}

#[test]
fn errors_are_the_filters_own() {
    assert_eq!(
        fails("error(\"closed until 9\\n\")", "1"),
        "the filter's error: closed until 9"
    );
    assert_eq!(
        fails("error({code: 7})", "1"),
        r#"the filter's error: {"code":7}"#
    );
    assert_eq!(
        fails("error(.message)", r#"{"message":"a\u0007b"}"#),
        "the filter's error: a\\u{7}b"
    );
    assert_eq!(
        fails(".a.b", r#"{"a":"x"}"#),
        r#"the filter's error: cannot index "x" with "b""#
    );
    assert!(fails("error(\"x\" * 500)", "1").chars().count() <= 120 + "the filter's error: ".len());
    assert!(
        fails("reduce range(60) as $i (1; [., .]) | tonumber", "1")
            .starts_with("the filter's error: cannot use [[")
    );
    assert!(fails("[.[] | tonumber]", "[\"x\"]").contains("cannot use \"x\" as number"));
    assert_eq!(gives("try error(\"a\") catch .", "1"), "\"a\"");
    assert_eq!(gives("try error({a: 1}) catch .a", "1"), "1");
    assert_eq!(
        gives("[.[] | try tonumber catch \"bad\"]", "[\"1\",\"x\"]"),
        "[1,\"bad\"]"
    );
    assert_eq!(gives("[.[] | tonumber?]", "[\"1\",\"x\",\"2\"]"), "[1,2]");
    assert_eq!(gives("(.a.b? // 5)", r#"{"a":"x"}"#), "5");
}
