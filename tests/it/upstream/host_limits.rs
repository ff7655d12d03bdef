//! Many sources of one host, and hosts that serve few connections at a time.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::support::fake_provider::FakeProvider;
use crate::support::test_app::{TestApp, source_tables};

/// Returns whether every source of a response fulfils `wanted`.
fn all_sources(answer: &Value, wanted: fn(&Value) -> bool) -> bool {
    let sources = answer["resultados"].as_object().unwrap();
    sources.values().all(wanted)
}

#[test]
fn live_response_refreshes_twenty_sources_of_one_host() {
    let provider = FakeProvider::with_json("{\"n\":1}");
    provider.set_delay(Duration::from_millis(300));
    let names: Vec<String> = (0..20).map(|n| format!("s{n}")).collect();
    let sources: Vec<(&str, String)> = names
        .iter()
        .map(|name| (name.as_str(), format!("{}{name}", provider.url())))
        .collect();
    let app = TestApp::start(&source_tables(&sources));
    app.wait_for_json("/resumen?timeout=1", |answer| {
        all_sources(answer, |source| source["ok"] == true)
    });
    // `min_interval` of the default interval.
    std::thread::sleep(Duration::from_millis(1_600));
    let answer = app.get_json("/resumen?fresh=1&timeout=2");
    assert!(
        all_sources(&answer, |source| source["from"] == "live"),
        "{answer:#}"
    );
}

#[test]
fn scheduled_attempts_take_turns() {
    let provider = FakeProvider::with_json("{\"n\":1}");
    provider.set_delay(Duration::from_millis(200));
    let sources = ["a", "b", "c", "d", "e"].map(|name| (name, format!("{}{name}", provider.url())));
    let app = TestApp::start(&source_tables(&sources));
    app.wait_for_json("/resumen?timeout=1", |answer| {
        all_sources(answer, |source| source["ok"] == true)
    });
    // Calls that overlap need a connection each.
    assert_eq!((provider.connection_count(), provider.call_count()), (1, 5));
}

/// Starts a server that serves `slots` connections at a time, each until the client closes it. Others
/// wait to be accepted. It ends with the process.
fn start_device(slots: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..slots {
        let listener = listener.try_clone().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = serve_connection(&stream.unwrap());
            }
        });
    }
    address
}

fn serve_connection(mut stream: &TcpStream) -> std::io::Result<()> {
    let lines = BufReader::new(stream).lines();
    for line in lines {
        if line?.is_empty() {
            std::thread::sleep(Duration::from_millis(50));
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"n\":1}")?;
        }
    }
    Ok(())
}

#[test]
fn few_slots_serve_live_request() {
    for (slots, sources) in [(1, 3), (2, 6)] {
        let device = start_device(slots);
        let mut text =
            "[store]\npath = \"\"\n[defaults]\ninterval = \"4s\"\nmin_interval = \"10ms\"\n"
                .to_owned();
        for n in 0..sources {
            writeln!(text, "[sources.s{n}]\nurl = \"http://{device}/{n}\"").unwrap();
        }
        let app = TestApp::start(&text);
        app.wait_for_json("/resumen?timeout=1", |answer| {
            all_sources(answer, |source| source["ok"] == true)
        });
        let answer = app.get_json("/resumen?fresh=1");
        assert!(
            all_sources(&answer, |source| source["from"] == "live"),
            "{slots} slots: {answer:#}"
        );
    }
}

#[test]
fn one_slot_serves_sources_with_different_settings() {
    let device = start_device(1);
    let settings = [
        "timeout = \"800ms\"",
        "timeout = \"700ms\"",
        "method = \"POST\"",
        "method = \"PUT\"\ntimeout = \"600ms\"",
        "allow_private = true",
    ];
    let mut text = "[store]\npath = \"\"\n[defaults]\ninterval = \"2s\"\n".to_owned();
    for (n, setting) in settings.iter().enumerate() {
        writeln!(
            text,
            "[sources.s{n}]\nurl = \"http://{device}/{n}\"\n{setting}"
        )
        .unwrap();
    }
    let app = TestApp::start(&text);
    app.wait_for_json("/resumen?timeout=1", |answer| {
        all_sources(answer, |source| source["ok"] == true)
    });
    // Three rounds more, without a failure.
    for _ in 0..12 {
        std::thread::sleep(Duration::from_millis(500));
        let answer = app.get_json("/resumen");
        assert!(
            all_sources(&answer, |source| source["code"].is_null()),
            "{answer:#}"
        );
    }
}
