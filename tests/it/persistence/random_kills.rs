//! The program is killed, stopped and started at random moments.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::child_process::{TestProcess, command_through};
use crate::support::service_process::{ServiceFixture, ServiceProcess, listening_url};
use crate::support::wait::wait_until;

/// A duration between the start of the process and a moment after it listens.
fn random_delay(rng: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(rng.u64(0..12) * rng.u64(0..12))
}

/// Sends live requests until one returns `{"n": n}`: `min_interval` may hold back the first.
fn wait_for_live_reading(service: &ServiceProcess, n: usize) {
    wait_until("a live reading", || {
        service.results("/resumen?fresh=1")["a"]["data"]["n"] == n
    });
}

#[test]
fn random_kills_keep_last_good_data() {
    let fixture = ServiceFixture::new();
    let service = fixture.start();
    let before = service.source_a();
    fixture.wait_until_saved("0.10");
    service.kill();
    fixture.fail_provider();
    let mut rng = fastrand::Rng::with_seed(5);
    for round in 0..15 {
        let process = TestProcess::start(&mut fixture.command());
        std::thread::sleep(random_delay(&mut rng));
        process.send_signal(Signal::KILL);
        process.wait_for_exit();
        let service = fixture.start();
        let now = service.source_a();
        assert_eq!(
            (&now["data"], &now["fetched_at"]),
            (&before["data"], &before["fetched_at"]),
            "round {round}: {now}"
        );
        let errors = service.metric("resumen_store_errors_total{store=\"file\"}");
        assert!(errors < 0.5, "round {round}");
    }
}

#[test]
fn stop_during_start_exits_cleanly() {
    let fixture = ServiceFixture::new();
    let service = fixture.start();
    let before = service.source_a();
    service.stop();
    fixture.fail_provider();
    let mut rng = fastrand::Rng::with_seed(6);
    for _ in 0..15 {
        let process = TestProcess::start(&mut fixture.command());
        std::thread::sleep(random_delay(&mut rng));
        process.send_signal(Signal::HUP);
        process.send_signal(Signal::TERM);
        let output = process.wait_for_exit();
        // A signal ends the process before it has installed its handlers.
        assert!(matches!(output.exit_code, Some(0) | None), "{output:?}");
        let has_started = output.stderr.contains("starting");
        assert!(output.exit_code.is_some() || !has_started, "{output:?}");
    }
    assert_eq!(fixture.start().source_a()["data"], before["data"]);
}

#[test]
fn shutdown_answers_live_request() {
    let fixture = ServiceFixture::new();
    let service = fixture.start();
    service.source_a();
    fixture.provider.set_json("{\"n\":7}");
    fixture.provider.set_delay(Duration::from_millis(600));
    let calls = fixture.provider.call_count();
    // Longer than `min_interval`, after which a live request calls the provider.
    std::thread::sleep(Duration::from_millis(20));
    let mut live = TcpStream::connect(service.address()).unwrap();
    live.write_all(b"GET /resumen?fresh=1&timeout=10 HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    wait_until("the call", || fixture.provider.call_count() > calls);
    service.send_signal(Signal::TERM);
    let mut response = String::new();
    live.read_to_string(&mut response).unwrap();
    let is_success = response.starts_with("HTTP/1.1 200 ") && response.contains("{\"n\":7}");
    assert!(is_success, "{response}");
    let head = response.to_ascii_lowercase();
    assert!(head.contains("\r\nconnection: close\r\n"), "{response}");
    assert_eq!(service.process.wait_for_exit().exit_code, Some(0));
    assert!(
        fixture.saved_state().contains("{\"n\":7}"),
        "the reading is saved"
    );
}

#[test]
fn removed_state_folder_is_recreated() {
    let fixture = ServiceFixture::new();
    let service = fixture.start();
    service.source_a();
    fixture.wait_until_saved("0.10");
    std::fs::remove_dir_all(fixture.state_path().parent().unwrap()).unwrap();
    fixture.provider.set_json("{\"n\":8}");
    wait_for_live_reading(&service, 8);
    fixture.wait_until_saved("{\"n\":8}");
    assert!(service.metric("resumen_store_errors_total{store=\"file\"}") < 0.5);
    service.stop();
}

#[test]
fn missing_inherited_socket_is_handled() {
    let fixture = ServiceFixture::new();
    let start = |variables: &str, redirection: &str| {
        let script = format!("{variables} exec \"$0\" \"$@\" {redirection}");
        TestProcess::start(&mut command_through(
            &["sh", "-c", &script],
            &fixture.command(),
        ))
    };
    // No socket, an invalid value, and the socket of another process: the program opens its listener.
    for variables in [
        "LISTEN_FDS=0",
        "LISTEN_FDS=none",
        "LISTEN_FDS=1 LISTEN_PID=1",
    ] {
        listening_url(&start(variables, ""));
    }
    for redirection in ["3</dev/null", "3<&-"] {
        let output = start("LISTEN_FDS=1", redirection).wait_for_exit();
        assert_eq!(output.exit_code, Some(1), "{output:?}");
        assert!(output.stderr.contains("LISTEN_FDS"), "{output:?}");
    }
}
