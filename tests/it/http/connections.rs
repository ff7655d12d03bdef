//! Connections that are slow, silent, many, half closed, or there when the server stops.

use std::time::{Duration, Instant};

use resumen::domain::Code;

use super::{fill, serve_with, served, unfilled};
use crate::support::stand::settings;

const MOMENT: Duration = Duration::from_millis(400);

#[allow(
    clippy::disallowed_methods,
    reason = "how long the server takes is what the test asks"
)]
fn now() -> Instant {
    Instant::now()
}

fn impatient() -> resumen::config::Server {
    resumen::config::Server {
        header_timeout: MOMENT,
        idle_timeout: MOMENT * 3,
        ..settings()
    }
}

#[test]
fn silent_and_slow_clients_are_dropped_in_time_and_others_are_served() {
    let served = serve_with(impatient());
    fill(&served);
    let begun = now();
    let mut silent: Vec<_> = (0..50).map(|_| served.client()).collect();
    let mut slow = served.client();
    let mut other = served.client();
    while begun.elapsed() < MOMENT * 7 / 8 {
        slow.send("X");
        assert_eq!(other.get("/resumen").status, 200);
    }
    for client in silent.iter_mut().chain([&mut slow]) {
        assert!(client.is_ended_within(MOMENT * 2));
    }
    assert!(begun.elapsed() < MOMENT * 2, "{:?}", begun.elapsed());
}

#[test]
fn between_two_requests_there_is_more_time_but_not_within_one() {
    let served = serve_with(impatient());
    fill(&served);
    let (mut idle, mut partial) = (served.client(), served.client());
    idle.get("/resumen");
    partial.get("/salud");
    let begun = now();
    partial.send("GET /resumen HT");
    assert!(partial.is_ended_within(MOMENT * 2));
    assert!(begun.elapsed() < MOMENT * 2, "{:?}", begun.elapsed());
    assert!(!idle.is_ended_within(Duration::from_millis(1)));
    assert!(idle.is_ended_within(MOMENT * 3));
    assert!(begun.elapsed() >= MOMENT * 2, "{:?}", begun.elapsed());
}

