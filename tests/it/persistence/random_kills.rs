//! Killed, stopped and started at bad moments.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::restart_survival::{ServiceFixture, listening_url, socket_address, wait_until};
use crate::support::child_process::{TestProcess, http_get};

/// More than the stage's `min_interval`: sooner, a live request is answered from the snapshot.
const MIN_INTERVAL: Duration = Duration::from_millis(20);

fn source_a(base: &str) -> Value {
    serde_json::from_str::<Value>(&http_get(base, "/resumen").body).unwrap()["resultados"]["a"]
        .take()
}

/// From the start of a process to well after it serves.
fn random_delay(dice: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(dice.u64(0..12) * dice.u64(0..12))
}

#[test]
fn random_kills_keep_last_good_data() {
    let stage = ServiceFixture::new();
    let (program, base) = stage.start_process();
    let before = source_a(&base);
    stage.wait_until_saved("0.10");
    program.send_signal(Signal::KILL);
    program.wait_for_exit();
    stage.fail_provider();
    let mut dice = fastrand::Rng::with_seed(5);
    for round in 0..15 {
        let program = TestProcess::start(&mut stage.build_command());
        std::thread::sleep(random_delay(&mut dice));
        program.send_signal(Signal::KILL);
        program.wait_for_exit();
        let (program, base) = stage.start_process();
        let now = source_a(&base);
        assert_eq!(
            (&now["data"], &now["fetched_at"]),
            (&before["data"], &before["fetched_at"]),
            "round {round}: {now}"
        );
        let page = http_get(&base, "/metrics").body;
        assert!(
            page.contains("resumen_store_errors_total{store=\"file\"} 0"),
            "round {round}: {page}"
        );
        drop(program);
    }
}

#[test]
fn stop_during_start_exits_cleanly() {
    let stage = ServiceFixture::new();
    let (program, base) = stage.start_process();
    let before = source_a(&base);
    program.send_signal(Signal::TERM);
    program.wait_for_exit();
    stage.fail_provider();
    let mut dice = fastrand::Rng::with_seed(6);
    for _ in 0..15 {
        let program = TestProcess::start(&mut stage.build_command());
        std::thread::sleep(random_delay(&mut dice));
        program.send_signal(Signal::HUP);
        program.send_signal(Signal::TERM);
        let ended = program.wait_for_exit();
        // Before it has come to hear signals, they end it by themselves.
        assert!(matches!(ended.exit_code, Some(0) | None), "{ended:?}");
        assert!(
            ended.exit_code.is_some() || !ended.stderr.contains("starts"),
            "{ended:?}"
        );
    }
    let (_program, base) = stage.start_process();
    assert_eq!(source_a(&base)["data"], before["data"]);
}

#[test]
fn shutdown_answers_live_request() {
    let stage = ServiceFixture::new();
    let (program, base) = stage.start_process();
    source_a(&base);
    stage.provider.update_response(|answer| {
        (answer.body, answer.delay) = ("{\"n\":7}".into(), Duration::from_millis(600))
    });
    let calls = stage.provider.call_count();
    std::thread::sleep(MIN_INTERVAL);
    let mut live = TcpStream::connect(socket_address(&base)).unwrap();
    live.write_all(b"GET /resumen?fresh=1&timeout=10 HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    wait_until(|| stage.provider.call_count() > calls);
    program.send_signal(Signal::TERM);
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
    assert_eq!(program.wait_for_exit().exit_code, Some(0));
    assert!(
        fs::read_to_string(stage.state_path())
            .unwrap()
            .contains("{\"n\":7}"),
        "and saved"
    );
}

#[test]
fn removed_state_folder_is_recreated() {
    let stage = ServiceFixture::new();
    let (program, base) = stage.start_process();
    source_a(&base);
    stage.wait_until_saved("0.10");
    fs::remove_dir_all(stage.folder.path().join("state")).unwrap();
    stage.provider.set_json("{\"n\":8}");
    std::thread::sleep(MIN_INTERVAL);
    http_get(&base, "/resumen?fresh=1");
    stage.wait_until_saved("{\"n\":8}");
    assert!(
        http_get(&base, "/metrics")
            .body
            .contains("resumen_store_errors_total{store=\"file\"} 0")
    );
    program.send_signal(Signal::TERM);
    assert_eq!(program.wait_for_exit().exit_code, Some(0));
}

#[test]
fn missing_inherited_socket_is_handled() {
    let stage = ServiceFixture::new();
    let start = |variables: &str, descriptor: &str| {
        let own = stage.build_command();
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            &format!("{variables} exec \"$0\" \"$@\" {descriptor}"),
        ]);
        shell
            .arg(own.get_program())
            .args(own.get_args())
            .current_dir(&stage.folder);
        TestProcess::start(
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
        listening_url(&start(variables, ""));
    }
    for descriptor in ["3</dev/null", "3<&-"] {
        let ended = start("LISTEN_FDS=1", descriptor).wait_for_exit();
        assert_eq!(ended.exit_code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("LISTEN_FDS"), "{ended:?}");
    }
}
