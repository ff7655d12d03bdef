//! The service, the demonstration and `once` as processes: a configuration in, answers, signals and logs out.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::child_process::{
    ProcessOutput, TestProcess, base_url, http_get, program_command, run_program,
};
use crate::support::fake_provider::FakeProvider;

/// A configuration in a folder of its own, and the simulator that its sources ask.
struct SimulatorFixture {
    folder: TempDir,
    simulator: String,
    _simulator: TestProcess,
}

impl SimulatorFixture {
    fn new() -> Self {
        let program = TestProcess::start(&mut program_command(
            &["simulate", "--listen", "127.0.0.1:0"],
            &[],
        ));
        let simulator = base_url(&program.wait_for_stdout_line("simulated providers on"));
        Self {
            folder: tempfile::tempdir().unwrap(),
            simulator,
            _simulator: program,
        }
    }

    fn config_path(&self) -> PathBuf {
        self.folder.path().join("resumen.toml")
    }

    /// Writes a configuration with these sources, each asked with this query.
    fn write_sources(&self, sources: &[(&str, &str)]) {
        let head = "[store]\npath = \"\"\n[defaults]\ninterval = \"1h\"\ntimeout = \"5s\"\n";
        let source = |(name, target): &(_, _)| {
            format!("[sources.{name}]\nurl = \"{}{target}\"\n", self.simulator)
        };
        let sources: String = sources.iter().map(source).collect();
        replace_file(&self.config_path(), &format!("{head}{sources}"));
    }

    fn start_serve(&self, variables: &[(&str, &str)]) -> (TestProcess, String) {
        let config = self.config_path();
        let arguments = [
            "--config",
            config.to_str().unwrap(),
            "--listen",
            "127.0.0.1:0",
        ];
        let program = TestProcess::start(
            program_command(&arguments, variables).current_dir(self.folder.path()),
        );
        let line = program.wait_for_stderr_line("listens");
        let address = line
            .split("address=")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap();
        (program, format!("http://{address}"))
    }

    fn run_once(&self, arguments: &[&str]) -> ProcessOutput {
        let config = self.config_path();
        let arguments = [&["once", "--config", config.to_str().unwrap()], arguments].concat();
        TestProcess::start(program_command(&arguments, &[]).current_dir(self.folder.path()))
            .wait_for_exit()
    }
}

/// At once, as careful editors do.
fn replace_file(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, path).unwrap();
}

fn get_results(base: &str, target: &str) -> Value {
    let answer = http_get(base, target);
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str::<Value>(&answer.body).unwrap()["resultados"].take()
}