#[test]
fn who_never_reads_is_dropped() {
    let served = serve_with(impatient());
    fill(&served);
    let mut deaf = served.client();
    let request = "GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let begun = now();
    // More than both sides' buffers can hold; once the server has gone, sending fails, and so does a limit of time.
    while begun.elapsed() < MOMENT * 20 && deaf.try_send(&request) {}
    assert!(
        begun.elapsed() < MOMENT * 20,
        "still there after {:?}",
        begun.elapsed()
    );
    assert_eq!(served.client().get("/resumen").status, 200);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let served = served();
    let mut client = served.client();
    let paths = ["/resumen", "/salud", "/nothing", "/resumen?sources=btc"];
    let request = |n: usize| format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", paths[n % paths.len()]);
    client.send((0..100).map(request).collect::<String>());
    for n in 0..100 {
        let answer = client.answer("GET");
        match n % paths.len() {
            0 => assert_eq!(answer.json()["resultados"].as_object().unwrap().len(), 3),
            1 => assert_eq!(answer.text(), r#"{"status":"ok"}"#),
            2 => assert_eq!(answer.status, 404),
            _ => assert_eq!(answer.json()["resultados"].as_object().unwrap().len(), 1),
        }
    }
}

#[test]
fn beyond_the_cap_clients_wait_and_none_is_turned_away() {
    let served = serve_with(resumen::config::Server {
        max_connections: 2,
        ..settings()
    });
    fill(&served);
    let (mut one, mut two) = (served.client(), served.client());
    one.send("GET /salud HTTP/1.1\r\n");
    two.send("GET /salud HTTP/1.1\r\n");
    let mut third = served.client();
    third.send("GET /salud HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        !third.is_ended_within(Duration::from_millis(1500)),
        "nobody is idle"
    );
    two.send("Host: a\r\n\r\n");
    assert_eq!(two.answer("GET").status, 200);
    drop(one);
    assert_eq!(third.answer("GET").status, 200);
}

#[test]
fn at_the_cap_who_is_idle_makes_room() {
    let served = serve_with(resumen::config::Server {
        max_connections: 50,
        ..settings()
    });
    fill(&served);
    let mut crowd: Vec<_> = (0..50).map(|_| served.client()).collect();
    for client in &mut crowd {
        assert_eq!(client.get("/salud").status, 200);
    }
    let mut busy = crowd.pop().unwrap();
    busy.send("GET /salud HTTP/1.1\r\n");
    let mut late = served.client();
    assert_eq!(late.get("/salud").status, 200, "a health check gets in");
    busy.send("Host: a\r\n\r\n");
    assert_eq!(
        busy.answer("GET").status,
        200,
        "who is not idle keeps its place"
    );
    let ended = crowd.iter_mut().filter_map(|client| {
        client
            .is_ended_within(Duration::from_millis(1))
            .then_some(())
    });
    assert!(
        (1..=10).contains(&ended.count()),
        "a few of those who are idle make room, not all of them"
    );
}

#[test]
fn at_the_cap_who_has_said_nothing_makes_room() {
    let patient = resumen::config::Server {
        header_timeout: Duration::from_secs(600),
        ..settings()
    };
    let served = serve_with(resumen::config::Server {
        max_connections: 20,
        ..patient
    });
    fill(&served);
    let silent: Vec<_> = (0..40).map(|_| served.client()).collect();
    let mut late = served.client();
    assert_eq!(
        late.get("/salud").status,
        200,
        "a health check gets in behind a crowd that says nothing"
    );
    drop(silent);
}

#[test]
fn a_client_that_says_it_sends_no_more_is_answered() {
    let served = unfilled();
    let mut client = served.client();
    client.send("GET /salud HTTP/1.1\r\nHost: a\r\n\r\nGET /resumen HTTP/1.1\r\nHost: a\r\n\r\n");
    client.finish();
    assert_eq!(client.answer("GET").status, 200);
    // The second one waits for the first round, and is still answered.
    fill(&served);
    assert_eq!(client.answer("GET").status, 200);
    assert_eq!(client.next_answer("GET"), None);
}

#[test]
fn old_clients_keep_the_connection_only_if_they_ask_for_it() {
    let served = served();
    let mut client = served.client();
    client.send("GET /salud HTTP/1.0\r\n\r\n");
    assert_eq!(client.answers_to_end("GET").len(), 1);
    let mut client = served.client();
    for _ in 0..2 {
        client.send("GET /salud HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.answer("GET");
        assert_eq!(answer.header("connection"), Some("keep-alive"));
    }
}

#[test]
fn a_drain_finishes_what_runs() {
    let mut served = unfilled();
    let (mut busy, mut idle) = (served.client(), served.client());
    busy.send("GET /resumen HTTP/1.1\r\nHost: a\r\n\r\n");
    idle.get("/salud");
    served.drain.cancel();
    assert!(idle.is_ended_within(Duration::from_secs(2)));
    assert!(!busy.is_ended_within(Duration::from_millis(1)));
    fill(&served);
    let answer = busy.answer("GET");
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    assert!(served.stop(Duration::from_secs(2)).is_some());
}

#[test]
fn a_drain_is_seen_on_kept_and_on_new_connections_before_the_door_closes() {
    let mut served = served();
    let mut kept = served.client();
    assert_eq!(kept.get("/salud/listo").status, 200);
    served.drain.cancel();
    // The door is open for a quarter of a second more.
    let (mut new, mut poller) = (served.client(), served.client());
    for client in [&mut kept, &mut new] {
        let last = std::iter::repeat_with(|| client.get("/salud/listo"))
            .find(|ready| ready.status != 200)
            .unwrap();
        assert_eq!(
            (last.status, &last.json()["code"]),
            (503, &"draining".into())
        );
        assert_eq!(last.header("connection"), Some("close"));
        assert_eq!(client.next_answer("GET"), None);
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
fn a_drain_ends_within_the_grace_whatever_clients_do() {
    let mut served = serve_with(resumen::config::Server {
        shutdown_grace: MOMENT * 2,
        ..settings()
    });
    served.failure("btc", Code::Timeout, "");
    let mut stuck = served.client();
    stuck.send("GET /resumen?timeout=30 HTTP/1.1\r\nHost: a\r\n\r\n");
    let silent = served.client();
    assert!(!stuck.is_ended_within(Duration::from_millis(50)));
    let took = served.stop(MOMENT * 10).expect("it stops");
    assert!(took < MOMENT * 4, "{took:?}");
    drop(silent);
}
