//! The commands as processes: exit codes, messages, signals.

use rustix::process::Signal;

use crate::program::{Program, base, command, get, run};

#[test]
fn bad_usage_is_2_with_a_hint() {
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
        let ended = run(arguments, &[]);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.err);
        assert!(
            ended.err.starts_with("error: ") && ended.out.is_empty(),
            "{arguments:?}: {}",
            ended.err
        );
    }
}

#[test]
fn bad_log_settings_are_2_and_say_what_there_is() {
    let simulate = ["simulate", "--listen", "127.0.0.1:0"];
    let ended = run(&simulate, &[("RESUMEN_LOG", "loud")]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.err.contains("\"loud\" is no level") && ended.err.contains("debug"),
        "{}",
        ended.err
    );
    let ended = run(&simulate, &[("RESUMEN_LOG_FORMAT", "xml")]);
    assert_eq!(
        (ended.code, ended.err.contains("text or json")),
        (Some(2), true),
        "{}",
        ended.err
    );
}

#[test]
fn help_teaches_and_is_fine() {
    let ended = run(&["--help"], &[]);
    assert_eq!(ended.code, Some(0));
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
        assert!(ended.out.contains(word), "{word}:\n{}", ended.out);
    }
    let version = run(&["--version"], &[]);
    assert_eq!(version.code, Some(0));
    assert!(
        version
            .out
            .starts_with(concat!("resumen ", env!("CARGO_PKG_VERSION"))),
        "{}",
        version.out
    );
}

#[test]
fn completions_and_the_manual_page_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = run(&["completions", shell], &[]);
        assert_eq!(ended.code, Some(0));
        assert!(
            ended.out.contains("healthcheck") && ended.out.contains("listen"),
            "{shell}"
        );
    }
    let page = run(&["man"], &[]);
    assert_eq!(page.code, Some(0));
    for part in [
        ".TH resumen 1",
        ".SH HEALTHCHECK",
        "\\-\\-live",
        "RESUMEN_LOG_FORMAT  text or json",
    ] {
        assert!(page.out.contains(part), "{part}:\n{}", page.out);
    }
}

#[test]
fn a_health_check_tells_what_is_wrong() {
    let refused = run(&["healthcheck", "--url", "http://127.0.0.1:1/salud"], &[]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused
            .err
            .contains("http://127.0.0.1:1/salud is not healthy: failed to connect"),
        "{}",
        refused.err
    );

    let simulator = Program::start(&mut command(&["simulate", "--listen", "127.0.0.1:0"], &[]));
    let base = base(&simulator.out_line("simulated providers on"));
    let wrong = run(
        &[
            "healthcheck",
            "--url",
            &format!("http://user:pass@{}/?k=v", &base[7..]),
        ],
        &[],
    );
    assert_eq!(wrong.code, Some(1));
    assert!(
        wrong
            .err
            .contains("/salud is not healthy: HTTP 404 Not Found: no such"),
        "{}",
        wrong.err
    );
    assert!(!wrong.err.contains("pass"), "{}", wrong.err);
    let slow = run(
        &["healthcheck", "--url", &format!("{base}/btc?delay=60s")],
        &[],
    );
    assert_eq!(slow.code, Some(1));
    assert!(slow.err.contains("no answer within 3 s"), "{}", slow.err);
    let fine = run(&["healthcheck", "--url", &format!("{base}/btc")], &[]);
    assert_eq!(
        (fine.code, fine.out.starts_with("ok: ")),
        (Some(0), true),
        "{fine:?}"
    );
}

#[test]
fn simulated_values_move_and_faults_are_told_apart() {
    let simulator = Program::start(&mut command(&["simulate", "--listen", "127.0.0.1:0"], &[]));
    let base = base(&simulator.out_line("simulated providers on"));
    let list = get(&base, "/").body;
    for path in ["/btc", "/clima", "/usd"] {
        assert!(list.contains(path));
        let answer = get(&base, path);
        assert_eq!(answer.status, 200);
        assert!(
            serde_json::from_str::<serde_json::Value>(&answer.body).is_ok(),
            "{}",
            answer.body
        );
    }
    assert_eq!(get(&base, "/btc?status=503").status, 503);
    let held = get(&base, "/clima?retry_after=30");
    assert!(
        held.status == 429 && held.head.contains("retry-after: 30"),
        "{}",
        held.head
    );
    assert!(
        get(&base, "/usd?body=html")
            .body
            .starts_with("<!DOCTYPE html>")
    );
    assert_eq!(get(&base, "/usd?close=head").head, "");
    let cut = get(&base, "/btc?body=truncated");
    assert!(
        cut.status == 200 && cut.body.starts_with("{\"data\"") && !cut.body.ends_with('}'),
        "{}",
        cut.body
    );
    let dripped = get(&base, "/btc?drip=1ms").body;
    assert!(dripped.ends_with("\"USD\"}}"), "{dripped}");
    let unknown = get(&base, "/btc?dely=1s");
    assert!(
        unknown.status == 400 && unknown.body.contains("there are delay, jitter"),
        "{}",
        unknown.body
    );
    assert_eq!(get(&base, "/nope").status, 404);
}

#[test]
fn signals_stop_the_simulator_whatever_hangs_on_it() {
    for signal in [Signal::TERM, Signal::INT] {
        let simulator = Program::start(&mut command(&["simulate", "--listen", "127.0.0.1:0"], &[]));
        let base = base(&simulator.out_line("simulated providers on"));
        let waiting = std::net::TcpStream::connect(&base[7..]).unwrap();
        std::io::Write::write_all(
            &mut &waiting,
            b"GET /btc?delay=1h HTTP/1.1\r\nHost: x\r\n\r\n",
        )
        .unwrap();
        simulator.signal(signal);
        let ended = simulator.end();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(ended.err.contains("stops"), "{}", ended.err);
    }
}

#[test]
fn a_port_in_use_is_a_failure_at_run_time() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run(&["simulate", "--listen", &address], &[]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended
            .err
            .contains(&format!("failed to listen on {address}")),
        "{}",
        ended.err
    );
}
