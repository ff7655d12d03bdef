//! Exit codes and messages of all commands, and the simulator.

use rustix::process::Signal;

use crate::support::child_process::run_program;
use crate::support::http_reply::http_get;
use crate::support::service_process::start_simulator;

#[test]
fn usage_error_exits_with_2() {
    for arguments in [
        &["--bogus"][..],
        &["nonsense"],
        &["--listen", "nowhere"],
        &["once", "--timeout", "0"],
        &["once", "--format", "xml"],
        &["simulate", "--listen", "8081"],
        &["healthcheck", "--url", "https://localhost"],
        &["--config", "x.toml", "demo"],
    ] {
        let output = run_program(arguments, &[]);
        assert_eq!(
            output.exit_code,
            Some(2),
            "{arguments:?}: {}",
            output.stderr
        );
        assert!(
            output.stderr.starts_with("error: ") && output.stdout.is_empty(),
            "{arguments:?}: {}",
            output.stderr
        );
    }
}

#[test]
fn invalid_log_settings_exit_with_2() {
    let simulate = ["simulate", "--listen", "127.0.0.1:0"];
    let output = run_program(&simulate, &[("RESUMEN_LOG", "loud")]);
    assert_eq!(output.exit_code, Some(2));
    assert!(
        output.stderr.contains("\"loud\" is not a level") && output.stderr.contains("debug"),
        "{}",
        output.stderr
    );
    let output = run_program(&simulate, &[("RESUMEN_LOG_FORMAT", "xml")]);
    assert_eq!(
        (output.exit_code, output.stderr.contains("text or json")),
        (Some(2), true),
        "{}",
        output.stderr
    );
}

#[test]
fn help_exits_with_0() {
    let output = run_program(&["--help"], &[]);
    assert_eq!(output.exit_code, Some(0));
    for word in [
        "Examples:",
        "RESUMEN_LOG",
        "Exit codes:",
        "demo",
        "simulate",
        "once",
        "check",
        "healthcheck",
    ] {
        assert!(output.stdout.contains(word), "{word}:\n{}", output.stdout);
    }
    let version = run_program(&["--version"], &[]);
    assert_eq!(version.exit_code, Some(0));
    assert!(
        version
            .stdout
            .starts_with(concat!("resumen ", env!("CARGO_PKG_VERSION"))),
        "{}",
        version.stdout
    );
}

#[test]
fn completions_and_man_page_list_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run_program(&["completions", shell], &[]);
        assert_eq!(output.exit_code, Some(0));
        assert!(
            output.stdout.contains("healthcheck") && output.stdout.contains("listen"),
            "{shell}"
        );
    }
    let page = run_program(&["man"], &[]);
    assert_eq!(page.exit_code, Some(0));
    for part in [
        ".TH resumen 1",
        ".SH HEALTHCHECK",
        "\\-\\-live",
        "RESUMEN_LOG_FORMAT  text or json",
    ] {
        assert!(page.stdout.contains(part), "{part}:\n{}", page.stdout);
    }
}

#[test]
fn health_check_reports_cause() {
    let refused = run_program(&["healthcheck", "--url", "http://127.0.0.1:1/salud"], &[]);
    assert_eq!(refused.exit_code, Some(1));
    assert!(
        refused.stderr.contains(
            "http://127.0.0.1:1/salud is not healthy: 127.0.0.1:1 refused the connection"
        ),
        "{}",
        refused.stderr
    );

    let (_simulator, base) = start_simulator();
    let wrong = run_program(
        &[
            "healthcheck",
            "--url",
            &format!("http://user:pass@{}/?k=v", &base[7..]),
        ],
        &[],
    );
    assert_eq!(wrong.exit_code, Some(1));
    assert!(
        wrong
            .stderr
            .contains("/salud is not healthy: HTTP 404 Not Found"),
        "{}",
        wrong.stderr
    );
    assert!(!wrong.stderr.contains("pass"), "{}", wrong.stderr);
    let slow = run_program(
        &["healthcheck", "--url", &format!("{base}/btc?delay=60s")],
        &[],
    );
    assert_eq!(slow.exit_code, Some(1));
    assert!(
        slow.stderr.contains("no answer within 3 s"),
        "{}",
        slow.stderr
    );
    let healthy = run_program(&["healthcheck", "--url", &format!("{base}/btc")], &[]);
    assert_eq!(
        (healthy.exit_code, healthy.stdout.starts_with("ok: ")),
        (Some(0), true),
        "{healthy:?}"
    );
}

#[test]
fn simulator_varies_values_and_faults() {
    let (_simulator, base) = start_simulator();
    let list = http_get(&base, "/").body;
    for path in ["/btc", "/clima", "/usd"] {
        assert!(list.contains(path));
        let reply = http_get(&base, path);
        assert_eq!(reply.status, 200);
        assert!(
            serde_json::from_str::<serde_json::Value>(&reply.body).is_ok(),
            "{}",
            reply.body
        );
    }
    assert_eq!(http_get(&base, "/btc?status=503").status, 503);
    let rate_limited = http_get(&base, "/clima?retry_after=30");
    assert!(
        rate_limited.status == 429 && rate_limited.head.contains("retry-after: 30"),
        "{}",
        rate_limited.head
    );
    assert!(
        http_get(&base, "/usd?body=html")
            .body
            .starts_with("<!DOCTYPE html>")
    );
    assert_eq!(http_get(&base, "/usd?close=head").head, "");
    let truncated = http_get(&base, "/btc?body=truncated");
    assert!(
        truncated.status == 200
            && truncated.body.starts_with("{\"data\"")
            && !truncated.body.ends_with('}'),
        "{}",
        truncated.body
    );
    let dripped = http_get(&base, "/btc?drip=1ms").body;
    assert!(dripped.ends_with("\"USD\"}}"), "{dripped}");
    let unknown = http_get(&base, "/btc?dely=1s");
    assert!(
        unknown.status == 400 && unknown.body.contains("there are delay, jitter"),
        "{}",
        unknown.body
    );
    assert_eq!(http_get(&base, "/nope").status, 404);
}

#[test]
fn signals_stop_simulator() {
    for signal in [Signal::TERM, Signal::INT] {
        let (simulator, base) = start_simulator();
        let waiting = std::net::TcpStream::connect(&base[7..]).unwrap();
        std::io::Write::write_all(
            &mut &waiting,
            b"GET /btc?delay=1h HTTP/1.1\r\nHost: x\r\n\r\n",
        )
        .unwrap();
        simulator.send_signal(signal);
        let output = simulator.wait_for_exit();
        assert_eq!(output.exit_code, Some(0), "{}", output.stderr);
        assert!(output.stderr.contains("stopping"), "{}", output.stderr);
    }
}

#[test]
fn port_in_use_exits_with_1() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output = run_program(&["simulate", "--listen", &address], &[]);
    assert_eq!(output.exit_code, Some(1));
    assert!(
        output
            .stderr
            .contains(&format!("failed to listen on {address}")),
        "{}",
        output.stderr
    );
}
