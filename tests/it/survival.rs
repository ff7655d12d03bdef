//! Restarted, killed, reloaded and drained while somebody polls: nobody notices, and no last-good value is lost.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use resumen::clock::Clock;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{LIMIT, Program, command, get};
use crate::soak::held;
use crate::support::crowd::Crowd;
use crate::support::stub::Stub;

/// A configuration and a state file in a folder of their own, and the provider that its source `a` asks.
pub(crate) struct Stage {
    pub(crate) folder: TempDir,
    pub(crate) stub: Stub,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let stage = Self {
            folder: tempfile::tempdir().unwrap(),
            stub: Stub::json(r#"{"n":0.10}"#),
        };
        stage.write("");
        stage
    }

    /// Writes the configuration with these lines after those of `a`.
    pub(crate) fn write(&self, more: &str) {
        let url = self.stub.url();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nshutdown_grace = \"2s\"\n[store]\npath = \"state/resumen.json\"\n\
             [sources.a]\nurl = \"{url}\"\ninterval = \"1h\"\ntimeout = \"3s\"\nmin_interval = \"1ms\"\n{more}"
        );
        let draft = self.folder.path().join("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.folder.path().join("resumen.toml")).unwrap();
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = command(&["serve", "--config", "resumen.toml"], &[]);
        command.current_dir(&self.folder);
        command
    }

    pub(crate) fn start(&self) -> (Program, String) {
        started(&mut self.command())
    }

    /// The same behind a socket that somebody else listens on, as a service manager hands it over.
    fn start_behind(&self, socket: &TcpListener) -> Program {
        let own = self.command();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 0</dev/null"])
            .arg(own.get_program())
            .args(own.get_args());
        shell.current_dir(&self.folder).env("LISTEN_FDS", "1");
        shell.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
        started(shell.stdout(Stdio::piped()).stderr(Stdio::piped())).0
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state/resumen.json")
    }

    /// Waits until the state file holds this.
    pub(crate) fn saved(&self, what: &str) {
        until(|| fs::read_to_string(self.state()).is_ok_and(|text| text.contains(what)));
    }

    pub(crate) fn fails(&self) {
        self.stub
            .change(|answer| answer.status = "503 Service Unavailable");
    }
}

fn started(command: &mut Command) -> (Program, String) {
    let program = Program::start(command);
    let base = listens(&program);
    (program, base)
}

