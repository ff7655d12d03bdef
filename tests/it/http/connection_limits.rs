//! Connections that are slow, silent, many, half closed, or there when the server stops.

use std::time::{Duration, Instant};

use resumen::domain::Code;

use crate::http::{publish_readings, server_with_readings, server_without_readings, start_server};
use crate::support::test_server::default_server_settings;

const MOMENT: Duration = Duration::from_millis(400);

#[allow(
    clippy::disallowed_methods,
    reason = "how long the server takes is what the test asks"
)]
fn now() -> Instant {
    Instant::now()
}

fn short_timeout_settings() -> resumen::config::ServerSettings {
    resumen::config::ServerSettings {
        header_timeout: MOMENT,
        idle_timeout: MOMENT * 3,
        ..default_server_settings()
    }
}

#[test]
fn slow_clients_are_closed() {
    let served = start_server(short_timeout_settings());
    publish_readings(&served);
    let begun = now();
    let mut silent: Vec<_> = (0..50).map(|_| served.connect_client()).collect();
    let mut slow = served.connect_client();
    let mut other = served.connect_client();
    while begun.elapsed() < MOMENT * 7 / 8 {
        slow.send("X");
        assert_eq!(other.get("/resumen").status, 200);
    }
    for client in silent.iter_mut().chain([&mut slow]) {
        assert!(client.is_closed_within(MOMENT * 2));
    }
    assert!(begun.elapsed() < MOMENT * 2, "{:?}", begun.elapsed());
}

#[test]
fn idle_timeout_exceeds_header_timeout() {
    let served = start_server(short_timeout_settings());
    publish_readings(&served);
    let (mut idle, mut partial) = (served.connect_client(), served.connect_client());
    idle.get("/resumen");
    partial.get("/salud");
    let begun = now();
    partial.send("GET /resumen HT");
    assert!(partial.is_closed_within(MOMENT * 2));
    assert!(begun.elapsed() < MOMENT * 2, "{:?}", begun.elapsed());
    assert!(!idle.is_closed_within(Duration::from_millis(1)));
    assert!(idle.is_closed_within(MOMENT * 3));
    assert!(begun.elapsed() >= MOMENT * 2, "{:?}", begun.elapsed());
}

#[test]
fn non_reading_client_is_closed() {
    let served = start_server(short_timeout_settings());
    publish_readings(&served);
    let mut deaf = served.connect_client();
    let request = "GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let begun = now();
    // More than both sides' buffers can hold; once the server has gone, sending fails, and so does a limit of time.
    while begun.elapsed() < MOMENT * 20 && deaf.try_send(&request) {}
    assert!(
        begun.elapsed() < MOMENT * 20,
        "still there after {:?}",
        begun.elapsed()
    );
    assert_eq!(served.connect_client().get("/resumen").status, 200);
}

