//! Each long task is made to panic in turn: it is started again, counted, and what it does goes on.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use resumen::config::Config;

use crate::persistence::restart_survival::wait_until;
use crate::support::fake_provider::FakeProvider;
use crate::support::raw_client::RawHttpClient;
use crate::support::scripted_fetch::{ScriptedFetch, test_schedule, test_source};
use crate::support::test_app::{TestApp, parse_test_config};
use crate::support::test_server::{TestServer, default_server_settings};

/// Two sources, one of them asked all the time, a derived one, and a state file.
fn start_supervised_app(stub: &FakeProvider, folder: &tempfile::TempDir) -> TestApp {
    let url = stub.url();
    let state = folder.path().join("resumen.json");
    let text = format!(
        "[store]\npath = \"{}\"\n[sources.a]\nurl = \"{url}\"\ninterval = \"1s\"\n\
         [derived.d]\nfrom = [\"a\"]\nextract = '.a.n'\n",
        state.display()
    );
    let config: Config = parse_test_config(&text);
    TestApp::start_with_config(&config)
}

fn restart_count(served: &TestApp, task: &str) -> u64 {
    let page = String::from_utf8(served.get("/metrics").body).unwrap();
    let name = format!("resumen_task_restarts_total{{task=\"{task}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("no {name}:\n{page}"))
        .parse()
        .unwrap()
}

/// Makes a task panic, and waits until it is back.
fn panic_task(served: &TestApp, task: &'static str) {
    assert_eq!(restart_count(served, task), 0);
    served.service.core.supervisor.trigger_panic(task);
    wait_until(|| restart_count(served, task) == 1);
}

#[test]
fn panicked_refresher_keeps_schedule() {
    let (stub, folder) = (
        FakeProvider::with_json(r#"{"n":1}"#),
        tempfile::tempdir().unwrap(),
    );
    let served = start_supervised_app(&stub, &folder);
    panic_task(&served, "refresher");
    let calls = stub.call_count();
    wait_until(|| stub.call_count() > calls + 1);
    assert_eq!(served.get("/salud").status, 200);
}

#[test]
fn hung_refresher_notifies_supervisor() {
    // Nobody refreshes here.
    let stand = TestServer::start(
        default_server_settings(),
        &[test_source("a", &["p"], test_schedule())],
        ScriptedFetch::default(),
    );
    let begun = stand.core.clock.time_point();
    let mut client = stand.connect_client();
    assert_eq!(client.get("/salud").text(), r#"{"status":"ok"}"#);
    wait_until(|| stand.connect_client().get("/salud").status != 200);
    let answer = stand.connect_client().get("/salud");
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (503, &"refresher_stuck".into())
    );
    assert!(
        stand.core.clock.elapsed_since(begun) > Duration::from_secs(9),
        "the last sign was before that"
    );
}

#[test]
fn panicked_persister_and_deriver_restart() {
    let (stub, folder) = (
        FakeProvider::with_json(r#"{"n":1}"#),
        tempfile::tempdir().unwrap(),
    );
    let served = start_supervised_app(&stub, &folder);
    served.wait_for_json("/resumen", |answer| answer["resultados"]["d"]["data"] == 1);
    panic_task(&served, "saver");
    panic_task(&served, "deriver");
    stub.set_json(r#"{"n":22}"#);
    served.wait_for_json("/resumen", |answer| answer["resultados"]["d"]["data"] == 22);
    wait_until(|| {
        fs::read_to_string(folder.path().join("resumen.json"))
            .is_ok_and(|text| text.contains(r#"{"n":22}"#))
    });
}

#[test]
fn panicked_acceptor_refuses_no_client() {
    let (stub, folder) = (
        FakeProvider::with_json(r#"{"n":1}"#),
        tempfile::tempdir().unwrap(),
    );
    let served = start_supervised_app(&stub, &folder);
    let mut kept = RawHttpClient::connect(served.address);
    assert_eq!(kept.get("/salud").status, 200);
    panic_task(&served, "accept loop");
    assert_eq!(kept.get("/salud").status, 200);
    assert_eq!(served.get("/resumen").status, 200);
}

#[test]
fn panicked_worker_keeps_connections() {
    let (stub, folder) = (
        FakeProvider::with_json(r#"{"n":1}"#),
        tempfile::tempdir().unwrap(),
    );
    let served = start_supervised_app(&stub, &folder);
    // Connections go to whichever thread has fewest, so each has some of them.
    let mut kept: Vec<RawHttpClient> = (0..16)
        .map(|_| RawHttpClient::connect(served.address))
        .collect();
    assert!(
        kept.iter_mut()
            .all(|client| client.get("/salud").status == 200)
    );
    panic_task(&served, "serving thread");
    assert!(
        kept.iter_mut()
            .all(|client| client.get("/salud").status == 200)
    );
    assert!((0..16).all(|_| served.get("/resumen").status == 200));
    let address = served.address;
    drop(kept);
    served
        .service
        .stop(&tokio_util::sync::CancellationToken::new());
    assert!(TcpStream::connect(address).is_err(), "it still ends");
}
