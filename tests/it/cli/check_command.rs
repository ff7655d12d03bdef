//! `check` as a process: what it prints where, and its exit code.

use serde_json::Value;

use crate::support::child_process::run_program;
use crate::support::fake_provider::FakeProvider;

#[test]
fn check_summarises_default_config() {
    let ended = run_program(&["check"], &[]);
    assert_eq!((ended.exit_code, ended.stderr.as_str()), (Some(0), ""));
    let lines: Vec<String> = ended
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
        "https://api.coinbase.com in all 5760 5784 59040",
    ] {
        assert!(
            lines.iter().any(|known| known == line),
            "{line} is not in\n{}",
            ended.stdout
        );
    }
}

#[test]
fn check_prints_json() {
    let ended = run_program(
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
    assert_eq!((ended.exit_code, ended.stderr.as_str()), (Some(0), ""));
    assert!(!ended.stdout.contains("hidden-secret"), "{}", ended.stdout);
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(found["valid"], true);
    assert_eq!(
        found["sources"][0]["providers"][0]["calls_per_day"]["at_most"],
        Value::Null
    );
    assert_eq!(found["sources"][2]["from"][0], "sum");
    let origins = found["origins"].as_array().unwrap();
    assert_eq!(origins.len(), 2);
    assert_eq!(origins[0]["origin"], "https://api.example.org");
    assert_eq!(origins[0]["calls_per_day"]["scheduled"], 86_400 / 3 + 24);
}

#[test]
fn invalid_config_exits_with_2() {
    let bad = "tests/config/invalid/warnings_beside_errors.toml";
    let ended = run_program(&["check", "--config", bad], &[]);
    assert_eq!((ended.exit_code, ended.stdout.as_str()), (Some(2), ""));
    assert!(
        ended
            .stderr
            .trim_end()
            .ends_with("1 error, 1 warning; nothing was started"),
        "{}",
        ended.stderr
    );

    let ended = run_program(&["check", "--format", "json", "--config", bad], &[]);
    assert_eq!((ended.exit_code, ended.stderr.as_str()), (Some(2), ""));
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&found["valid"], &found["sources"]),
        (&Value::Bool(false), &Value::Null)
    );
    let problem = &found["problems"][1];
    assert_eq!(
        (problem["line"].as_u64(), problem["column"].as_u64()),
        (Some(5), Some(1))
    );
    assert_eq!(problem["severity"], "error");
    assert_eq!(problem["help"], "did you mean `interval`?");
}

#[test]
fn piped_output_escapes_control_characters() {
    let stub = FakeProvider::with_json("{\"a\": \"\u{9b}31m\u{202e}\"}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resumen.toml");
    std::fs::write(&path, format!("[sources.a]\nurl = \"{}\"\n", stub.url())).unwrap();
    let ended = run_program(
        &["check", "--live", "--config", path.to_str().unwrap()],
        &[],
    );
    assert_eq!(ended.exit_code, Some(0), "{}", ended.stderr);
    assert_eq!(
        ended.stdout.matches(r#""\u{9b}31m\u{202e}""#).count(),
        2,
        "raw and extracted: {}",
        ended.stdout
    );
    assert!(
        !ended.stdout.contains(['\u{9b}', '\u{202e}']),
        "{}",
        ended.stdout
    );
}
