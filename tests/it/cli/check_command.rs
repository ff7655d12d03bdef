//! The command `check`: output and exit code.

use serde_json::Value;

use crate::support::child_process::run_program;
use crate::support::fake_provider::FakeProvider;
use crate::support::service_process::ServiceFolder;

#[test]
fn check_summarises_default_config() {
    let output = run_program(&["check"], &[]);
    assert_eq!((output.exit_code, output.stderr.as_str()), (Some(0), ""));
    let lines: Vec<String> = output
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for line in [
        "config/resumen.toml is valid: 3 sources, 1 derived",
        "btc 15s 4s 34s 1h coinbase, then kraken",
        "btc_ars 2h4s 4h computed from btc, usd",
        "clima, open-meteo 288 288 2880",
        "usd, coinbase 0 24 1440",
        "https://api.coinbase.com total 5760 5784 59040",
    ] {
        assert!(
            lines.iter().any(|known| known == line),
            "{line} is not in\n{}",
            output.stdout
        );
    }
}

#[test]
fn check_prints_json() {
    let output = run_program(
        &[
            "check",
            "--format",
            "json",
            "--config",
            "tests/config/valid/every_key.toml",
        ],
        &[
            ("TOKEN", "hidden-secret-token"),
            ("HOST", "api.example.org"),
            ("EMPTY", ""),
        ],
    );
    assert_eq!((output.exit_code, output.stderr.as_str()), (Some(0), ""));
    assert!(
        !output.stdout.contains("hidden-secret"),
        "{}",
        output.stdout
    );
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(report["valid"], true);
    assert_eq!(
        report["sources"][0]["providers"][0]["calls_per_day"]["at_most"],
        Value::Null
    );
    assert_eq!(report["sources"][4]["from"][0], "sum");
    let origins = report["origins"].as_array().unwrap();
    assert_eq!(origins.len(), 3);
    assert_eq!(origins[0]["origin"], "https://api.example.org");
    assert_eq!(
        origins[0]["calls_per_day"]["scheduled"],
        86_400 / 3 + 86_400 / 10 + 24
    );
}

#[test]
fn invalid_config_exits_with_2() {
    let path = "tests/config/invalid/warnings_beside_errors.toml";
    let output = run_program(&["check", "--config", path], &[]);
    assert_eq!((output.exit_code, output.stdout.as_str()), (Some(2), ""));
    assert!(
        output
            .stderr
            .trim_end()
            .ends_with("1 error, 1 warning; nothing was started"),
        "{}",
        output.stderr
    );

    let output = run_program(&["check", "--format", "json", "--config", path], &[]);
    assert_eq!((output.exit_code, output.stderr.as_str()), (Some(2), ""));
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(
        (&report["valid"], &report["sources"]),
        (&Value::Bool(false), &Value::Null)
    );
    let problem = &report["problems"][1];
    assert_eq!(
        (problem["line"].as_u64(), problem["column"].as_u64()),
        (Some(5), Some(1))
    );
    assert_eq!(problem["severity"], "error");
    assert_eq!(problem["help"], "did you mean `interval`?");
}

#[test]
fn piped_output_escapes_control_characters() {
    let provider = FakeProvider::with_json("{\"a\": \"\u{9b}31m\u{202e}\"}");
    let folder = ServiceFolder::new(&format!("[sources.a]\nurl = \"{}\"\n", provider.url()));
    let output = folder.run("check", &["--live"]);
    assert_eq!(output.exit_code, Some(0), "{}", output.stderr);
    assert_eq!(
        output.stdout.matches(r#""\u{9b}31m\u{202e}""#).count(),
        2,
        "raw and extracted: {}",
        output.stdout
    );
    assert!(
        !output.stdout.contains(['\u{9b}', '\u{202e}']),
        "{}",
        output.stdout
    );
}

#[test]
fn live_check_shows_metrics() {
    let provider = FakeProvider::with_json(
        r#"[{"q":"EUR","v":"1.5"},{"q":"EUR","v":2},{"q":"EUR","v":3},{"v":4}]"#,
    );
    let folder = ServiceFolder::new(&format!(
        "[sources.a]\nurl = \"{}\"\nmetrics = [{{ name = \"rate\", each = \".[]\", value = \".v\", labels = {{ quote = \".q\" }} }}]\n",
        provider.url()
    ));
    let text = folder.run("check", &["--live"]).stdout;
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("rate")).collect();
    let expected = [
        "  metric     rate{quote=\"EUR\"} 1.5",
        "  no metric  rate: label quote: null",
        "  no metric  rate: the series is repeated: rate{quote=\"EUR\"}",
    ];
    assert_eq!(lines, expected, "{text}");
}