/// Where it says that it listens.
pub(crate) fn listens(program: &Program) -> String {
    let line = program.err_line("listens");
    let address = line
        .split("address=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    format!("http://{address}")
}

pub(crate) fn until(done: impl Fn() -> bool) {
    let clock = Clock::start();
    let by = clock.instant() + LIMIT;
    while !done() {
        assert!(clock.instant() < by, "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn address(base: &str) -> SocketAddr {
    base.trim_start_matches("http://").parse().unwrap()
}

fn source(base: &str, path: &str) -> Value {
    let answer = get(base, path);
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str::<Value>(&answer.body).unwrap()["resultados"]["a"].take()
}

#[test]
fn a_kill_and_every_provider_down_leave_the_last_good_data_with_its_true_age() {
    let stage = Stage::new();
    let (mut program, base) = stage.start();
    let before = source(&base, "/resumen");
    assert_eq!(before["data"].to_string(), r#"{"n":0.10}"#);
    stage.saved("0.10");
    program.signal(Signal::KILL);
    assert_eq!(program.end().code, None);
    stage.fails();

    let clock = Clock::start();
    let fetched = before["fetched_at"]
        .as_str()
        .unwrap()
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_millisecond();
    let base;
    (program, base) = stage.start();
    assert_eq!(get(&base, "/salud/listo").status, 200, "ready at once");
    let asked = clock.now().as_millis();
    let after = source(&base, "/resumen");
    assert_eq!(
        (&after["data"], &after["fetched_at"]),
        (&before["data"], &before["fetched_at"])
    );
    let age = after["age_ms"].as_i64().unwrap();
    assert!(
        age >= asked - fetched && age <= clock.now().as_millis() - fetched + 25,
        "{age}: {after}"
    );
    until(|| source(&base, "/resumen")["code"] == "http_status");
    assert_eq!(source(&base, "/resumen")["data"], before["data"]);
    drop(program);
}

#[test]
fn what_came_last_is_saved_at_the_end() {
    let stage = Stage::new();
    let (program, base) = stage.start();
    source(&base, "/resumen");
    for n in 0..3 {
        stage.stub.says(&format!("{{\"n\":{n}}}"));
        // A live request within `min_interval` of the one before is answered from the snapshot.
        until(|| source(&base, "/resumen?fresh=1")["data"]["n"] == n);
    }
    program.signal(Signal::TERM);
    let ended = program.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    stage.fails();
    let (_program, base) = stage.start();
    assert_eq!(source(&base, "/resumen")["data"].to_string(), "{\"n\":2}");
}

#[test]
fn a_damaged_state_file_costs_one_generation_and_is_said() {
    let stage = Stage::new();
    let (program, base) = stage.start();
    source(&base, "/resumen");
    stage.saved("0.10");
    source(&base, "/resumen?fresh=1");
    program.signal(Signal::TERM);
    program.end();
    let whole = fs::read(stage.state()).unwrap();
    fs::write(stage.state(), &whole[..whole.len() - 9]).unwrap();
    stage.fails();
    let program = Program::start(&mut stage.command());
    let said = program.err_line("is not used: it is damaged");
    assert!(said.contains("set aside as"), "{said}");
    program.err_line("restored readings");
}

#[test]
fn the_second_program_on_a_state_file_reads_it_says_so_and_takes_over_later() {
    let stage = Stage::new();
    let (first, base) = stage.start();
    source(&base, "/resumen");
    stage.saved("0.10");
    stage.fails();
    let second = Program::start(&mut stage.command());
    second.err_line("restored readings");
    let warning = second.err_line("another program writes this state file");
    assert!(warning.contains("WARN"), "{warning}");
    second.err_line("listens");
    first.signal(Signal::TERM);
    assert_eq!(first.end().code, Some(0));
    second.err_line("readings are saved again");
}

#[test]
fn a_state_file_that_cannot_be_written_is_said_once_and_fails_nobody() {
    let stage = Stage::new();
    fs::write(
        stage.folder.path().join("state"),
        "a file where the folder should be",
    )
    .unwrap();
    let program = Program::start(&mut stage.command());
    program.err_line("readings would not survive a restart for now: failed to create");
    let base = listens(&program);
    source(&base, "/resumen");
    until(|| {
        get(&base, "/metrics")
            .body
            .contains("resumen_store_errors_total{store=\"file\"} 2")
    });
    program.signal(Signal::TERM);
    let ended = program.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(!ended.err.contains("would not survive"), "{}", ended.err);
}

/// Reloads that many times, every other one with a file that is none, while clients poll.
#[allow(clippy::print_stdout, reason = "a figure")]
fn reloads(times: usize) {
    let stage = Stage::new();
    let (program, base) = stage.start();
    source(&base, "/resumen");
    let (calls, other) = (stage.stub.calls(), Stub::json("1"));
    let crowd = Crowd::new(4, address(&base), "/resumen", true);
    let held = || held(program.pid(), &base);
    until(|| crowd.answers() > 20);
    let before = held();
    for n in 0..times {
        let more = format!("[sources.b{n}]\nurl = \"{}\"\n", other.url());
        stage.write(if n % 2 == 0 {
            &more
        } else {
            "[sources.c]\nurl = \"nonsense\"\n"
        });
        program.signal(Signal::HUP);
        program.err_line(if n % 2 == 0 {
            "was taken over"
        } else {
            "was refused"
        });
    }
    let answers = crowd.answers();
    until(|| crowd.answers() > answers + 20);
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
    let answers = crowd.done().unwrap();
    println!("{times} reloads: {answers} answers, none failed; before {before:?}, after {after:?}");
    assert_eq!(stage.stub.calls(), calls, "`a` was left alone");
    assert!(other.calls() > 0, "new sources are asked");
}

#[test]
fn reloads_under_load_fail_no_request() {
    reloads(60);
}

#[test]
#[ignore = "longer than a suite may take; the short one is in it"]
fn a_thousand_reloads_under_load_fail_no_request() {
    reloads(1000);
}

#[test]
fn a_reload_keeps_the_connections_of_sources_that_stay_the_same() {
    let stage = Stage::new();
    let (program, base) = stage.start();
    source(&base, "/resumen");
    for n in 0..3 {
        stage.write(&format!("[sources.b{n}]\nurl = \"http://127.0.0.1:9/\"\n"));
        program.signal(Signal::HUP);
        program.err_line("was taken over");
        let calls = stage.stub.calls();
        until(|| source(&base, "/resumen?fresh=1")["from"] == "live");
        assert!(stage.stub.calls() > calls);
    }
    assert_eq!(stage.stub.connections(), 1);
}

/// Restarts that many times behind one listening socket while clients come and go.
#[allow(clippy::print_stdout, reason = "a figure")]
fn rolling_restarts(times: usize) {
    let stage = Stage::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut program = stage.start_behind(&socket);
    let crowd = Crowd::new(4, address, "/resumen", false);
    for _ in 0..times {
        let answers = crowd.answers();
        until(|| crowd.answers() > answers + 20);
        let next = stage.start_behind(&socket);
        program.signal(Signal::TERM);
        let ended = std::mem::replace(&mut program, next).end();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
    }
    println!(
        "{times} rolling restarts: {} answers, none failed",
        crowd.done().unwrap()
    );
    let after = source(&format!("http://{address}"), "/resumen");
    assert_eq!(after["data"].to_string(), r#"{"n":0.10}"#);
}

#[test]
fn rolling_restarts_under_load_fail_no_request() {
    rolling_restarts(3);
}

#[test]
#[ignore = "longer than a suite may take; the short one is in it"]
fn twenty_rolling_restarts_under_load_fail_no_request() {
    rolling_restarts(20);
}

#[test]
fn a_port_is_shared_only_by_those_who_ask_for_it() {
    let (stage, other) = (Stage::new(), Stage::new());
    let (_first, base) = started(stage.command().arg("--reuse-port"));
    let port = address(&base).to_string();
    let (_second, same) = started(other.command().args(["--reuse-port", "--listen", &port]));
    assert_eq!(same, base);
    let ended = Program::start(other.command().args(["--listen", &port])).end();
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(
        ended.err.contains(&format!("failed to listen on {port}")),
        "{}",
        ended.err
    );
}

#[test]
fn clients_that_stall_do_not_hold_the_end() {
    let stage = Stage::new();
    let (program, base) = stage.start();
    source(&base, "/resumen");
    stage
        .stub
        .change(|answer| answer.delay = Duration::from_secs(60));
    let ask = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(address(&base)).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let _stalled = [
        ask(b""),
        ask(b"GET /resumen HTT"),
        ask(b"GET /resumen?fresh=1&timeout=30 HTTP/1.1\r\nhost: x\r\n\r\n"),
        ask(b"GET /resumen/stream HTTP/1.1\r\nhost: x\r\n\r\n"),
    ];
    program.signal(Signal::TERM);
    let ended = program.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    // By the program's own log: on a busy machine the signal itself may take seconds to arrive.
    let logged = |what: &str| {
        let line = ended.err.lines().find(|line| line.contains(what)).unwrap();
        line.split(' ')
            .next()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    let took = logged("INFO  stopped").duration_since(logged("INFO  stops "));
    assert!(took.as_millis() <= 2200, "{took:?}\n{}", ended.err);
    assert!(
        fs::read_to_string(stage.state()).unwrap().contains("0.10"),
        "the last save was made in time"
    );
}

/// From starting the process to the last byte of its first answer, with that many sources, all of them from disk: a few
/// times, shortest first. `filter` is that of each.
fn warm_starts(sources: usize, filter: impl Fn(usize) -> String) -> Vec<Duration> {
    let stage = Stage::new();
    let url = stage.stub.url();
    let one = |n: usize| {
        let filter = filter(n);
        format!("[sources.s{n}]\nurl = \"{url}\"\ninterval = \"1h\"\nextract = '{filter}'\n")
    };
    let all: Vec<String> = (0..sources).map(one).collect();
    stage.write(&all.concat());
    let (program, base) = stage.start();
    get(&base, "/resumen?timeout=20");
    stage.saved(&format!("\"s{}\"", sources - 1));
    program.signal(Signal::TERM);
    program.end();
    stage.fails();
    let start = |_| {
        let clock = Clock::start();
        let begun = clock.mark();
        let (_program, base) = stage.start();
        let answer = get(&base, "/resumen");
        let took = clock.since(begun);
        assert_eq!(answer.body.matches("\"ok\":true").count(), sources + 1);
        took
    };
    let mut took: Vec<Duration> = (0..9).map(start).collect();
    took.sort_unstable();
    took
}

#[test]
#[ignore = "a measurement: `cargo test --release --test it warm_start -- --ignored --nocapture`"]
fn a_warm_start_of_a_thousand_sources_answers_at_once() {
    let shared = warm_starts(1000, |_| "{n: .n}".into());
    let own = warm_starts(1000, |n| {
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
