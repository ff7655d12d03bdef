//! Killed, stopped and started at bad moments.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Program, get};
use crate::survival::{Stage, address, listens, until};

/// More than the stage's `min_interval`: sooner, a live request is answered from the snapshot.
const MIN_INTERVAL: Duration = Duration::from_millis(20);

fn a(base: &str) -> Value {
    serde_json::from_str::<Value>(&get(base, "/resumen").body).unwrap()["resultados"]["a"].take()
}

/// From the start of a process to well after it serves.
fn some_moment(dice: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(dice.u64(0..12) * dice.u64(0..12))
}

#[test]
fn kills_at_any_moment_and_every_provider_down_leave_the_last_good_data() {
    let stage = Stage::new();
    let (program, base) = stage.start();
    let before = a(&base);
    stage.saved("0.10");
    program.signal(Signal::KILL);
    program.end();
    stage.fails();
    let mut dice = fastrand::Rng::with_seed(5);
    for round in 0..15 {
        let program = Program::start(&mut stage.command());
        std::thread::sleep(some_moment(&mut dice));
        program.signal(Signal::KILL);
        program.end();
        let (program, base) = stage.start();
        let now = a(&base);
        assert_eq!(
            (&now["data"], &now["fetched_at"]),
            (&before["data"], &before["fetched_at"]),
            "round {round}: {now}"
        );
        let page = get(&base, "/metrics").body;
        assert!(
            page.contains("resumen_store_errors_total{store=\"file\"} 0"),
            "round {round}: {page}"
        );
        drop(program);
    }
}

#[test]
fn a_stop_at_any_moment_of_the_start_is_a_clean_end() {
    let stage = Stage::new();
    let (program, base) = stage.start();
    let before = a(&base);
    program.signal(Signal::TERM);
    program.end();
    stage.fails();
    let mut dice = fastrand::Rng::with_seed(6);
    for _ in 0..15 {
        let program = Program::start(&mut stage.command());
        std::thread::sleep(some_moment(&mut dice));
        program.signal(Signal::HUP);
        program.signal(Signal::TERM);
        let ended = program.end();
        // Before it has come to hear signals, they end it by themselves.
        assert!(matches!(ended.code, Some(0) | None), "{ended:?}");
        assert!(
            ended.code.is_some() || !ended.err.contains("starts"),
            "{ended:?}"
        );
    }
    let (_program, base) = stage.start();
    assert_eq!(a(&base)["data"], before["data"]);
}

#[test]
fn a_live_request_in_progress_is_answered_before_the_end() {
    let stage = Stage::new();
    let (program, base) = stage.start();
    a(&base);
    stage.stub.change(|answer| {
        (answer.body, answer.delay) = ("{\"n\":7}".into(), Duration::from_millis(600))
    });
    let calls = stage.stub.calls();
    std::thread::sleep(MIN_INTERVAL);
    let mut live = TcpStream::connect(address(&base)).unwrap();
    live.write_all(b"GET /resumen?fresh=1&timeout=10 HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    until(|| stage.stub.calls() > calls);
    program.signal(Signal::TERM);
    let mut answer = String::new();
    live.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("{\"n\":7}"),
        "{answer}"
    );
    assert!(
        answer
            .to_ascii_lowercase()
            .contains("\r\nconnection: close\r\n"),
        "{answer}"
    );
    assert_eq!(program.end().code, Some(0));
    assert!(
        fs::read_to_string(stage.state())
            .unwrap()
            .contains("{\"n\":7}"),
        "and saved"
    );
}

#[test]
fn a_state_folder_that_is_removed_while_it_runs_is_made_again() {
    let stage = Stage::new();
    let (program, base) = stage.start();
    a(&base);
    stage.saved("0.10");
    fs::remove_dir_all(stage.folder.path().join("state")).unwrap();
    stage.stub.says("{\"n\":8}");
    std::thread::sleep(MIN_INTERVAL);
    get(&base, "/resumen?fresh=1");
    stage.saved("{\"n\":8}");
    assert!(
        get(&base, "/metrics")
            .body
            .contains("resumen_store_errors_total{store=\"file\"} 0")
    );
    program.signal(Signal::TERM);
    assert_eq!(program.end().code, Some(0));
}

#[test]
fn a_socket_that_was_not_handed_over_is_said_or_done_without() {
    let stage = Stage::new();
    let start = |variables: &str, descriptor: &str| {
        let own = stage.command();
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            &format!("{variables} exec \"$0\" \"$@\" {descriptor}"),
        ]);
        shell
            .arg(own.get_program())
            .args(own.get_args())
            .current_dir(&stage.folder);
        Program::start(
            shell
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped()),
        )
    };
    // None, nonsense, and those of another process: it listens by itself.
    for variables in [
        "LISTEN_FDS=0",
        "LISTEN_FDS=none",
        "LISTEN_FDS=1 LISTEN_PID=1",
    ] {
        listens(&start(variables, ""));
    }
    for descriptor in ["3</dev/null", "3<&-"] {
        let ended = start("LISTEN_FDS=1", descriptor).end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("LISTEN_FDS"), "{ended:?}");
    }
}
