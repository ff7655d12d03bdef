//! The commands `serve` and `demo`: responses, signals, reloads and logs.

use std::io::Write as _;
use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::child_process::{TestProcess, base_url, program_command, run_program};
use crate::support::fake_provider::FakeProvider;
use crate::support::http_reply::http_get;
use crate::support::service_process::{ServiceFolder, ServiceProcess, SimulatorFixture};

#[test]
fn invalid_config_lists_every_problem() {
    let folder = ServiceFolder::new("[server]\nlisen = \"x\"\n[sources.btc]\nurl = \"htp://x\"\n");
    for command in ["serve", "once"] {
        let output = folder.run(command, &[]);
        assert_eq!(output.exit_code, Some(2), "{}", output.stderr);
        assert!(
            output.stderr.contains("did you mean `listen`?") && output.stderr.contains("2 errors"),
            "{}",
            output.stderr
        );
        assert!(
            !output.stderr.contains('\u{1b}') && output.stdout.is_empty(),
            "{}",
            output.stderr
        );
    }
    let missing = run_program(&["serve"], &[("RESUMEN_CONFIG", "/nowhere/resumen.toml")]);
    assert_eq!(missing.exit_code, Some(2));
    assert!(
        missing.stderr.contains("/nowhere/resumen.toml"),
        "{}",
        missing.stderr
    );
}

#[test]
fn serve_stops_on_sigint_or_sigterm() {
    let fixture = SimulatorFixture::new();
    fixture.write_sources(&[("btc", "/btc")]);
    for signal in [Signal::TERM, Signal::INT] {
        let service = fixture.serve();
        assert_eq!(service.get("/salud").body, "{\"status\":\"ok\"}");
        let address = service.address();
        let health = run_program(
            &["healthcheck"],
            &[("RESUMEN_LISTEN", &address.to_string())],
        );
        assert_eq!(health.exit_code, Some(0), "{}", health.stderr);
        let _idle = TcpStream::connect(address).unwrap();
        service.send_signal(signal);
        let output = service.process.wait_for_exit();
        assert_eq!(output.exit_code, Some(0), "{}", output.stderr);
        assert!(output.stderr.contains("stopped"), "{}", output.stderr);
    }
}

