//! What the language of filters has, and what it has not.

use super::super::filter::Filter;
use super::{compile_error, run_ok};

/// Filter, body, result.
const CASES: &[(&str, &str, &str)] = &[
    ("[.[] | select(. > 1)] | length", "[1,2,3]", "2"),
    (
        "to_entries | map(\"\\(.key)=\\(.value)\") | join(\",\")",
        r#"{"a":1.50,"b":"x"}"#,
        r#""a=1.50,b=x""#,
    ),
    (
        "with_entries(.value += 1)",
        r#"{"a":1,"b":2}"#,
        r#"{"a":2,"b":3}"#,
    ),
    (
        "[{name: \"a\", value: 1}, {k: \"b\", v: 2}] | from_entries",
        "0",
        r#"{"a":1,"b":2}"#,
    ),
    (".a[1:] | first", r#"{"a":[1,2,3]}"#, "2"),
    (
        ".a.b.c = 1 | del(.x)",
        r#"{"x":1}"#,
        r#"{"a":{"b":{"c":1}}}"#,
    ),
    ("[.. | numbers]", r#"{"a":[1,{"b":2}]}"#, "[1,2]"),
    (
        "walk(if type == \"number\" then . + 1 else . end)",
        "[1,[2]]",
        "[2,[3]]",
    ),
    ("[paths]", r#"{"a":[5]}"#, r#"[["a"],["a",0]]"#),
    ("getpath([\"a\",0])", r#"{"a":[5]}"#, "5"),
    ("setpath([\"a\",\"b\"]; 1)", "null", r#"{"a":{"b":1}}"#),
    ("delpaths([[\"a\"]])", r#"{"a":1,"b":2}"#, r#"{"b":2}"#),
    ("[limit(3; repeat(. * 2))]", "1", "[1,2,4]"),
    (
        "[recurse(if . < 3 then . + 1 else empty end)]",
        "0",
        "[0,1,2,3]",
    ),
    ("[while(. < 50; . * 2)]", "10", "[10,20,40]"),
    ("until(. > 100; . * 2)", "10", "160"),
    (
        "label $out | foreach .[] as $i (0; . + $i; if . > 3 then ., break $out else empty end)",
        "[1,2,3,4]",
        "6",
    ),
    (
        "reduce .[] as [$a, {b: $b}] (0; . + $a * $b)",
        r#"[[1,{"b":2}],[3,{"b":4}]]"#,
        "14",
    ),
    (
        "[foreach .[] as $x (0; . + $x; [$x, .])]",
        "[1,2]",
        "[[1,1],[2,3]]",
    ),
    (
        "group_by(.k) | map({k: .[0].k, n: length})",
        r#"[{"k":1},{"k":2},{"k":1}]"#,
        r#"[{"k":1,"n":2},{"k":2,"n":1}]"#,
    ),
    (
        "max_by(.v).v, min_by(.v).v | select(. > 2)",
        r#"[{"v":3},{"v":1}]"#,
        "3",
    ),
    (
        "[sort, unique, (add / length), any, all]",
        "[3,1,1]",
        "[[1,1,3],[1,3],1.6666666666666667,true,true]",
    ),
    (
        "[match(\"(?:(?<x>a)|(?<y>ñ))+\"; \"g\")] ",
        "\"éñaé a\"",
        r#"[{"offset":1,"length":2,"string":"ña","captures":[{"offset":2,"length":1,"string":"a","name":"x"},{"offset":1,"length":1,"string":"ñ","name":"y"}]},{"offset":5,"length":1,"string":"a","captures":[{"offset":5,"length":1,"string":"a","name":"x"},{"offset":-1,"length":0,"string":null,"name":"y"}]}]"#,
    ),
    ("[splits(\", *\")]", "\"a, b,c\"", r#"["a","b","c"]"#),
    (
        "[match(\"[a-z]\"; \"g\").string, test(\"^x\"), sub(\"a\"; \"b\"), capture(\"(?<n>[0-9])\").n]",
        "\"xa1\"",
        r#"["x","a",true,"xb1","1"]"#,
    ),
    ("split(\",\") | map(tonumber) | add", "\"1,2,3\"", "6"),
    (
        "[ltrimstr(\"a\"), rtrimstr(\"c\"), ascii_upcase, explode[0], startswith(\"a\")]",
        "\"abc\"",
        r#"["bc","ab","ABC",97,true]"#,
    ),
    (
        "[@base64, @uri, @html, @sh, @json, @text]",
        "\"<é'\"",
        r#"["PMOpJw==","%3C%C3%A9%27","&lt;é&apos;","'<é'\\'''","\"<é'\"","<é'"]"#,
    ),
    ("@uri \"?q=\\(.q)\"", r#"{"q":"a b"}"#, r#""?q=a%20b""#),
    (
        "\"2026-11-22T06:55:10Z\" | fromdate | todate",
        "0",
        r#""2026-11-22T06:55:10Z""#,
    ),
    (
        "strptime(\"%Y-%m-%d\") | mktime",
        "\"2026-01-02\"",
        "1767312000",
    ),
    (
        "[tostring, tojson, (tojson | fromjson)]",
        r#"{"a":[1.0,null]}"#,
        r#"["{\"a\":[1.0,null]}","{\"a\":[1.0,null]}",{"a":[1.0,null]}]"#,
    ),
    ("[IN(1, 2), (.. |= . + 1)]", "2", "[true,3]"),
    (
        "INDEX(.id) | keys",
        r#"[{"id":1},{"id":"b"}]"#,
        r#"["1","b"]"#,
    ),
    (
        "[.[] as {a: $x, $b} | $x + $b]",
        r#"[{"a":1,"b":2}]"#,
        "[3]",
    ),
    (
        "{\"a b\": 1, (.k): 2, @base64 \"x\": 3, k}",
        r#"{"k":"z"}"#,
        r#"{"a b":1,"z":2,"x":3,"k":"z"}"#,
    ),
    (
        "{def: 1, if: .if, __typename: 2, import}",
        r#"{"if":3,"import":4}"#,
        r#"{"def":1,"if":3,"__typename":2,"import":4}"#,
    ),
    ("if . then \"a\" elif 1 then \"b\" end", "false", "\"b\""),
    ("(.a, .b) |= . + 1 | .c //= 7 | .a", r#"{"a":1,"b":2}"#, "2"),
    (
        "[.[] | (.x, .y) = 1]",
        r#"[{},{"x":0}]"#,
        r#"[{"x":1,"y":1},{"x":1,"y":1}]"#,
    ),
    (
        "pick(.a.b)",
        r#"{"a":{"b":1,"c":2},"d":3}"#,
        r#"{"a":{"b":1}}"#,
    ),
    ("[combinations]", "[[1,2],[3]]", "[[1,3],[2,3]]"),
    ("transpose", "[[1,2],[3]]", "[[1,3],[2,null]]"),
    (
        "[range(0; 10; 3), range(3; 0; -2), range(2)]",
        "0",
        "[0,3,6,9,3,1,0,1]",
    ),
    ("first(range(10; 0; -1)) # a comment", "0", "10"),
];

#[test]
fn filter_language_is_jq() {
    for (filter, body, result) in CASES {
        assert_eq!(run_ok(filter, body), *result, "{filter}");
    }
}

#[test]
fn outside_access_is_refused() {
    for (filter, part) in [
        ("halt", "halt"),
        ("1 | halt_error", "halt_error"),
        ("env.HOME", "env"),
        ("$ENV.HOME", "$ENV"),
        ("[inputs]", "inputs"),
        ("input", "input"),
        ("debug", "debug"),
        (".a | debug(\"x\")", "debug"),
        ("stderr", "stderr"),
        ("now", "now"),
        ("input_filename", "input_filename"),
        ("$__loc__", "$__loc__"),
        ("0 | localtime", "localtime"),
        ("import \"a\" as a; .", "import"),
        ("include \"a\"; .", "include"),
    ] {
        let (message, at) = compile_error(filter);
        assert!(message.contains("is not allowed"), "{filter}: {message}");
        assert_eq!(at, part, "{filter}");
    }
}

#[test]
fn compile_error_has_a_span() {
    for (filter, message, at) in [
        (
            ".a | qwertz",
            "unknown function `qwertz`; a key of that name is written `.qwertz`",
            "qwertz",
        ),
        (
            "map(.a) | lenght",
            "unknown function `lenght`; did you mean `length`?",
            "lenght",
        ),
        ("map(1; 2)", "`map` takes 1 argument, not 2", "map"),
        (
            "range",
            "`range` takes 1 or 2 or 3 arguments, not 0",
            "range",
        ),
        ("$x", "unknown variable `$x`", "$x"),
        (
            "zzz | yyy",
            "unknown function `zzz`; a key of that name is written `.zzz`",
            "zzz",
        ),
        (
            "root",
            "unknown function `root`; a key of that name is written `.root`",
            "root",
        ),
        (".a |", "expected term, found the end", ""),
        ("", "expected term, found the end", ""),
        ("{a: }", "expected term, found `}`", "}"),
        ("[1, 2", "expected closing bracket, found the end", ""),
        (".a .b)", "unexpected `)`", ")"),
        ("1 2", "unexpected `2`", "2"),
        ("\"\\q\"", "expected string escape sequence, found `q`", "q"),
        ("if . then 1", "expected else or end, found the end", ""),
        ("& ; &", "unexpected `&`; in jq it is `and`", "&"),
        (". as $x", "expected `|`, found the end", ""),
    ] {
        assert_eq!(
            compile_error(filter),
            (message.to_owned(), at.to_owned()),
            "{filter}"
        );
    }
}

/// Texts with common mistakes and paths of other tools: text, error, and the part of the text that the error marks.
const FIRST_HOUR: &[(&str, &str, &str)] = &[
    (
        ".disk-space.x",
        "a key with a dash is written `.\"disk-space\"`",
        ".disk-space",
    ),
    (
        "{disk-space}",
        "a key with a dash is written `\"disk-space\"`",
        "disk-space",
    ),
    (
        "map(.a.b-c)",
        "a key with a dash is written `.\"b-c\"`",
        ".b-c",
    ),
    (
        ".24h.v",
        "a key that begins with a digit is written `.\"24h\"`",
        ".24h",
    ),
    (
        ".items.0.x",
        "an element of an array is written with brackets: `.items[0].x`",
        ".0",
    ),
    (
        "data.amount",
        "unknown function `data`; did you mean `.data.amount`?",
        "data",
    ),
    (
        "data[\"a b\"].c",
        "unknown function `data`; did you mean `.data.\"a b\".c`?",
        "data",
    ),
    (
        "value_json.x",
        "unknown function `value_json`; did you mean `.x`?",
        "value_json",
    ),
    (
        "$.data.amount",
        "this is JSONPath; in jq it is `.data.amount`",
        "$.data.amount",
    ),
    (
        "$.items[0].x | tonumber",
        "this is JSONPath; in jq it is `.items[0].x`",
        "$.items[0].x",
    ),
    (
        "$['a']['b c'][*]",
        "this is JSONPath; in jq it is `.a.\"b c\"[]`",
        "$['a']['b c'][*]",
    ),
    ("$..x", "this is JSONPath", "$..x"),
    (
        "{ .a.b[0] }",
        "this is JSONPath; in jq it is `.a.b[0]`",
        "{ .a.b[0] }",
    ),
    ("{[*]}", "this is JSONPath; in jq it is `.[]`", "{[*]}"),
    (
        "{.a[?(@.b == 1)]} ",
        "this is JSONPath",
        "{.a[?(@.b == 1)]}",
    ),
    (
        "{{ value_json.x }}",
        "this is a template; in jq it is `.x`",
        "{{ value_json.x }}",
    ),
    (
        "{{ value_json['a'] | float }}",
        "this is a template; in jq it is `.a | tonumber`",
        "{{ value_json['a'] | float }}",
    ),
    (
        ".é",
        "a key with a letter beyond a to z is written `.\"é\"`",
        ".é",
    ),
    (
        ".a | int",
        "unknown function `int`; in jq it is `tonumber | trunc`",
        "int",
    ),
    (
        ".a | replace(\"a\"; \"b\")",
        "unknown function `replace`; in jq it is `gsub(\"old\"; \"new\")`",
        "replace",
    ),
    (
        ".a // None",
        "unknown function `None`; in jq it is `null`",
        "None",
    ),
    (".a && .b", "unexpected `&`; in jq it is `and`", "&"),
    (".a || .b", "unexpected `||`; in jq it is `or`", "||"),
    (
        ".v | gsub(\"(?=([0-9]{3})+$)\"; \",\")",
        "the regular expression is not valid: look-around is not supported",
        "(?=([0-9]{3})+$)",
    ),
    (
        ".v | test(\"a\"; \"z\")",
        "the regular expression is not valid: z is not a valid modifier string",
        "a",
    ),
    (
        "split(\"(\"; null)",
        "the regular expression is not valid: found open group without closing ')'",
        "(",
    ),
];

#[test]
fn first_hour_errors_name_the_remedy() {
    for (filter, message, at) in FIRST_HOUR {
        assert_eq!(
            compile_error(filter),
            ((*message).to_owned(), (*at).to_owned()),
            "{filter}"
        );
    }
    // These are filters.
    for filter in [
        ".a-1",
        ".a - .b",
        "split(\"(\")",
        "def test(x): x; test(\"(\")",
        ".a | test(.b)",
        "\"$.a\"",
        "\"a-b\" | length",
        ". as $x | $x.a",
    ] {
        assert!(Filter::compile(filter).is_ok(), "{filter}");
    }
}

#[test]
fn long_rows_are_refused_not_recursed() {
    for (link, words) in [
        ("-", 1),
        (".|", 2),
        ("1,", 2),
        ("1+", 2),
        ("1//", 2),
        (".|=", 2),
    ] {
        let row = |count: usize| link.repeat(count / words) + "1";
        let (message, _) = compile_error(&row(20_000));
        let expected = "a filter has at most 16384 words and operators in a row";
        assert_eq!(message, expected, "{link}");
        assert!(Filter::compile(&row(16_000)).is_ok(), "{link}");
    }
}