#[test]
fn pipelining_keeps_order() {
    let served = server_with_readings();
    let mut client = served.connect_client();
    let paths = ["/resumen", "/salud", "/nothing", "/resumen?sources=btc"];
    let request = |n: usize| format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", paths[n % paths.len()]);
    client.send((0..100).map(request).collect::<String>());
    for n in 0..100 {
        let answer = client.read_response("GET");
        match n % paths.len() {
            0 => assert_eq!(answer.json()["resultados"].as_object().unwrap().len(), 3),
            1 => assert_eq!(answer.text(), r#"{"status":"ok"}"#),
            2 => assert_eq!(answer.status, 404),
            _ => assert_eq!(answer.json()["resultados"].as_object().unwrap().len(), 1),
        }
    }
}

#[test]
fn excess_connections_queue() {
    let served = start_server(resumen::config::ServerSettings {
        max_connections: 2,
        ..default_server_settings()
    });
    publish_readings(&served);
    let (mut one, mut two) = (served.connect_client(), served.connect_client());
    one.send("GET /salud HTTP/1.1\r\n");
    two.send("GET /salud HTTP/1.1\r\n");
    let mut third = served.connect_client();
    third.send("GET /salud HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        !third.is_closed_within(Duration::from_millis(1500)),
        "nobody is idle"
    );
    two.send("Host: a\r\n\r\n");
    assert_eq!(two.read_response("GET").status, 200);
    drop(one);
    assert_eq!(third.read_response("GET").status, 200);
}

#[test]
fn full_server_closes_idle_connection() {
    let served = start_server(resumen::config::ServerSettings {
        max_connections: 50,
        ..default_server_settings()
    });
    publish_readings(&served);
    let mut crowd: Vec<_> = (0..50).map(|_| served.connect_client()).collect();
    for client in &mut crowd {
        assert_eq!(client.get("/salud").status, 200);
    }
    let mut busy = crowd.pop().unwrap();
    busy.send("GET /salud HTTP/1.1\r\n");
    let mut late = served.connect_client();
    assert_eq!(late.get("/salud").status, 200, "a health check gets in");
    busy.send("Host: a\r\n\r\n");
    assert_eq!(
        busy.read_response("GET").status,
        200,
        "who is not idle keeps its place"
    );
    let ended = crowd.iter_mut().filter_map(|client| {
        client
            .is_closed_within(Duration::from_millis(1))
            .then_some(())
    });
    assert!(
        (1..=10).contains(&ended.count()),
        "a few of those who are idle make room, not all of them"
    );
}

#[test]
fn full_server_closes_silent_connection() {
    let patient = resumen::config::ServerSettings {
        header_timeout: Duration::from_secs(600),
        ..default_server_settings()
    };
    let served = start_server(resumen::config::ServerSettings {
        max_connections: 20,
        ..patient
    });
    publish_readings(&served);
    let silent: Vec<_> = (0..40).map(|_| served.connect_client()).collect();
    let mut late = served.connect_client();
    assert_eq!(
        late.get("/salud").status,
        200,
        "a health check gets in behind a crowd that says nothing"
    );
    drop(silent);
}

#[test]
fn half_closed_client_is_served() {
    let served = server_without_readings();
    let mut client = served.connect_client();
    client.send("GET /salud HTTP/1.1\r\nHost: a\r\n\r\nGET /resumen HTTP/1.1\r\nHost: a\r\n\r\n");
    client.shutdown_write();
    assert_eq!(client.read_response("GET").status, 200);
    // The second one waits for the first round, and is still answered.
    publish_readings(&served);
    assert_eq!(client.read_response("GET").status, 200);
    assert_eq!(client.try_read_response("GET"), None);
}

#[test]
fn http10_keep_alive_is_opt_in() {
    let served = server_with_readings();
    let mut client = served.connect_client();
    client.send("GET /salud HTTP/1.0\r\n\r\n");
    assert_eq!(client.read_responses_to_end("GET").len(), 1);
    let mut client = served.connect_client();
    for _ in 0..2 {
        client.send("GET /salud HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.read_response("GET");
        assert_eq!(answer.header("connection"), Some("keep-alive"));
    }
}

#[test]
fn drain_finishes_requests() {
    let mut served = server_without_readings();
    let (mut busy, mut idle) = (served.connect_client(), served.connect_client());
    busy.send("GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n");
    idle.get("/salud");
    served.drain.cancel();
    assert!(idle.is_closed_within(Duration::from_secs(2)));
    assert!(!busy.is_closed_within(Duration::from_millis(1)));
    publish_readings(&served);
    let answer = busy.read_response("GET");
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    assert!(served.stop(Duration::from_secs(2)).is_some());
}

#[test]
fn drain_sends_connection_close() {
    let mut served = server_with_readings();
    let mut kept = served.connect_client();
    assert_eq!(kept.get("/salud/listo").status, 200);
    served.drain.cancel();
    // The door is open for a quarter of a second more.
    let (mut new, mut poller) = (served.connect_client(), served.connect_client());
    for client in [&mut kept, &mut new] {
        let last = std::iter::repeat_with(|| client.get("/salud/listo"))
            .find(|ready| ready.status != 200)
            .unwrap();
        assert_eq!(
            (last.status, &last.json()["code"]),
            (503, &"draining".into())
        );
        assert_eq!(last.header("connection"), Some("close"));
        assert_eq!(client.try_read_response("GET"), None);
    }
    let answer = poller.get("/resumen");
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    assert!(served.stop(Duration::from_secs(2)).is_some());
    assert!(
        std::net::TcpStream::connect(served.address).is_err(),
        "the door is closed"
    );
}

#[test]
fn drain_ends_within_grace() {
    let mut served = start_server(resumen::config::ServerSettings {
        shutdown_grace: MOMENT * 2,
        ..default_server_settings()
    });
    served.publish_failure("btc", Code::Timeout, "");
    let mut stuck = served.connect_client();
    stuck.send("GET /resumen?timeout=30 HTTP/1.1\r\nHost: a\r\n\r\n");
    let silent = served.connect_client();
    assert!(!stuck.is_closed_within(Duration::from_millis(50)));
    let took = served.stop(MOMENT * 10).expect("it stops");
    assert!(took < MOMENT * 4, "{took:?}");
    drop(silent);
}