#[test]
fn second_signal_exits_at_once() {
    let fixture = SimulatorFixture::new();
    let server = "[server]\nshutdown_grace = \"10m\"\nmax_timeout = \"10m\"\n";
    let defaults = format!("timeout = \"10m\"\n{server}");
    fixture.write_sources_with(&defaults, &[("slow", "/btc?delay=1h")]);
    let service = fixture.serve();
    let mut waiting = TcpStream::connect(service.address()).unwrap();
    waiting
        .write_all(b"GET /resumen?fresh=1&timeout=600 HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    service.send_signal(Signal::TERM);
    service.wait_for_log("stopping");
    // A second signal within a moment counts as a repetition of the first, so it is sent repeatedly.
    service
        .process
        .signal_until_line(Signal::TERM, "stopping without draining");
    assert_eq!(service.process.wait_for_exit().exit_code, Some(0));
}

#[test]
fn start_logs_providers_and_intervals() {
    let fixture = SimulatorFixture::new();
    fixture.write_sources(&[("btc", "/btc"), ("clima", "/clima")]);
    let variables = [("RESUMEN_LOG_FORMAT", "json")];
    let program = TestProcess::start(&mut fixture.folder.serve_command(&variables));
    let start: Value = serde_json::from_str(&program.wait_for_stderr_line("\"starting\"")).unwrap();
    assert_eq!(
        (&start["sources"], &start["calls_per_day"]),
        (&2.into(), &48.into()),
        "{start}"
    );
    let source: Value =
        serde_json::from_str(&program.wait_for_stderr_line("\"source configured\"")).unwrap();
    assert_eq!(
        (&source["source"], &source["interval"]),
        (&"btc".into(), &"1h".into()),
        "{source}"
    );
    program.wait_for_stderr_line("\"listening\"");
}

#[test]
fn reload_is_atomic() {
    let fixture = SimulatorFixture::new();
    fixture.write_sources(&[("btc", "/btc")]);
    let service = fixture.serve();
    let before = service.results("/resumen");

    fixture.write_sources(&[("btc", "/btc?status=503"), ("clima", "/clima")]);
    service.send_signal(Signal::HUP);
    service.wait_for_log("configuration reloaded");
    let after = service.results("/resumen");
    assert_eq!(
        after.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["btc", "clima"]
    );
    assert_eq!(
        after["btc"]["data"], before["btc"]["data"],
        "a change of URL keeps the reading"
    );

    fixture
        .folder
        .write_config("[sources.btc]\nurl = \"nonsense\"\n");
    service.send_signal(Signal::HUP);
    service.wait_for_log("resumen.toml:2:");
    service.wait_for_log("configuration reload failed; the previous configuration stays in effect");
    assert_eq!(service.results("/resumen").as_object().unwrap().len(), 2);

    fixture.folder.write_config(&format!(
        "[store]\npath = \"\"\n[server]\nidle_timeout = \"9s\"\n[sources.x]\nurl = \"{}\"\n",
        service.base_url
    ));
    service.send_signal(Signal::HUP);
    assert!(
        service
            .wait_for_log("only a restart can change")
            .contains("only a restart can change server.idle_timeout")
    );
}

#[test]
fn changed_file_reloads_without_signal() {
    let fixture = SimulatorFixture::new();
    fixture.write_sources(&[("btc", "/btc")]);
    let service = fixture.serve();
    fixture.write_sources(&[("btc", "/btc"), ("usd", "/usd")]);
    service.wait_for_log("configuration reloaded");
    assert!(service.results("/resumen").get("usd").is_some());
}

#[test]
fn logs_and_errors_redact_secrets() {
    let fixture = SimulatorFixture::new();
    let url = format!(
        "{}/btc?status=${{STATUS}}&retry_after=${{TOKEN}}",
        fixture.simulator_url
    );
    fixture.folder.write_config(&format!(
        "[store]\npath = \"\"\n[sources.btc]\nurl = \"{url}\"\n"
    ));
    let variables = [
        ("TOKEN", "tok\"en-sesame"),
        ("STATUS", "400"),
        ("RESUMEN_LOG", "trace"),
    ];
    let service = ServiceProcess::start(&mut fixture.folder.serve_command(&variables));
    let result = service.results("/resumen")["btc"].take();
    assert_eq!(result["ok"], false, "{result}");
    let log = service.stop().stderr;
    assert!(log.contains("source failed"), "{log}");
    assert!(
        !log.contains("sesame") && !result.to_string().contains("sesame"),
        "{log}\n{result}"
    );
}

#[test]
fn log_names_failing_provider() {
    let [first, second] = ["1", "2"].map(FakeProvider::with_json);
    first.set_status("503 Service Unavailable");
    let table = |name: &str, provider: &FakeProvider| {
        let url = provider.url();
        format!("[[sources.usd.providers]]\nname = \"{name}\"\nurl = \"{url}\"\n")
    };
    let timing =
        "interval = \"500ms\"\ntimeout = \"500ms\"\nttl = \"1m\"\nmin_interval = \"1ms\"\n";
    let (preferred, other) = (table("preferred", &first), table("other", &second));
    let folder = ServiceFolder::new(&format!(
        "[store]\npath = \"\"\n[sources.usd]\n{timing}{preferred}{other}"
    ));
    let service = folder.serve();
    let line = service.wait_for_log("provider failed");
    for part in [
        "source=\"usd\"",
        "provider=\"preferred\"",
        "code=\"http_status\"",
        "error=\"HTTP 503",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(service.results("/resumen")["usd"]["ok"], true);
    first.set_json("1");
    let line = service.wait_for_log("provider recovered");
    assert!(
        line.contains("provider=\"preferred\"") && line.contains("failed_for_s="),
        "{line}"
    );
    for provider in [&first, &second] {
        provider.set_status("404 Not Found");
    }
    let line = service.wait_for_log("source failed");
    assert!(
        line.contains("provider=\"preferred\"") && line.contains("other: HTTP 404"),
        "{line}"
    );
    let log = service.stop().stderr;
    assert!(!log.contains("source recovered"), "{log}");
}

#[test]
fn demo_is_ready_within_three_seconds() {
    let program = TestProcess::start(&mut program_command(
        &["demo", "--listen", "127.0.0.1:0"],
        &[],
    ));
    let base = base_url(&program.wait_for_stdout_line("demonstration is on"));
    // The response waits for the first attempts, which have a timeout of one second.
    let response = http_get(&base, "/resumen").json();
    assert_eq!(response["complete"], true, "{response}");
    assert_eq!(response["resultados"].as_object().unwrap().len(), 5);
    assert!(
        response["resultados"]["btc_ars"]["data"]["ars"]
            .as_f64()
            .unwrap()
            > 1e6,
        "{response}"
    );
    program.send_signal(Signal::INT);
    assert_eq!(program.wait_for_exit().exit_code, Some(0));
}
