//! Restarts, kills, reloads and drains under polling clients: no request fails, and no last-good value is
//! lost.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use resumen::process::Clock;
use rustix::process::Signal;

use crate::support::child_process::{TestProcess, command_through};
use crate::support::fake_provider::FakeProvider;
use crate::support::http_reply::http_get;
use crate::support::polling_clients::PollingClients;
use crate::support::process_usage::measure_usage;
use crate::support::service_process::{ServiceFixture, ServiceProcess, listening_url};
use crate::support::wait::{wait_for, wait_until};

/// Starts the service with a listening socket of this process, as a service manager does.
fn start_with_socket(fixture: &ServiceFixture, socket: &TcpListener) -> ServiceProcess {
    let starter = ["sh", "-c", "exec \"$0\" \"$@\" 3<&0 0</dev/null"];
    let mut command = command_through(&starter, &fixture.command());
    command
        .env("LISTEN_FDS", "1")
        .stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    ServiceProcess::start(&mut command)
}

#[test]
fn kill_keeps_data_and_true_age() {
    let fixture = ServiceFixture::new();
    let service = fixture.start();
    let before = service.source_a();
    assert_eq!(before["data"].to_string(), r#"{"n":0.10}"#);
    fixture.wait_until_saved("0.10");
    service.kill();
    fixture.fail_provider();

    let clock = Clock::start();
    let fetched_at = before["fetched_at"].as_str().unwrap();
    let fetched_at = fetched_at
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_millisecond();
    let service = fixture.start();
    assert_eq!(service.get("/salud/listo").status, 200, "ready at once");
    let start = clock.now().as_millis();
    let after = service.source_a();
    let end = clock.now().as_millis();
    assert_eq!(after["data"], before["data"]);
    assert_eq!(after["fetched_at"], before["fetched_at"]);
    let age = after["age_ms"].as_i64().unwrap();
    assert!(
        (start - fetched_at..=end - fetched_at + 25).contains(&age),
        "{age}: {after}"
    );
    wait_until("the failure", || {
        service.source_a()["code"] == "http_status"
    });
    assert_eq!(service.source_a()["data"], before["data"]);
}

#[test]
fn shutdown_saves_last_readings() {
    let fixture = ServiceFixture::new();
    let service = fixture.start();
    service.source_a();
    for n in 0..3 {
        fixture.provider.set_json(&format!("{{\"n\":{n}}}"));
        // `min_interval` may hold back a live request.
        wait_until("a live reading", || {
            service.results("/resumen?fresh=1")["a"]["data"]["n"] == n
        });
    }
    service.stop();
    fixture.fail_provider();
    let restored = fixture.start().source_a();
    assert_eq!(restored["data"].to_string(), "{\"n\":2}");
}

#[test]
fn corrupt_state_loses_one_generation() {
    let fixture = ServiceFixture::new();
    let service = fixture.start();
    service.source_a();
    fixture.wait_until_saved("0.10");
    service.get_json("/resumen?fresh=1");
    service.stop();
    let saved = fs::read(fixture.state_path()).unwrap();
    fs::write(fixture.state_path(), &saved[..saved.len() - 9]).unwrap();
    fixture.fail_provider();
    let process = TestProcess::start(&mut fixture.command());
    let warning = process.wait_for_stderr_line("is not used: it is damaged");
    assert!(warning.contains("set aside as"), "{warning}");
    process.wait_for_stderr_line("restored readings");
}

#[test]
fn second_process_takes_over_state_file() {
    let fixture = ServiceFixture::new();
    let first = fixture.start();
    first.source_a();
    fixture.wait_until_saved("0.10");
    fixture.fail_provider();
    let second = TestProcess::start(&mut fixture.command());
    second.wait_for_stderr_line("restored readings");
    let warning = second.wait_for_stderr_line("another program writes this state file");
    assert!(warning.contains("WARN"), "{warning}");
    second.wait_for_stderr_line("listening");
    first.stop();
    second.wait_for_stderr_line("saving readings again");
}

#[test]
fn unwritable_state_is_logged_once() {
    let fixture = ServiceFixture::new();
    let folder = fixture.state_path().parent().unwrap().to_owned();
    fs::write(folder, "a file in the place of the folder").unwrap();
    let process = TestProcess::start(&mut fixture.command());
    process.wait_for_stderr_line("readings would not survive a restart: failed to create");
    let base_url = listening_url(&process);
    let service = ServiceProcess { process, base_url };
    service.source_a();
    service.wait_for_metric("resumen_store_errors_total{store=\"file\"}", |errors| {
        errors > 1.5
    });
    let log = service.stop().stderr;
    assert!(!log.contains("would not survive"), "{log}");
}

/// Reloads `count` times under polling clients; every second configuration is invalid.
#[allow(clippy::print_stdout, reason = "prints a measurement")]
fn run_reloads(count: usize) {
    let fixture = ServiceFixture::new();
    let service = fixture.start();
    service.source_a();
    let calls = fixture.provider.call_count();
    let other = FakeProvider::with_json("1");
    let clients = PollingClients::new(4, service.address(), "/resumen", true);
    let usage = || measure_usage(service.process.pid(), &service.base_url);
    clients.wait_for_responses(20);
    let before = usage();
    for n in 0..count {
        let is_valid = n % 2 == 0;
        let valid = format!("[sources.b{n}]\nurl = \"{}\"\n", other.url());
        let invalid = "[sources.c]\nurl = \"nonsense\"\n";
        fixture.write_config(if is_valid { &valid } else { invalid });
        service.send_signal(Signal::HUP);
        service.wait_for_log(if is_valid {
            "configuration reloaded"
        } else {
            "configuration reload failed"
        });
    }
    clients.wait_for_responses(20);
    wait_until("a call of a new source", || other.call_count() > 0);
    // The last reloads may still call their sources; connections become idle and close after a second,
    // and threads that read files end after ten.
    let after = wait_for(&format!("about the resources of {before:?}"), || {
        let after = usage();
        let has_settled = after.descriptors <= before.descriptors + 4
            && after.threads <= before.threads + 4
            && after.tasks <= before.tasks + 4;
        has_settled.then_some(after)
    });
    let message = format!("{count} reloads; before {before:?}, after {after:?}");
    let responses = clients.stop_and_count().unwrap();
    println!("{message}: {responses} responses, no failure");
    assert_eq!(fixture.provider.call_count(), calls, "no new call for `a`");
}

#[test]
fn reloads_fail_no_request() {
    run_reloads(60);
}

#[test]
#[ignore = "takes a minute; the suite runs 60 reloads"]
fn thousand_reloads_fail_no_request() {
    run_reloads(1000);
}

#[test]
fn reload_keeps_provider_connections() {
    let fixture = ServiceFixture::new();
    let service = fixture.start();
    service.source_a();
    for n in 0..3 {
        fixture.write_config(&format!("[sources.b{n}]\nurl = \"http://127.0.0.1:9/\"\n"));
        service.send_signal(Signal::HUP);
        service.wait_for_log("configuration reloaded");
        let calls = fixture.provider.call_count();
        wait_until("a live reading", || {
            service.results("/resumen?fresh=1")["a"]["from"] == "live"
        });
        assert!(fixture.provider.call_count() > calls);
    }
    assert_eq!(fixture.provider.connection_count(), 1);
}

/// Restarts the service `count` times behind one listening socket.
#[allow(clippy::print_stdout, reason = "prints a measurement")]
fn run_rolling_restarts(count: usize) {
    let fixture = ServiceFixture::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut service = start_with_socket(&fixture, &socket);
    let clients = PollingClients::new(4, address, "/resumen", false);
    for _ in 0..count {
        clients.wait_for_responses(20);
        let next = start_with_socket(&fixture, &socket);
        std::mem::replace(&mut service, next).stop();
    }
    let responses = clients.stop_and_count().unwrap();
    println!("{count} rolling restarts: {responses} responses, no failure");
    let response = http_get(&address.to_string(), "/resumen").json();
    assert_eq!(
        response["resultados"]["a"]["data"].to_string(),
        r#"{"n":0.10}"#
    );
}

#[test]
fn rolling_restarts_fail_no_request() {
    run_rolling_restarts(3);
}

#[test]
#[ignore = "takes a minute; the suite runs 3 restarts"]
fn twenty_rolling_restarts_fail_no_request() {
    run_rolling_restarts(20);
}

#[test]
fn port_sharing_is_opt_in() {
    let (fixture, other) = (ServiceFixture::new(), ServiceFixture::new());
    let first = ServiceProcess::start(fixture.command().arg("--reuse-port"));
    let address = first.address().to_string();
    let second =
        ServiceProcess::start(other.command().args(["--reuse-port", "--listen", &address]));
    assert_eq!(second.base_url, first.base_url);
    let third = TestProcess::start(other.command().args(["--listen", &address])).wait_for_exit();
    assert_eq!(third.exit_code, Some(1), "{}", third.stderr);
    let message = format!("failed to listen on {address}");
    assert!(third.stderr.contains(&message), "{}", third.stderr);
}

#[test]
fn stalled_clients_do_not_block_shutdown() {
    let fixture = ServiceFixture::new();
    let service = fixture.start();
    service.source_a();
    fixture.provider.set_delay(Duration::from_secs(60));
    let send = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(service.address()).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let _stalled = [
        send(b""),
        send(b"GET /resumen HTT"),
        send(b"GET /resumen?fresh=1&timeout=30 HTTP/1.1\r\nhost: x\r\n\r\n"),
        send(b"GET /resumen/stream HTTP/1.1\r\nhost: x\r\n\r\n"),
    ];
    let log = service.stop().stderr;
    // The times of the log exclude the delivery of the signal, which takes seconds on a busy machine.
    let logged_at = |event: &str| {
        let line = log.lines().find(|line| line.contains(event)).unwrap();
        line.split(' ')
            .next()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    let duration = logged_at("INFO stopped").duration_since(logged_at("INFO stopping "));
    assert!(duration.as_millis() <= 2200, "{duration:?}\n{log}");
    assert!(
        fixture.saved_state().contains("0.10"),
        "the last save ended in time"
    );
}

/// Measures nine starts, from the start of the process to the end of the first response, with `count`
/// sources that are restored from disk. Returns the durations in ascending order.
fn measure_warm_starts(count: usize, filter: impl Fn(usize) -> String) -> Vec<Duration> {
    let fixture = ServiceFixture::new();
    let url = fixture.provider.url();
    let table = |n: usize| {
        let filter = filter(n);
        format!("[sources.s{n}]\nurl = \"{url}\"\ninterval = \"1h\"\nextract = '{filter}'\n")
    };
    fixture.write_config(&(0..count).map(table).collect::<String>());
    let service = fixture.start();
    service.get("/resumen?timeout=20");
    fixture.wait_until_saved(&format!("\"s{}\"", count - 1));
    service.stop();
    fixture.fail_provider();
    let measure = |_| {
        let clock = Clock::start();
        let start = clock.time_point();
        let service = fixture.start();
        let reply = service.get("/resumen");
        let duration = clock.elapsed_since(start);
        assert_eq!(reply.body.matches("\"ok\":true").count(), count + 1);
        duration
    };
    let mut durations: Vec<Duration> = (0..9).map(measure).collect();
    durations.sort_unstable();
    durations
}

#[test]
#[ignore = "a measurement: `cargo test --release --test it warm_start -- --ignored --nocapture`"]
fn warm_start_answers_at_once() {
    let shared = measure_warm_starts(1000, |_| "{n: .n}".into());
    let distinct = measure_warm_starts(1000, |n| {
        format!("{{n: (.n + {n}), twice: (.n * 2 | tostring)}}")
    });
    let limit = Duration::from_millis(if cfg!(debug_assertions) { 2000 } else { 50 });
    for (filters, durations) in [("one filter", shared), ("1,000 filters", distinct)] {
        let (median, shortest) = (durations[4], durations[0]);
        eprintln!(
            "first response, 1,000 sources, {filters}: median {median:?}, shortest {shortest:?}"
        );
        assert!(shortest < limit, "{durations:?}");
    }
}
