//! Restarted, killed, reloaded and drained while somebody polls: nobody notices, and no last-good value is lost.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use resumen::process::Clock;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::ops::soak_run::measure_usage;
use crate::support::child_process::{PROCESS_TIMEOUT, TestProcess, http_get, program_command};
use crate::support::fake_provider::FakeProvider;
use crate::support::polling_clients::PollingClients;

/// A configuration and a state file in a folder of their own, and the provider that its source `a` asks.
pub(crate) struct ServiceFixture {
    pub(crate) folder: TempDir,
    pub(crate) provider: FakeProvider,
}

impl ServiceFixture {
    pub(crate) fn new() -> Self {
        let stage = Self {
            folder: tempfile::tempdir().unwrap(),
            provider: FakeProvider::with_json(r#"{"n":0.10}"#),
        };
        stage.write_config("");
        stage
    }

    /// Writes the configuration with these lines after those of `a`.
    pub(crate) fn write_config(&self, more: &str) {
        let url = self.provider.url();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nshutdown_grace = \"2s\"\n[store]\npath = \"state/resumen.json\"\n\
             [sources.a]\nurl = \"{url}\"\ninterval = \"1h\"\ntimeout = \"3s\"\nmin_interval = \"1ms\"\n{more}"
        );
        let draft = self.folder.path().join("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.folder.path().join("resumen.toml")).unwrap();
    }

    pub(crate) fn build_command(&self) -> Command {
        let mut command = program_command(&["serve", "--config", "resumen.toml"], &[]);
        command.current_dir(&self.folder);
        command
    }

    pub(crate) fn start_process(&self) -> (TestProcess, String) {
        start_program(&mut self.build_command())
    }

    /// The same behind a socket that somebody else listens on, as a service manager hands it over.
    fn start_with_socket(&self, socket: &TcpListener) -> TestProcess {
        let own = self.build_command();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 0</dev/null"])
            .arg(own.get_program())
            .args(own.get_args());
        shell.current_dir(&self.folder).env("LISTEN_FDS", "1");
        shell.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
        start_program(shell.stdout(Stdio::piped()).stderr(Stdio::piped())).0
    }

    pub(crate) fn state_path(&self) -> PathBuf {
        self.folder.path().join("state/resumen.json")
    }

    /// Waits until the state file holds this.
    pub(crate) fn wait_until_saved(&self, what: &str) {
        wait_until(|| fs::read_to_string(self.state_path()).is_ok_and(|text| text.contains(what)));
    }

    pub(crate) fn fail_provider(&self) {
        self.provider
            .update_response(|answer| answer.status = "503 Service Unavailable");
    }
}

fn start_program(command: &mut Command) -> (TestProcess, String) {
    let program = TestProcess::start(command);
    let base = listening_url(&program);
    (program, base)
}

/// Where it says that it listens.
pub(crate) fn listening_url(program: &TestProcess) -> String {
    let line = program.wait_for_stderr_line("listens");
    let address = line
        .split("address=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    format!("http://{address}")
}

pub(crate) fn wait_until(done: impl Fn() -> bool) {
    let clock = Clock::start();
    let by = clock.instant() + PROCESS_TIMEOUT;
    while !done() {
        assert!(clock.instant() < by, "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn socket_address(base: &str) -> SocketAddr {
    base.trim_start_matches("http://").parse().unwrap()
}

fn get_source_a(base: &str, path: &str) -> Value {
    let answer = http_get(base, path);
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str::<Value>(&answer.body).unwrap()["resultados"]["a"].take()
}

#[test]
fn kill_keeps_data_and_true_age() {
    let stage = ServiceFixture::new();
    let (mut program, base) = stage.start_process();
    let before = get_source_a(&base, "/resumen");
    assert_eq!(before["data"].to_string(), r#"{"n":0.10}"#);
    stage.wait_until_saved("0.10");
    program.send_signal(Signal::KILL);
    assert_eq!(program.wait_for_exit().exit_code, None);
    stage.fail_provider();

    let clock = Clock::start();
    let fetched = before["fetched_at"]
        .as_str()
        .unwrap()
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_millisecond();
    let base;
    (program, base) = stage.start_process();
    assert_eq!(http_get(&base, "/salud/listo").status, 200, "ready at once");
    let asked = clock.now().as_millis();
    let after = get_source_a(&base, "/resumen");
    assert_eq!(
        (&after["data"], &after["fetched_at"]),
        (&before["data"], &before["fetched_at"])
    );
    let age = after["age_ms"].as_i64().unwrap();
    assert!(
        age >= asked - fetched && age <= clock.now().as_millis() - fetched + 25,
        "{age}: {after}"
    );
    wait_until(|| get_source_a(&base, "/resumen")["code"] == "http_status");
    assert_eq!(get_source_a(&base, "/resumen")["data"], before["data"]);
    drop(program);
}

#[test]
fn shutdown_saves_last_readings() {
    let stage = ServiceFixture::new();
    let (program, base) = stage.start_process();
    get_source_a(&base, "/resumen");
    for n in 0..3 {
        stage.provider.set_json(&format!("{{\"n\":{n}}}"));
        // A live request within `min_interval` of the one before is answered from the snapshot.
        wait_until(|| get_source_a(&base, "/resumen?fresh=1")["data"]["n"] == n);
    }
    program.send_signal(Signal::TERM);
    let ended = program.wait_for_exit();
    assert_eq!(ended.exit_code, Some(0), "{}", ended.stderr);
    stage.fail_provider();
    let (_program, base) = stage.start_process();
    assert_eq!(
        get_source_a(&base, "/resumen")["data"].to_string(),
        "{\"n\":2}"
    );
}

#[test]
fn corrupt_state_loses_one_generation() {
    let stage = ServiceFixture::new();
    let (program, base) = stage.start_process();
    get_source_a(&base, "/resumen");
    stage.wait_until_saved("0.10");
    get_source_a(&base, "/resumen?fresh=1");
    program.send_signal(Signal::TERM);
    program.wait_for_exit();
    let whole = fs::read(stage.state_path()).unwrap();
    fs::write(stage.state_path(), &whole[..whole.len() - 9]).unwrap();
    stage.fail_provider();
    let program = TestProcess::start(&mut stage.build_command());
    let said = program.wait_for_stderr_line("is not used: it is damaged");
    assert!(said.contains("set aside as"), "{said}");
    program.wait_for_stderr_line("restored readings");
}

#[test]
fn second_process_takes_over_state_file() {
    let stage = ServiceFixture::new();
    let (first, base) = stage.start_process();
    get_source_a(&base, "/resumen");
    stage.wait_until_saved("0.10");
    stage.fail_provider();
    let second = TestProcess::start(&mut stage.build_command());
    second.wait_for_stderr_line("restored readings");
    let warning = second.wait_for_stderr_line("another program writes this state file");
    assert!(warning.contains("WARN"), "{warning}");
    second.wait_for_stderr_line("listens");
    first.send_signal(Signal::TERM);
    assert_eq!(first.wait_for_exit().exit_code, Some(0));
    second.wait_for_stderr_line("saving readings again");
}

#[test]
fn unwritable_state_is_logged_once() {
    let stage = ServiceFixture::new();
    fs::write(
        stage.folder.path().join("state"),
        "a file where the folder should be",
    )
    .unwrap();
    let program = TestProcess::start(&mut stage.build_command());
    program.wait_for_stderr_line("readings would not survive a restart: failed to create");
    let base = listening_url(&program);
    get_source_a(&base, "/resumen");
    wait_until(|| {
        http_get(&base, "/metrics")
            .body
            .contains("resumen_store_errors_total{store=\"file\"} 2")
    });
    program.send_signal(Signal::TERM);
    let ended = program.wait_for_exit();
    assert_eq!(ended.exit_code, Some(0), "{}", ended.stderr);
    assert!(
        !ended.stderr.contains("would not survive"),
        "{}",
        ended.stderr
    );
}

/// Reloads that many times, every other one with a file that is none, while clients poll.
#[allow(clippy::print_stdout, reason = "a figure")]
fn run_reloads(times: usize) {
    let stage = ServiceFixture::new();
    let (program, base) = stage.start_process();
    get_source_a(&base, "/resumen");
    let (calls, other) = (stage.provider.call_count(), FakeProvider::with_json("1"));
    let crowd = PollingClients::new(4, socket_address(&base), "/resumen", true);
    let held = || measure_usage(program.pid(), &base);
    wait_until(|| crowd.response_count() > 20);
    let before = held();
    for n in 0..times {
        let more = format!("[sources.b{n}]\nurl = \"{}\"\n", other.url());
        stage.write_config(if n % 2 == 0 {
            &more
        } else {
            "[sources.c]\nurl = \"nonsense\"\n"
        });
        program.send_signal(Signal::HUP);
        program.wait_for_stderr_line(if n % 2 == 0 {
            "was taken over"
        } else {
            "was refused"
        });
    }
    let answers = crowd.response_count();
    wait_until(|| crowd.response_count() > answers + 20);
    // A reload that has just come may still be asking its new source, and files are read on threads that linger.
    let after = held();
    assert!(
        after.descriptors <= before.descriptors + 4,
        "{before:?}, now {after:?}"
    );
    assert!(
        after.threads <= before.threads + 4,
        "{before:?}, now {after:?}"
    );
    assert!(after.tasks <= before.tasks + 4, "{before:?}, now {after:?}");
    let answers = crowd.stop_and_count().unwrap();
    println!("{times} reloads: {answers} answers, none failed; before {before:?}, after {after:?}");
    assert_eq!(stage.provider.call_count(), calls, "`a` was left alone");
    assert!(other.call_count() > 0, "new sources are asked");
}

#[test]
fn reloads_fail_no_request() {
    run_reloads(60);
}

#[test]
#[ignore = "longer than a suite may take; the short one is in it"]
fn thousand_reloads_fail_no_request() {
    run_reloads(1000);
}

#[test]
fn reload_keeps_provider_connections() {
    let stage = ServiceFixture::new();
    let (program, base) = stage.start_process();
    get_source_a(&base, "/resumen");
    for n in 0..3 {
        stage.write_config(&format!("[sources.b{n}]\nurl = \"http://127.0.0.1:9/\"\n"));
        program.send_signal(Signal::HUP);
        program.wait_for_stderr_line("was taken over");
        let calls = stage.provider.call_count();
        wait_until(|| get_source_a(&base, "/resumen?fresh=1")["from"] == "live");
        assert!(stage.provider.call_count() > calls);
    }
    assert_eq!(stage.provider.connection_count(), 1);
}

/// Restarts that many times behind one listening socket while clients come and go.
#[allow(clippy::print_stdout, reason = "a figure")]
fn run_rolling_restarts(times: usize) {
    let stage = ServiceFixture::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut program = stage.start_with_socket(&socket);
    let crowd = PollingClients::new(4, address, "/resumen", false);
    for _ in 0..times {
        let answers = crowd.response_count();
        wait_until(|| crowd.response_count() > answers + 20);
        let next = stage.start_with_socket(&socket);
        program.send_signal(Signal::TERM);
        let ended = std::mem::replace(&mut program, next).wait_for_exit();
        assert_eq!(ended.exit_code, Some(0), "{}", ended.stderr);
    }
    println!(
        "{times} rolling restarts: {} answers, none failed",
        crowd.stop_and_count().unwrap()
    );
    let after = get_source_a(&format!("http://{address}"), "/resumen");
    assert_eq!(after["data"].to_string(), r#"{"n":0.10}"#);
}

#[test]
fn rolling_restarts_fail_no_request() {
    run_rolling_restarts(3);
}

#[test]
#[ignore = "longer than a suite may take; the short one is in it"]
fn twenty_rolling_restarts_fail_no_request() {
    run_rolling_restarts(20);
}

#[test]
fn port_sharing_is_opt_in() {
    let (stage, other) = (ServiceFixture::new(), ServiceFixture::new());
    let (_first, base) = start_program(stage.build_command().arg("--reuse-port"));
    let port = socket_address(&base).to_string();
    let (_second, same) =
        start_program(
            other
                .build_command()
                .args(["--reuse-port", "--listen", &port]),
        );
    assert_eq!(same, base);
    let ended = TestProcess::start(other.build_command().args(["--listen", &port])).wait_for_exit();
    assert_eq!(ended.exit_code, Some(1), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains(&format!("failed to listen on {port}")),
        "{}",
        ended.stderr
    );
}

#[test]
fn stalled_clients_do_not_block_shutdown() {
    let stage = ServiceFixture::new();
    let (program, base) = stage.start_process();
    get_source_a(&base, "/resumen");
    stage
        .provider
        .update_response(|answer| answer.delay = Duration::from_secs(60));
    let ask = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(socket_address(&base)).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let _stalled = [
        ask(b""),
        ask(b"GET /resumen HTT"),
        ask(b"GET /resumen?fresh=1&timeout=30 HTTP/1.1\r\nhost: x\r\n\r\n"),
        ask(b"GET /resumen/stream HTTP/1.1\r\nhost: x\r\n\r\n"),
    ];
    program.send_signal(Signal::TERM);
    let ended = program.wait_for_exit();
    assert_eq!(ended.exit_code, Some(0), "{}", ended.stderr);
    // By the program's own log: on a busy machine the signal itself may take seconds to arrive.
    let logged = |what: &str| {
        let line = ended
            .stderr
            .lines()
            .find(|line| line.contains(what))
            .unwrap();
        line.split(' ')
            .next()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    let took = logged("INFO  stopped").duration_since(logged("INFO  stopping "));
    assert!(took.as_millis() <= 2200, "{took:?}\n{}", ended.stderr);
    assert!(
        fs::read_to_string(stage.state_path())
            .unwrap()
            .contains("0.10"),
        "the last save was made in time"
    );
}

/// From starting the process to the last byte of its first answer, with that many sources, all of them from disk: a few
/// times, shortest first. `filter` is that of each.
fn measure_warm_starts(sources: usize, filter: impl Fn(usize) -> String) -> Vec<Duration> {
    let stage = ServiceFixture::new();
    let url = stage.provider.url();
    let one = |n: usize| {
        let filter = filter(n);
        format!("[sources.s{n}]\nurl = \"{url}\"\ninterval = \"1h\"\nextract = '{filter}'\n")
    };
    let all: Vec<String> = (0..sources).map(one).collect();
    stage.write_config(&all.concat());
    let (program, base) = stage.start_process();
    http_get(&base, "/resumen?timeout=20");
    stage.wait_until_saved(&format!("\"s{}\"", sources - 1));
    program.send_signal(Signal::TERM);
    program.wait_for_exit();
    stage.fail_provider();
    let start = |_| {
        let clock = Clock::start();
        let begun = clock.time_point();
        let (_program, base) = stage.start_process();
        let answer = http_get(&base, "/resumen");
        let took = clock.elapsed_since(begun);
        assert_eq!(answer.body.matches("\"ok\":true").count(), sources + 1);
        took
    };
    let mut took: Vec<Duration> = (0..9).map(start).collect();
    took.sort_unstable();
    took
}

#[test]
#[ignore = "a measurement: `cargo test --release --test it warm_start -- --ignored --nocapture`"]
fn warm_start_answers_at_once() {
    let shared = measure_warm_starts(1000, |_| "{n: .n}".into());
    let own = measure_warm_starts(1000, |n| {
        format!("{{n: (.n + {n}), twice: (.n * 2 | tostring)}}")
    });
    let limit = Duration::from_millis(if cfg!(debug_assertions) { 2000 } else { 50 });
    for (filters, took) in [("one filter", shared), ("1,000 filters", own)] {
        eprintln!(
            "start to first answer, 1,000 sources, {filters}: median {:?}, shortest {:?}",
            took[4], took[0]
        );
        assert!(took[0] < limit, "{took:?}");
    }
}
