//! The service, the demonstration and `once` as processes: a configuration in, answers, signals and logs out.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ended, Program, base, command, get, run};
use crate::support::stub::Stub;

/// A configuration in a folder of its own, and the simulator that its sources ask.
struct Stage {
    folder: TempDir,
    simulator: String,
    _simulator: Program,
}

impl Stage {
    fn new() -> Self {
        let program = Program::start(&mut command(&["simulate", "--listen", "127.0.0.1:0"], &[]));
        let simulator = base(&program.out_line("simulated providers on"));
        Self {
            folder: tempfile::tempdir().unwrap(),
            simulator,
            _simulator: program,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("resumen.toml")
    }

    /// Writes a configuration with these sources, each asked with this query.
    fn write(&self, sources: &[(&str, &str)]) {
        let head = "[store]\npath = \"\"\n[defaults]\ninterval = \"1h\"\ntimeout = \"5s\"\n";
        let source = |(name, target): &(_, _)| {
            format!("[sources.{name}]\nurl = \"{}{target}\"\n", self.simulator)
        };
        let sources: String = sources.iter().map(source).collect();
        replace(&self.path(), &format!("{head}{sources}"));
    }

    fn serve(&self, variables: &[(&str, &str)]) -> (Program, String) {
        let config = self.path();
        let arguments = [
            "--config",
            config.to_str().unwrap(),
            "--listen",
            "127.0.0.1:0",
        ];
        let program =
            Program::start(command(&arguments, variables).current_dir(self.folder.path()));
        let line = program.err_line("listens");
        let address = line
            .split("address=")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap();
        (program, format!("http://{address}"))
    }

    fn once(&self, arguments: &[&str]) -> Ended {
        let config = self.path();
        let arguments = [&["once", "--config", config.to_str().unwrap()], arguments].concat();
        Program::start(command(&arguments, &[]).current_dir(self.folder.path())).end()
    }
}

/// At once, as careful editors do.
fn replace(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, path).unwrap();
}

fn results(base: &str, target: &str) -> Value {
    let answer = get(base, target);
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str::<Value>(&answer.body).unwrap()["resultados"].take()
}

#[test]
fn a_bad_configuration_is_2_with_every_problem() {
    let stage = Stage::new();
    replace(
        &stage.path(),
        "[server]\nlisen = \"x\"\n[sources.btc]\nurl = \"htp://x\"\n",
    );
    let config = stage.path();
    for command_name in ["serve", "once"] {
        let ended = run(&[command_name, "--config", config.to_str().unwrap()], &[]);
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(
            ended.err.contains("did you mean `listen`?") && ended.err.contains("2 errors"),
            "{}",
            ended.err
        );
        assert!(
            !ended.err.contains('\u{1b}') && ended.out.is_empty(),
            "{}",
            ended.err
        );
    }
    let missing = run(&["serve"], &[("RESUMEN_CONFIG", "/nowhere/resumen.toml")]);
    assert_eq!(missing.code, Some(2));
    assert!(
        missing.err.contains("/nowhere/resumen.toml"),
        "{}",
        missing.err
    );
}

