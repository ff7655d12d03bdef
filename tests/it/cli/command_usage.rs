//! The commands as processes: exit codes, messages, signals.

use rustix::process::Signal;

use crate::support::child_process::{
    TestProcess, base_url, http_get, program_command, run_program,
};

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
        let ended = run_program(arguments, &[]);
        assert_eq!(ended.exit_code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(
            ended.stderr.starts_with("error: ") && ended.stdout.is_empty(),
            "{arguments:?}: {}",
            ended.stderr
        );
    }
}

#[test]
fn invalid_log_settings_exit_with_2() {
    let simulate = ["simulate", "--listen", "127.0.0.1:0"];
    let ended = run_program(&simulate, &[("RESUMEN_LOG", "loud")]);
    assert_eq!(ended.exit_code, Some(2));
    assert!(
        ended.stderr.contains("\"loud\" is no level") && ended.stderr.contains("debug"),
        "{}",
        ended.stderr
    );
    let ended = run_program(&simulate, &[("RESUMEN_LOG_FORMAT", "xml")]);
    assert_eq!(
        (ended.exit_code, ended.stderr.contains("text or json")),
        (Some(2), true),
        "{}",
        ended.stderr
    );
}

#[test]
fn help_exits_with_0() {
    let ended = run_program(&["--help"], &[]);
    assert_eq!(ended.exit_code, Some(0));
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
        assert!(ended.stdout.contains(word), "{word}:\n{}", ended.stdout);
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
        let ended = run_program(&["completions", shell], &[]);
        assert_eq!(ended.exit_code, Some(0));
        assert!(
            ended.stdout.contains("healthcheck") && ended.stdout.contains("listen"),
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
        refused
            .stderr
            .contains("http://127.0.0.1:1/salud is not healthy: failed to connect"),
        "{}",
        refused.stderr
    );

    let simulator = TestProcess::start(&mut program_command(
        &["simulate", "--listen", "127.0.0.1:0"],
        &[],
    ));
    let base = base_url(&simulator.wait_for_stdout_line("simulated providers on"));
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
            .contains("/salud is not healthy: HTTP 404 Not Found: no such"),
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
    let fine = run_program(&["healthcheck", "--url", &format!("{base}/btc")], &[]);
    assert_eq!(
        (fine.exit_code, fine.stdout.starts_with("ok: ")),
        (Some(0), true),
        "{fine:?}"
    );
}

#[test]
fn simulator_varies_values_and_faults() {
    let simulator = TestProcess::start(&mut program_command(
        &["simulate", "--listen", "127.0.0.1:0"],
        &[],
    ));
    let base = base_url(&simulator.wait_for_stdout_line("simulated providers on"));
    let list = http_get(&base, "/").body;
    for path in ["/btc", "/clima", "/usd"] {
        assert!(list.contains(path));
        let answer = http_get(&base, path);
        assert_eq!(answer.status, 200);
        assert!(
            serde_json::from_str::<serde_json::Value>(&answer.body).is_ok(),
            "{}",
            answer.body
        );
    }
    assert_eq!(http_get(&base, "/btc?status=503").status, 503);
    let held = http_get(&base, "/clima?retry_after=30");
    assert!(
        held.status == 429 && held.head.contains("retry-after: 30"),
        "{}",
        held.head
    );
    assert!(
        http_get(&base, "/usd?body=html")
            .body
            .starts_with("<!DOCTYPE html>")
    );
    assert_eq!(http_get(&base, "/usd?close=head").head, "");
    let cut = http_get(&base, "/btc?body=truncated");
    assert!(
        cut.status == 200 && cut.body.starts_with("{\"data\"") && !cut.body.ends_with('}'),
        "{}",
        cut.body
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
        let simulator = TestProcess::start(&mut program_command(
            &["simulate", "--listen", "127.0.0.1:0"],
            &[],
        ));
        let base = base_url(&simulator.wait_for_stdout_line("simulated providers on"));
        let waiting = std::net::TcpStream::connect(&base[7..]).unwrap();
        std::io::Write::write_all(
            &mut &waiting,
            b"GET /btc?delay=1h HTTP/1.1\r\nHost: x\r\n\r\n",
        )
        .unwrap();
        simulator.send_signal(signal);
        let ended = simulator.wait_for_exit();
        assert_eq!(ended.exit_code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("stopping"), "{}", ended.stderr);
    }
}

#[test]
fn port_in_use_exits_with_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run_program(&["simulate", "--listen", &address], &[]);
    assert_eq!(ended.exit_code, Some(1));
    assert!(
        ended
            .stderr
            .contains(&format!("failed to listen on {address}")),
        "{}",
        ended.stderr
    );
}
