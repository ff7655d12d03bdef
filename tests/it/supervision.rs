//! Each long task is made to panic in turn: it is started again, counted, and what it does goes on.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use resumen::config::Config;

use crate::support::client::Client;
use crate::support::scripted::{Scripted, pace, source};
use crate::support::served::{Served, config};
use crate::support::stand::{Stand, settings};
use crate::support::stub::Stub;
use crate::survival::until;

/// Two sources, one of them asked all the time, a derived one, and a state file.
fn served(stub: &Stub, folder: &tempfile::TempDir) -> Served {
    let url = stub.url();
    let state = folder.path().join("resumen.json");
    let text = format!(
        "[store]\npath = \"{}\"\n[sources.a]\nurl = \"{url}\"\ninterval = \"1s\"\n\
         [derived.d]\nfrom = [\"a\"]\nextract = '.a.n'\n",
        state.display()
    );
    let config: Config = config(&text);
    Served::of(&config)
}

fn restarts(served: &Served, task: &str) -> u64 {
    let page = String::from_utf8(served.get("/metrics").body).unwrap();
    let name = format!("resumen_task_restarts_total{{task=\"{task}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("no {name}:\n{page}"))
        .parse()
        .unwrap()
}

/// Makes a task panic, and waits until it is back.
fn trip(served: &Served, task: &'static str) {
    assert_eq!(restarts(served, task), 0);
    served.service.engine.supervisor.trip(task);
    until(|| restarts(served, task) == 1);
}

#[test]
fn a_refresher_that_panics_asks_again_and_loses_no_plan() {
    let (stub, folder) = (Stub::json(r#"{"n":1}"#), tempfile::tempdir().unwrap());
    let served = served(&stub, &folder);
    trip(&served, "refresher");
    let calls = stub.calls();
    until(|| stub.calls() > calls + 1);
    assert_eq!(served.get("/salud").status, 200);
}

#[test]
fn a_refresher_without_a_sign_of_life_for_ten_seconds_is_told_to_whoever_restarts_it() {
    // Nobody refreshes here.
    let stand = Stand::start(
        settings(),
        &[source("a", &["p"], pace())],
        Scripted::default(),
    );
    let begun = stand.engine.clock.mark();
    let mut client = stand.client();
    assert_eq!(client.get("/salud").text(), r#"{"status":"ok"}"#);
    until(|| stand.client().get("/salud").status != 200);
    let answer = stand.client().get("/salud");
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (503, &"refresher_stuck".into())
    );
    assert!(
        stand.engine.clock.since(begun) > Duration::from_secs(9),
        "the last sign was before that"
    );
}

#[test]
fn a_saver_and_a_deriver_that_panic_go_on() {
    let (stub, folder) = (Stub::json(r#"{"n":1}"#), tempfile::tempdir().unwrap());
    let served = served(&stub, &folder);
    served.until("/resumen", |answer| answer["resultados"]["d"]["data"] == 1);
    trip(&served, "saver");
    trip(&served, "deriver");
    stub.says(r#"{"n":22}"#);
    served.until("/resumen", |answer| answer["resultados"]["d"]["data"] == 22);
    until(|| {
        fs::read_to_string(folder.path().join("resumen.json"))
            .is_ok_and(|text| text.contains(r#"{"n":22}"#))
    });
}

#[test]
fn an_accept_loop_that_panics_is_back_before_anybody_is_refused() {
    let (stub, folder) = (Stub::json(r#"{"n":1}"#), tempfile::tempdir().unwrap());
    let served = served(&stub, &folder);
    let mut kept = Client::connect(served.address);
    assert_eq!(kept.get("/salud").status, 200);
    trip(&served, "accept loop");
    assert_eq!(kept.get("/salud").status, 200);
    assert_eq!(served.get("/resumen").status, 200);
}

#[test]
fn serving_threads_that_panic_keep_their_connections_and_take_new_ones() {
    let (stub, folder) = (Stub::json(r#"{"n":1}"#), tempfile::tempdir().unwrap());
    let served = served(&stub, &folder);
    // Connections go to whichever thread has fewest, so each has some of them.
    let mut kept: Vec<Client> = (0..16).map(|_| Client::connect(served.address)).collect();
    assert!(
        kept.iter_mut()
            .all(|client| client.get("/salud").status == 200)
    );
    trip(&served, "serving thread");
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
