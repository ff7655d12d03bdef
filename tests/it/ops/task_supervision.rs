//! Supervision: a background task that panics is restarted and counted, and its work continues.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use resumen::config::Config;

use crate::support::fake_provider::FakeProvider;
use crate::support::process_usage::metric_value;
use crate::support::raw_client::RawHttpClient;
use crate::support::scripted_fetch::{ScriptedFetch, test_schedule, test_source};
use crate::support::test_app::{TestApp, parse_test_config};
use crate::support::test_server::{TestServer, default_server_settings};
use crate::support::wait::wait_until;

/// A source with an interval of one second, a derived source, and a state file.
fn start_supervised_app(provider: &FakeProvider, folder: &tempfile::TempDir) -> TestApp {
    let url = provider.url();
    let state = folder.path().join("resumen.json");
    let text = format!(
        "[store]\npath = \"{}\"\n[sources.a]\nurl = \"{url}\"\ninterval = \"1s\"\n\
         [derived.d]\nfrom = [\"a\"]\nextract = '.a.n'\n",
        state.display()
    );
    let config: Config = parse_test_config(&text);
    TestApp::start_with_config(&config)
}

fn restart_count(app: &TestApp, task: &str) -> u64 {
    let series = format!("resumen_task_restarts_total{{task=\"{task}\"}}");
    metric_value(&app.get("/metrics").body, &series).unwrap() as u64
}

/// Makes a task panic and waits for its restart.
fn panic_task(app: &TestApp, task: &'static str) {
    assert_eq!(restart_count(app, task), 0);
    app.service.core.supervisor.trigger_panic(task);
    wait_until("the restart", || restart_count(app, task) == 1);
}

#[test]
fn panicked_refresher_keeps_schedule() {
    let provider = FakeProvider::with_json(r#"{"n":1}"#);
    let folder = tempfile::tempdir().unwrap();
    let app = start_supervised_app(&provider, &folder);
    panic_task(&app, "refresher");
    let calls = provider.call_count();
    wait_until("calls", || provider.call_count() > calls + 1);
    assert_eq!(app.get("/salud").status, 200);
}

#[test]
fn hung_refresher_notifies_supervisor() {
    // The test server has no refresher.
    let server = TestServer::start(
        default_server_settings(),
        &[test_source("a", &["p"], test_schedule())],
        ScriptedFetch::default(),
    );
    let start = server.core.clock.time_point();
    let mut client = server.connect_client();
    assert_eq!(client.get("/salud").text(), r#"{"status":"ok"}"#);
    wait_until("the failed liveness", || {
        server.connect_client().get("/salud").status != 200
    });
    let response = server.connect_client().get("/salud");
    assert_eq!(
        (response.status, &response.json()["code"]),
        (503, &"refresher_stuck".into())
    );
    assert!(
        server.core.clock.elapsed_since(start) > Duration::from_secs(9),
        "the last beat was 10 s before"
    );
}

#[test]
fn panicked_persister_and_deriver_restart() {
    let provider = FakeProvider::with_json(r#"{"n":1}"#);
    let folder = tempfile::tempdir().unwrap();
    let app = start_supervised_app(&provider, &folder);
    app.wait_for_json("/resumen", |response| {
        response["resultados"]["d"]["data"] == 1
    });
    panic_task(&app, "saver");
    panic_task(&app, "deriver");
    provider.set_json(r#"{"n":22}"#);
    app.wait_for_json("/resumen", |response| {
        response["resultados"]["d"]["data"] == 22
    });
    wait_until("the saved value", || {
        fs::read_to_string(folder.path().join("resumen.json"))
            .is_ok_and(|text| text.contains(r#"{"n":22}"#))
    });
}

#[test]
fn panicked_acceptor_refuses_no_client() {
    let provider = FakeProvider::with_json(r#"{"n":1}"#);
    let folder = tempfile::tempdir().unwrap();
    let app = start_supervised_app(&provider, &folder);
    let mut clients = RawHttpClient::connect(app.address);
    assert_eq!(clients.get("/salud").status, 200);
    panic_task(&app, "accept loop");
    assert_eq!(clients.get("/salud").status, 200);
    assert_eq!(app.get("/resumen").status, 200);
}

#[test]
fn panicked_worker_keeps_connections() {
    let provider = FakeProvider::with_json(r#"{"n":1}"#);
    let folder = tempfile::tempdir().unwrap();
    let app = start_supervised_app(&provider, &folder);
    // New connections go to the thread with the fewest, so that each thread has some.
    let mut clients: Vec<RawHttpClient> = (0..16)
        .map(|_| RawHttpClient::connect(app.address))
        .collect();
    assert!(
        clients
            .iter_mut()
            .all(|client| client.get("/salud").status == 200)
    );
    panic_task(&app, "serving thread");
    assert!(
        clients
            .iter_mut()
            .all(|client| client.get("/salud").status == 200)
    );
    assert!((0..16).all(|_| app.get("/resumen").status == 200));
    let address = app.address;
    drop(clients);
    app.service
        .stop(&tokio_util::sync::CancellationToken::new());
    assert!(TcpStream::connect(address).is_err(), "the service stops");
}