#[test]
fn it_serves_is_healthy_and_stops_on_either_signal() {
    let stage = Stage::new();
    stage.write(&[("btc", "/btc")]);
    for signal in [Signal::TERM, Signal::INT] {
        let (program, base) = stage.serve(&[]);
        assert_eq!(get(&base, "/salud").body, "{\"status\":\"ok\"}");
        let health = run(&["healthcheck"], &[("RESUMEN_LISTEN", &base[7..])]);
        assert_eq!(health.code, Some(0), "{}", health.err);
        let _idle = TcpStream::connect(&base[7..]).unwrap();
        program.signal(signal);
        let ended = program.end();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(ended.err.contains("stopped"), "{}", ended.err);
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let stage = Stage::new();
    stage.write(&[("slow", "/btc?delay=1h")]);
    let text = fs::read_to_string(stage.path())
        .unwrap()
        .replace("5s", "10m");
    replace(
        &stage.path(),
        &format!("[server]\nshutdown_grace = \"10m\"\nmax_timeout = \"10m\"\n{text}"),
    );
    let (program, base) = stage.serve(&[]);
    let mut waiting = TcpStream::connect(&base[7..]).unwrap();
    waiting
        .write_all(b"GET /resumen?fresh=1&timeout=600 HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    program.signal(Signal::TERM);
    program.err_line("stops");
    // A signal right after the first is taken for its echo; who means it sends it again.
    program.signal_until_line(Signal::TERM, "ends at once");
    assert_eq!(program.end().code, Some(0));
}

#[test]
fn the_start_tells_what_will_be_asked_and_how_often() {
    let stage = Stage::new();
    stage.write(&[("btc", "/btc"), ("clima", "/clima")]);
    let config = stage.path();
    let arguments = [
        "--config",
        config.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ];
    let program = Program::start(
        command(&arguments, &[("RESUMEN_LOG_FORMAT", "json")]).current_dir(&stage.folder),
    );
    let start: Value = serde_json::from_str(&program.err_line("\"starts\"")).unwrap();
    assert_eq!(
        (&start["sources"], &start["calls_per_day"]),
        (&2.into(), &48.into()),
        "{start}"
    );
    let source: Value = serde_json::from_str(&program.err_line("\"asks\"")).unwrap();
    assert_eq!(
        (&source["source"], &source["interval"]),
        (&"btc".into(), &"1h".into()),
        "{source}"
    );
    program.err_line("\"listens\"");
}

#[test]
fn a_reload_takes_all_of_a_file_or_nothing() {
    let stage = Stage::new();
    stage.write(&[("btc", "/btc")]);
    let (program, base) = stage.serve(&[]);
    let before = results(&base, "/resumen");

    stage.write(&[("btc", "/btc?status=503"), ("clima", "/clima")]);
    program.signal(Signal::HUP);
    program.err_line("the configuration was taken over");
    let after = results(&base, "/resumen");
    assert_eq!(
        after.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["btc", "clima"]
    );
    assert_eq!(
        after["btc"]["data"], before["btc"]["data"],
        "a change of URL keeps the reading"
    );

    replace(&stage.path(), "[sources.btc]\nurl = \"nonsense\"\n");
    program.signal(Signal::HUP);
    program.err_line("resumen.toml:2:");
    program.err_line("the configuration was refused; the old one goes on");
    assert_eq!(results(&base, "/resumen").as_object().unwrap().len(), 2);

    replace(
        &stage.path(),
        &format!(
            "[store]\npath = \"\"\n[server]\nidle_timeout = \"9s\"\n[sources.x]\nurl = \"{base}\"\n"
        ),
    );
    program.signal(Signal::HUP);
    assert!(
        program
            .err_line("the old one goes on")
            .contains("only a restart can change server.idle_timeout")
    );
}

#[test]
fn a_changed_file_is_seen_without_a_signal() {
    let stage = Stage::new();
    stage.write(&[("btc", "/btc")]);
    let (program, base) = stage.serve(&[]);
    stage.write(&[("btc", "/btc"), ("usd", "/usd")]);
    program.err_line("the configuration was taken over");
    assert!(results(&base, "/resumen").get("usd").is_some());
}

#[test]
fn no_secret_gets_into_a_log_line_or_an_error() {
    let stage = Stage::new();
    let url = format!(
        "{}/btc?status=${{STATUS}}&retry_after=${{TOKEN}}",
        stage.simulator
    );
    replace(
        &stage.path(),
        &format!("[store]\npath = \"\"\n[sources.btc]\nurl = \"{url}\"\n"),
    );
    let secret = [
        ("TOKEN", "tok\"en-sesame"),
        ("STATUS", "400"),
        ("RESUMEN_LOG", "trace"),
    ];
    let (program, base) = stage.serve(&secret);
    let result = results(&base, "/resumen")["btc"].take();
    assert_eq!(result["ok"], false, "{result}");
    program.signal(Signal::TERM);
    let ended = program.end();
    assert!(ended.err.contains("source began to fail"), "{}", ended.err);
    assert!(
        !ended.err.contains("sesame") && !result.to_string().contains("sesame"),
        "{}\n{result}",
        ended.err
    );
}

#[test]
fn the_log_names_a_provider_that_another_one_hides() {
    let stage = Stage::new();
    let [first, second] = ["1", "2"].map(Stub::json);
    first.change(|answer| answer.status = "503 Service Unavailable");
    let provider = |name: &str, stub: &Stub| {
        format!(
            "[[sources.usd.providers]]\nname = \"{name}\"\nurl = \"{}\"\n",
            stub.url()
        )
    };
    let pace = "interval = \"50ms\"\ntimeout = \"50ms\"\nttl = \"1m\"\nmin_interval = \"1ms\"\n";
    let (preferred, other) = (provider("preferred", &first), provider("other", &second));
    replace(
        &stage.path(),
        &format!("[store]\npath = \"\"\n[sources.usd]\n{pace}{preferred}{other}"),
    );
    let (program, base) = stage.serve(&[]);
    let line = program.err_line("provider began to fail");
    for part in [
        "source=usd",
        "provider=preferred",
        "code=http_status",
        "error=\"HTTP 503",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(results(&base, "/resumen")["usd"]["ok"], true);
    first.says("1");
    let line = program.err_line("provider recovered");
    assert!(
        line.contains("provider=preferred") && line.contains("failed_for_s="),
        "{line}"
    );
    for stub in [&first, &second] {
        stub.change(|answer| answer.status = "404 Not Found");
    }
    let line = program.err_line("source began to fail");
    assert!(
        line.contains("provider=preferred") && line.contains("other: HTTP 404"),
        "{line}"
    );
    program.signal(Signal::TERM);
    let log = program.end().err;
    assert!(!log.contains("source recovered"), "{log}");
}

#[test]
fn the_demonstration_is_complete_within_three_seconds() {
    let program = Program::start(&mut command(&["demo", "--listen", "127.0.0.1:0"], &[]));
    let base = base(&program.out_line("demonstration is on"));
    // The first answer waits for the first round, each of whose attempts has a second.
    let answer: Value = serde_json::from_str(&get(&base, "/resumen").body).unwrap();
    assert_eq!(answer["complete"], true, "{answer}");
    assert_eq!(answer["resultados"].as_object().unwrap().len(), 5);
    assert!(
        answer["resultados"]["btc_ars"]["data"]["ars"]
            .as_f64()
            .unwrap()
            > 1e6,
        "{answer}"
    );
    program.signal(Signal::INT);
    assert_eq!(program.end().code, Some(0));
}

#[test]
fn once_prints_what_the_service_would_answer() {
    let stage = Stage::new();
    stage.write(&[("btc", "/btc"), ("usd", "/usd?delay=20ms")]);
    let ended = stage.once(&[]);
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (Some(0), ""),
        "{}",
        ended.out
    );
    let answer: Value = serde_json::from_str(&ended.out).unwrap();
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
fn once_shows_failures_in_full_and_is_1() {
    let stage = Stage::new();
    stage.write(&[
        ("btc", "/btc"),
        ("clima", "/clima?status=503"),
        ("usd", "/usd?delay=1h"),
    ]);
    let ended = stage.once(&["--timeout", "1.5", "--format", "table"]);
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (Some(1), ""),
        "{}",
        ended.out
    );
    insta::assert_snapshot!(without_digits(&ended.out), @r#"
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
fn once_knows_since_when_and_which_provider_another_one_hides() {
    let stage = Stage::new();
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
    replace(
        &stage.path(),
        &format!(
            "{head}url = \"{}/clima?status=404\"\n{bad}{good}",
            stage.simulator
        ),
    );
    let table = |line: &str| {
        let out = stage.once(&["--format", "table"]).out;
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
    let (program, base) = stage.serve(&[]);
    let begun = results(&base, "/resumen")["clima"]["failing_since"]
        .as_str()
        .unwrap()[11..19]
        .to_owned();
    program.signal(Signal::TERM);
    assert_eq!(program.end().code, Some(0));
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
fn check_live_shows_each_answer_as_it_came_and_what_the_filter_makes_of_it() {
    let stage = Stage::new();
    stage.write(&[
        (
            "btc",
            "/btc\"\nextract = '{usd: (.data.amount | tonumber)}'\n#",
        ),
        ("usd", "/usd?status=503"),
    ]);
    let config = stage.path();
    let check = |format| {
        run(
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
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let findings: Value = serde_json::from_str(&ended.out).unwrap();
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
    let text = check("text").out;
    assert!(
        text.contains("  extracted  {\"usd\":")
            && text.contains("  failed     http_status: HTTP 503"),
        "{text}"
    );
}