#[test]
fn invalid_config_lists_every_problem() {
    let stage = SimulatorFixture::new();
    replace_file(
        &stage.config_path(),
        "[server]\nlisen = \"x\"\n[sources.btc]\nurl = \"htp://x\"\n",
    );
    let config = stage.config_path();
    for command_name in ["serve", "once"] {
        let ended = run_program(&[command_name, "--config", config.to_str().unwrap()], &[]);
        assert_eq!(ended.exit_code, Some(2), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("did you mean `listen`?") && ended.stderr.contains("2 errors"),
            "{}",
            ended.stderr
        );
        assert!(
            !ended.stderr.contains('\u{1b}') && ended.stdout.is_empty(),
            "{}",
            ended.stderr
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
    let stage = SimulatorFixture::new();
    stage.write_sources(&[("btc", "/btc")]);
    for signal in [Signal::TERM, Signal::INT] {
        let (program, base) = stage.start_serve(&[]);
        assert_eq!(http_get(&base, "/salud").body, "{\"status\":\"ok\"}");
        let health = run_program(&["healthcheck"], &[("RESUMEN_LISTEN", &base[7..])]);
        assert_eq!(health.exit_code, Some(0), "{}", health.stderr);
        let _idle = TcpStream::connect(&base[7..]).unwrap();
        program.send_signal(signal);
        let ended = program.wait_for_exit();
        assert_eq!(ended.exit_code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("stopped"), "{}", ended.stderr);
    }
}

#[test]
fn second_signal_exits_at_once() {
    let stage = SimulatorFixture::new();
    stage.write_sources(&[("slow", "/btc?delay=1h")]);
    let text = fs::read_to_string(stage.config_path())
        .unwrap()
        .replace("5s", "10m");
    replace_file(
        &stage.config_path(),
        &format!("[server]\nshutdown_grace = \"10m\"\nmax_timeout = \"10m\"\n{text}"),
    );
    let (program, base) = stage.start_serve(&[]);
    let mut waiting = TcpStream::connect(&base[7..]).unwrap();
    waiting
        .write_all(b"GET /resumen?fresh=1&timeout=600 HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    program.send_signal(Signal::TERM);
    program.wait_for_stderr_line("stopping");
    // A signal right after the first is taken for its echo; who means it sends it again.
    program.signal_until_line(Signal::TERM, "stopping without draining");
    assert_eq!(program.wait_for_exit().exit_code, Some(0));
}

#[test]
fn start_logs_providers_and_intervals() {
    let stage = SimulatorFixture::new();
    stage.write_sources(&[("btc", "/btc"), ("clima", "/clima")]);
    let config = stage.config_path();
    let arguments = [
        "--config",
        config.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ];
    let program = TestProcess::start(
        program_command(&arguments, &[("RESUMEN_LOG_FORMAT", "json")]).current_dir(&stage.folder),
    );
    let start: Value = serde_json::from_str(&program.wait_for_stderr_line("\"starts\"")).unwrap();
    assert_eq!(
        (&start["sources"], &start["calls_per_day"]),
        (&2.into(), &48.into()),
        "{start}"
    );
    let source: Value = serde_json::from_str(&program.wait_for_stderr_line("\"asks\"")).unwrap();
    assert_eq!(
        (&source["source"], &source["interval"]),
        (&"btc".into(), &"1h".into()),
        "{source}"
    );
    program.wait_for_stderr_line("\"listens\"");
}

#[test]
fn reload_is_atomic() {
    let stage = SimulatorFixture::new();
    stage.write_sources(&[("btc", "/btc")]);
    let (program, base) = stage.start_serve(&[]);
    let before = get_results(&base, "/resumen");

    stage.write_sources(&[("btc", "/btc?status=503"), ("clima", "/clima")]);
    program.send_signal(Signal::HUP);
    program.wait_for_stderr_line("the configuration was taken over");
    let after = get_results(&base, "/resumen");
    assert_eq!(
        after.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["btc", "clima"]
    );
    assert_eq!(
        after["btc"]["data"], before["btc"]["data"],
        "a change of URL keeps the reading"
    );

    replace_file(&stage.config_path(), "[sources.btc]\nurl = \"nonsense\"\n");
    program.send_signal(Signal::HUP);
    program.wait_for_stderr_line("resumen.toml:2:");
    program.wait_for_stderr_line("the configuration was refused; the old one goes on");
    assert_eq!(get_results(&base, "/resumen").as_object().unwrap().len(), 2);

    replace_file(
        &stage.config_path(),
        &format!(
            "[store]\npath = \"\"\n[server]\nidle_timeout = \"9s\"\n[sources.x]\nurl = \"{base}\"\n"
        ),
    );
    program.send_signal(Signal::HUP);
    assert!(
        program
            .wait_for_stderr_line("the old one goes on")
            .contains("only a restart can change server.idle_timeout")
    );
}

#[test]
fn changed_file_reloads_without_signal() {
    let stage = SimulatorFixture::new();
    stage.write_sources(&[("btc", "/btc")]);
    let (program, base) = stage.start_serve(&[]);
    stage.write_sources(&[("btc", "/btc"), ("usd", "/usd")]);
    program.wait_for_stderr_line("the configuration was taken over");
    assert!(get_results(&base, "/resumen").get("usd").is_some());
}

#[test]
fn logs_and_errors_redact_secrets() {
    let stage = SimulatorFixture::new();
    let url = format!(
        "{}/btc?status=${{STATUS}}&retry_after=${{TOKEN}}",
        stage.simulator
    );
    replace_file(
        &stage.config_path(),
        &format!("[store]\npath = \"\"\n[sources.btc]\nurl = \"{url}\"\n"),
    );
    let secret = [
        ("TOKEN", "tok\"en-sesame"),
        ("STATUS", "400"),
        ("RESUMEN_LOG", "trace"),
    ];
    let (program, base) = stage.start_serve(&secret);
    let result = get_results(&base, "/resumen")["btc"].take();
    assert_eq!(result["ok"], false, "{result}");
    program.send_signal(Signal::TERM);
    let ended = program.wait_for_exit();
    assert!(ended.stderr.contains("source failed"), "{}", ended.stderr);
    assert!(
        !ended.stderr.contains("sesame") && !result.to_string().contains("sesame"),
        "{}\n{result}",
        ended.stderr
    );
}

#[test]
fn log_names_failing_provider() {
    let stage = SimulatorFixture::new();
    let [first, second] = ["1", "2"].map(FakeProvider::with_json);
    first.update_response(|answer| answer.status = "503 Service Unavailable");
    let provider = |name: &str, stub: &FakeProvider| {
        format!(
            "[[sources.usd.providers]]\nname = \"{name}\"\nurl = \"{}\"\n",
            stub.url()
        )
    };
    let pace = "interval = \"50ms\"\ntimeout = \"50ms\"\nttl = \"1m\"\nmin_interval = \"1ms\"\n";
    let (preferred, other) = (provider("preferred", &first), provider("other", &second));
    replace_file(
        &stage.config_path(),
        &format!("[store]\npath = \"\"\n[sources.usd]\n{pace}{preferred}{other}"),
    );
    let (program, base) = stage.start_serve(&[]);
    let line = program.wait_for_stderr_line("provider failed");
    for part in [
        "source=usd",
        "provider=preferred",
        "code=http_status",
        "error=\"HTTP 503",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(get_results(&base, "/resumen")["usd"]["ok"], true);
    first.set_json("1");
    let line = program.wait_for_stderr_line("provider recovered");
    assert!(
        line.contains("provider=preferred") && line.contains("failed_for_s="),
        "{line}"
    );
    for stub in [&first, &second] {
        stub.update_response(|answer| answer.status = "404 Not Found");
    }
    let line = program.wait_for_stderr_line("source failed");
    assert!(
        line.contains("provider=preferred") && line.contains("other: HTTP 404"),
        "{line}"
    );
    program.send_signal(Signal::TERM);
    let log = program.wait_for_exit().stderr;
    assert!(!log.contains("source recovered"), "{log}");
}

#[test]
fn demo_is_ready_within_three_seconds() {
    let program = TestProcess::start(&mut program_command(
        &["demo", "--listen", "127.0.0.1:0"],
        &[],
    ));
    let base = base_url(&program.wait_for_stdout_line("demonstration is on"));
    // The first answer waits for the first round, each of whose attempts has a second.
    let answer: Value = serde_json::from_str(&http_get(&base, "/resumen").body).unwrap();
    assert_eq!(answer["complete"], true, "{answer}");
    assert_eq!(answer["resultados"].as_object().unwrap().len(), 5);
    assert!(
        answer["resultados"]["btc_ars"]["data"]["ars"]
            .as_f64()
            .unwrap()
            > 1e6,
        "{answer}"
    );
    program.send_signal(Signal::INT);
    assert_eq!(program.wait_for_exit().exit_code, Some(0));
}

#[test]
fn once_prints_service_response() {
    let stage = SimulatorFixture::new();
    stage.write_sources(&[("btc", "/btc"), ("usd", "/usd?delay=20ms")]);
    let ended = stage.run_once(&[]);
    assert_eq!(
        (ended.exit_code, ended.stderr.as_str()),
        (Some(0), ""),
        "{}",
        ended.stdout
    );
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&answer["origen"], &answer["complete"]),
        (&"live".into(), &true.into())
    );
    assert_eq!(answer["resultados"]["btc"]["from"], "live");
    assert_eq!(
        answer["resultados"]["btc"]["data"]["data"]["currency"],
        "USD"
    );
}

#[test]
fn once_prints_failures_and_exits_1() {
    let stage = SimulatorFixture::new();
    stage.write_sources(&[
        ("btc", "/btc"),
        ("clima", "/clima?status=503"),
        ("usd", "/usd?delay=1h"),
    ]);
    let ended = stage.run_once(&["--timeout", "1.5", "--format", "table"]);
    assert_eq!(
        (ended.exit_code, ended.stderr.as_str()),
        (Some(1), ""),
        "{}",
        ended.stdout
    );
    insta::assert_snapshot!(without_digits(&ended.stdout), @r#"
    SOURCE STATE AGE MS PROVIDER DATA
    btc fresh N.N s N N-N-N-N data {"amount":"N.N","base":"BTC","currency":"USD"}
    clima missing N
     http_status: HTTP N Service Unavailable: "Service Unavailable"
    usd missing
     timeout: no answer within this request's N.N s; the attempt goes on

    N of N ok, live at N-N-NTN:N:N.NZ
    failing: clima (http_status), usd (timeout)
    "#);
}

#[test]
fn once_prints_failing_provider() {
    let stage = SimulatorFixture::new();
    let head = "[store]\npath = \"state.json\"\n[defaults]\ninterval = \"1h\"\n[sources.clima]\n";
    let provider = |name: &str, target: &str| {
        format!(
            "[[sources.usd.providers]]\nname = \"{name}\"\nurl = \"{}{target}\"\n",
            stage.simulator
        )
    };
    let (bad, good) = (
        provider("preferred", "/usd?status=503"),
        provider("other", "/usd"),
    );
    replace_file(
        &stage.config_path(),
        &format!(
            "{head}url = \"{}/clima?status=404\"\n{bad}{good}",
            stage.simulator
        ),
    );
    let table = |line: &str| {
        let out = stage.run_once(&["--format", "table"]).stdout;
        out.lines()
            .find(|one| one.contains(line))
            .unwrap_or_else(|| panic!("{out}"))
            .trim()
            .to_owned()
    };
    let unknown = [table("HTTP 404"), table("preferred")];
    assert!(
        unknown[0].starts_with("http_status: HTTP 404"),
        "its own attempt is no beginning: {unknown:?}"
    );
    assert!(
        unknown[1].starts_with("provider preferred: http_status: HTTP 503"),
        "{unknown:?}"
    );
    let (program, base) = stage.start_serve(&[]);
    let begun = get_results(&base, "/resumen")["clima"]["failing_since"]
        .as_str()
        .unwrap()[11..19]
        .to_owned();
    program.send_signal(Signal::TERM);
    assert_eq!(program.wait_for_exit().exit_code, Some(0));
    assert_eq!(
        table("HTTP 404").split(": HTTP").next().unwrap(),
        format!("http_status since {begun}Z")
    );
    assert!(table("preferred").starts_with("provider preferred: http_status since "));
}

/// What stays the same from run to run: each number is `N`, and columns are one space apart.
fn without_digits(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let c = if c.is_ascii_digit() { 'N' } else { c };
        if !(out.ends_with(c) && matches!(c, 'N' | ' ')) {
            out.push(c);
        }
    }
    out
}

#[test]
fn check_live_prints_body_and_data() {
    let stage = SimulatorFixture::new();
    stage.write_sources(&[
        (
            "btc",
            "/btc\"\nextract = '{usd: (.data.amount | tonumber)}'\n#",
        ),
        ("usd", "/usd?status=503"),
    ]);
    let config = stage.config_path();
    let check = |format| {
        run_program(
            &[
                "check",
                "--live",
                "--config",
                config.to_str().unwrap(),
                "--format",
                format,
            ],
            &[],
        )
    };
    let ended = check("json");
    assert_eq!(ended.exit_code, Some(1), "{}", ended.stderr);
    let findings: Value = serde_json::from_str(&ended.stdout).unwrap();
    let (btc, usd) = (&findings["live"][0], &findings["live"][1]);
    assert!(
        btc["raw"]
            .as_str()
            .unwrap()
            .contains("\"currency\":\"USD\""),
        "{btc:#}"
    );
    assert!(
        btc["data"]["usd"].is_number() && btc["ok"] == true,
        "{btc:#}"
    );
    assert_eq!(
        (&usd["ok"], &usd["code"]),
        (&false.into(), &"http_status".into())
    );
    let text = check("text").stdout;
    assert!(
        text.contains("  extracted  {\"usd\":")
            && text.contains("  failed     http_status: HTTP 503"),
        "{text}"
    );
}
