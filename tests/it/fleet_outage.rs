//! Whatever becomes of Redis, or of a replica that calls a provider for the others, is no client's business.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use resumen::clock::Clock;
use rustix::process::Signal;

use crate::fleet::source;
use crate::program::get;
use crate::support::redis::Redis;
use crate::support::replica::{Fleet, Poller, Replica, until};
use crate::support::stub::Stub;

/// Stale after 4.9 s.
const PACE: &str = "interval = \"2s\"\ntimeout = \"900ms\"\nmin_interval = \"300ms\"";

const ALONE: &str = "this replica goes on alone";
const AGAIN: &str = "calls and readings are shared again";

/// What listens where Redis was, and is none.
struct Garbage {
    stop: Arc<AtomicBool>,
    address: SocketAddr,
    thread: Option<std::thread::JoinHandle<usize>>,
}

impl Garbage {
    fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let stop = Arc::<AtomicBool>::default();
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let says: [&[u8]; 4] = [
                b"HTTP/1.1 400 Bad Request\r\n\r\n",
                b"*1\r\n$2147483647\r\nxx",
                b"\0\xff\xfe",
                b"+OK\r\n+OK\r\n+OK\r\n",
            ];
            let mut visits = 0;
            for stream in listener.incoming().flatten() {
                if until.load(SeqCst) {
                    break;
                }
                let mut stream = stream;
                let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
                let _ = stream.read(&mut [0; 512]);
                let _ = stream.write_all(says[visits % says.len()]);
                visits += 1;
            }
            visits
        });
        Self {
            stop,
            address,
            thread: Some(thread),
        }
    }

    /// Ends it; gives how often somebody came.
    fn end(mut self) -> usize {
        self.stop.store(true, SeqCst);
        let _ = std::net::TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap()
    }
}

fn shares(replica: &Replica) -> bool {
    replica.metric("resumen_fleet_sharing") > 0.5
}

fn with_data(replicas: &[Replica]) {
    until("a first reading everywhere", || {
        replicas.iter().all(|replica| replica.a()["ok"] == true)
    });
}

#[test]
fn redis_killed_replaced_by_garbage_and_restarted_empty_is_noticed_by_no_client() {
    let Some(mut redis) = Redis::start(&[]) else {
        return;
    };
    let stub = Stub::json(r#"{"n":1}"#);
    let fleet = Fleet::new(&redis.url(), "fleet", &source(&stub, PACE));
    let replicas = fleet.launch_all(3);
    with_data(&replicas);
    let pollers: Vec<Poller> = replicas.iter().map(Poller::new).collect();
    redis.kill();
    for replica in &replicas {
        let line = replica.program.err_line(ALONE);
        assert!(
            line.contains("WARN") && line.contains("replicas=3"),
            "{line}"
        );
    }
    let health = replicas[0].json("/salud/fuentes");
    assert_eq!(
        health["checks"]["store:redis"][0]["role"], "alone",
        "{health}"
    );
    assert_eq!(
        health["checks"]["store:redis"][0]["replicas"], 3,
        "{health}"
    );
    std::thread::sleep(Duration::from_secs(3));
    let garbage = Garbage::at(redis.address);
    std::thread::sleep(Duration::from_secs(3));
    let visits = garbage.end();
    assert!(
        visits >= 3,
        "{visits} visits: it is tried again all the time"
    );
    redis.revive();
    for replica in &replicas {
        replica.program.err_line(AGAIN);
        replica.until("resumen_fleet_replicas", |seen| seen > 2.5);
    }
    assert!(
        redis.ask(&["KEYS", "fleet:*:letter"]).starts_with("*1\r\n"),
        "what was known is shared anew"
    );
    for poller in pollers {
        let polled = poller.done();
        assert!(polled.answers > 30, "{polled:?}");
    }
    for replica in replicas {
        replica.program.signal(Signal::TERM);
        let ended = replica.program.end();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(!ended.err.contains(ALONE), "said once:\n{}", ended.err);
    }
}

#[test]
fn redis_stalled_read_only_full_or_flushed_is_survived_and_left_behind() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let stub = Stub::json(r#"{"n":1}"#);
    let fleet = Fleet::new(&redis.url(), "fleet", &source(&stub, PACE));
    let replicas = fleet.launch_all(2);
    with_data(&replicas);
    let pollers: Vec<Poller> = replicas.iter().map(Poller::new).collect();
    let falls = |what: &str, why: &str| {
        for replica in &replicas {
            let line = replica.program.err_line(ALONE);
            assert!(line.contains(why), "{what}: {line}");
        }
        let clock = Clock::start();
        let begun = clock.mark();
        assert_eq!(
            get(&replicas[0].base, "/resumen?fresh=1&timeout=1").status,
            200
        );
        assert!(
            clock.since(begun) < Duration::from_millis(1500),
            "{what}: {:?}",
            clock.since(begun)
        );
    };
    let rises = || {
        replicas
            .iter()
            .for_each(|replica| drop(replica.program.err_line(AGAIN)))
    };

    redis.signal(Signal::STOP);
    falls("stalled", "no answer within 200 ms");
    redis.signal(Signal::CONT);
    rises();
    redis.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    falls("read-only", "read only replica");
    redis.ask(&["REPLICAOF", "NO", "ONE"]);
    rises();
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    falls("full", "OOM");
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    rises();
    redis.ask(&["FLUSHALL"]);
    redis.ask(&["SCRIPT", "FLUSH"]);
    let calls = stub.calls();
    until("calls after the flush", || stub.calls() > calls + 1);
    assert!(replicas.iter().all(shares));
    for poller in pollers {
        poller.done();
    }
}

#[test]
fn a_wrong_password_is_told_without_it_and_leaves_a_replica_alone() {
    let Some(redis) = Redis::start(&["--requirepass", "open-sesame-1"]) else {
        return;
    };
    let stub = Stub::json(r#"{"n":1}"#);
    let url = format!("redis://:${{KEY}}@{}/0", redis.address);
    let fleet = Fleet::new(&url, "fleet", &source(&stub, PACE));
    let right = fleet.launch_by(&[], &[("KEY", "open-sesame-1")]);
    right.until("resumen_fleet_sharing", |shares| shares > 0.5);
    let wrong = fleet.launch_by(&[], &[("KEY", "open-barley-2")]);
    until("its own reading", || wrong.a()["ok"] == true);
    let health = get(&wrong.base, "/salud/fuentes").body;
    assert!(
        health.contains("\"role\":\"alone\"") && health.contains("invalid"),
        "{health}"
    );
    assert!(!health.contains("barley"), "{health}");
    wrong.program.signal(Signal::TERM);
    let ended = wrong.program.end();
    assert!(!ended.err.contains("barley"), "{}", ended.err);
}

#[test]
fn a_socket_file_and_a_redis_that_comes_later_will_do() {
    let Some(mut redis) = Redis::start(&[]) else {
        return;
    };
    let stub = Stub::json(r#"{"n":1}"#);
    let url = format!("unix://{}?db=3", redis.socket().display());
    redis.kill();
    let fleet = Fleet::new(&url, "fleet", &source(&stub, PACE));
    let replica = fleet.launch();
    until("that it is alone", || {
        replica.json("/salud/fuentes")["checks"]["store:redis"][0]["role"] == "alone"
    });
    assert_eq!(replica.a()["ok"], true);
    redis.revive();
    replica.program.err_line(AGAIN);
    until("a letter in the third database", || {
        redis.ask(&["INFO", "keyspace"]).contains("db3:keys=")
    });
}

/// The one of these replicas that has taken a lease since `before` counted.
fn holder(replicas: &[Replica], before: &[f64]) -> usize {
    let found = std::cell::Cell::new(0);
    until("somebody who holds the lease", || {
        let taken = taken(replicas);
        let more = taken
            .iter()
            .zip(before)
            .position(|(now, before)| now > before);
        found.set(more.unwrap_or_default());
        more.is_some()
    });
    found.get()
}

fn taken(replicas: &[Replica]) -> Vec<f64> {
    replicas
        .iter()
        .map(|replica| replica.metric("resumen_fleet_leases_taken_total"))
        .collect()
}

/// Lets something happen to a replica while it calls the provider for the others; gives that one and the others.
fn while_it_holds(
    stub: &Stub,
    mut replicas: Vec<Replica>,
    happens: impl Fn(&Replica),
) -> (Replica, Vec<Replica>) {
    with_data(&replicas);
    // Nobody flies just now.
    let settled = taken(&replicas);
    until("an attempt that ended", || taken(&replicas) != settled);
    std::thread::sleep(Duration::from_millis(300));
    let before = taken(&replicas);
    stub.change(|answer| answer.delay = Duration::from_millis(600));
    let victim = replicas.remove(holder(&replicas, &before));
    happens(&victim);
    stub.change(|answer| answer.delay = Duration::ZERO);
    (victim, replicas)
}

#[test]
fn a_holder_killed_in_flight_delays_the_others_by_its_timeout_at_most() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let stub = Stub::json(r#"{"n":1}"#);
    let fleet = Fleet::new(&redis.url(), "fleet", &source(&stub, PACE));
    let (_victim, others) = while_it_holds(&stub, fleet.launch_all(3), |victim| {
        victim.program.signal(Signal::KILL);
    });
    let pollers: Vec<Poller> = others.iter().map(Poller::new).collect();
    let calls = stub.calls();
    until("calls by the others", || stub.calls() >= calls + 2);
    for poller in pollers {
        // An interval with its jitter, the lease of the dead one, the call that takes over, and a busy machine.
        let oldest = poller.done().oldest;
        assert!(oldest < 2_200 + 1_150 + 300 + 800, "{oldest} ms");
    }
}

#[test]
fn a_holder_that_stands_still_comes_back_without_harm() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let stub = Stub::json(r#"{"n":1}"#);
    let fleet = Fleet::new(&redis.url(), "fleet", &source(&stub, PACE));
    let (victim, others) = while_it_holds(&stub, fleet.launch_all(3), |victim| {
        victim.program.signal(Signal::STOP);
    });
    stub.says(r#"{"n":2}"#);
    let pollers: Vec<Poller> = others.iter().map(Poller::new).collect();
    until("a newer reading at the others", || {
        others.iter().all(|replica| replica.a()["data"]["n"] == 2)
    });
    until("that it is no longer counted", || {
        others[0].metric("resumen_fleet_replicas") < 2.5
    });
    victim.program.signal(Signal::CONT);
    until("the newer reading at the one that stood", || {
        victim.a()["data"]["n"] == 2
    });
    until("that it is counted again", || {
        others[0].metric("resumen_fleet_replicas") > 2.5
    });
    assert!(
        others.iter().all(|replica| replica.a()["data"]["n"] == 2),
        "what came late is older"
    );
    for poller in pollers {
        poller.done();
    }
}

#[test]
fn what_is_no_lease_and_no_letter_is_passed_over_and_said_once() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let stub = Stub::json(r#"{"n":1}"#);
    let fleet = Fleet::new(&redis.url(), "fleet", &source(&stub, PACE));
    let replica = fleet.launch();
    replica.until("resumen_fleet_leases_taken_total", |taken| taken > 0.5);
    until("a letter", || {
        redis.ask(&["KEYS", "fleet:*:letter"]).contains(":letter")
    });
    let keys = redis.ask(&["KEYS", "fleet:*:letter"]);
    let letter = keys
        .lines()
        .find(|line| line.ends_with(":letter"))
        .unwrap()
        .to_owned();
    let lease = letter.replace(":letter", ":lease");
    let soon = Clock::start().now().as_millis() + 900;
    let huge = format!("resumen/1 {soon} {}", "x".repeat(5 << 20));
    let newer = format!("resumen/2 {soon} x y");
    let ways: [(&[&str], &[&str]); 5] = [
        (
            &["SET", &lease, "flying nobody 1"],
            &["SET", &letter, "nonsense"],
        ),
        (
            &["SET", &lease, "nonsense", "PX", "900000"],
            &["SET", &letter, &newer],
        ),
        (&["LPUSH", &lease, "x"], &["LPUSH", &letter, "x"]),
        (&["HSET", &lease, "x", "y"], &["SET", &letter, &huge]),
        (
            &["SET", "fleet:replicas", "x"],
            &["PUBLISH", "fleet:notices", "nonsense"],
        ),
    ];
    for (first, second) in ways {
        redis.ask(&["DEL", &lease, &letter]);
        redis.ask(first);
        redis.ask(second);
        let calls = stub.calls();
        until("calls all the same", || stub.calls() > calls);
    }
    assert!(shares(&replica));
    assert_eq!(replica.a()["stale"], false);
}

#[test]
fn a_lease_from_before_the_clock_was_set_back_or_without_end_holds_up_nobody() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let stub = Stub::json(r#"{"n":1}"#);
    let fleet = Fleet::new(&redis.url(), "fleet", &source(&stub, PACE));
    let replicas = fleet.launch_all(2);
    until("a letter", || {
        redis.ask(&["KEYS", "fleet:*:letter"]).contains(":letter")
    });
    let keys = redis.ask(&["KEYS", "fleet:*:letter"]);
    let lease = keys
        .lines()
        .find(|line| line.ends_with(":letter"))
        .unwrap()
        .replace(":letter", ":lease");
    // What an hour's step back leaves behind, and what no replica writes.
    let later = Clock::start().now().as_millis() + 3_600_000;
    for phase in ["flying", "landed"] {
        for start in [later, 1] {
            redis.ask(&[
                "SET",
                &lease,
                &format!("{phase} nobody {start}"),
                "PX",
                "3600000",
            ]);
            let calls = stub.calls();
            until("two calls all the same", || stub.calls() > calls + 1);
            assert!(
                !redis.ask(&["GET", &lease]).contains("nobody"),
                "{phase} {start}"
            );
        }
    }
    assert!(replicas.iter().all(shares));
}

/// A replica of a release that writes another format is played by hand: it holds leases and tells of them, and nobody
/// else can read what it knows.
#[test]
fn a_newer_format_beside_an_older_one_costs_no_answer() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let stub = Stub::json(r#"{"n":1}"#);
    let fleet = Fleet::new(&redis.url(), "fleet", &source(&stub, PACE));
    let replicas = fleet.launch_all(2);
    with_data(&replicas);
    let pollers: Vec<Poller> = replicas.iter().map(Poller::new).collect();
    until("a letter", || {
        redis.ask(&["KEYS", "fleet:*:letter"]).contains(":letter")
    });
    let keys = redis.ask(&["KEYS", "fleet:*:letter"]);
    let letter = keys
        .lines()
        .find(|line| line.ends_with(":letter"))
        .unwrap()
        .to_owned();
    let lease = letter.replace(":letter", ":lease");
    let identity = letter.split(['{', '}']).nth(1).unwrap().to_owned();
    let clock = Clock::start();
    for n in 0..6 {
        let now = clock.now().as_millis();
        redis.ask(&[
            "SET",
            &lease,
            &format!("flying future-{n} {now}"),
            "NX",
            "PX",
            "1150",
        ]);
        std::thread::sleep(Duration::from_millis(200));
        redis.ask(&[
            "SET",
            &letter,
            &format!("resumen/2 {now} something else"),
            "PX",
            "60000",
        ]);
        redis.ask(&[
            "SET",
            &lease,
            &format!("landed future-{n} {now}"),
            "PX",
            "300",
        ]);
        redis.ask(&[
            "PUBLISH",
            "fleet:notices",
            &format!("{identity} future-{n} landed"),
        ]);
        std::thread::sleep(Duration::from_millis(800));
    }
    for poller in pollers {
        let oldest = poller.done().oldest;
        assert!(
            oldest < 4_500,
            "the older ones go on by themselves: {oldest} ms"
        );
    }
    let said = replicas[0].program.err_line("is not used");
    assert!(
        said.contains("it has version 2 of the format and this release reads version 1"),
        "{said}"
    );
    assert!(replicas.iter().all(shares));
}

#[test]
fn a_machine_whose_clock_is_an_hour_off_neither_wins_nor_shows_it() {
    if std::process::Command::new("faketime")
        .arg("--version")
        .output()
        .is_err()
    {
        #[allow(
            clippy::disallowed_methods,
            reason = "a switch of the tests, not of the program"
        )]
        let required = std::env::var("RESUMEN_REQUIRE_ALL").is_ok_and(|value| value == "1");
        assert!(!required, "faketime is not installed");
        return;
    }
    let Some(mut redis) = Redis::start(&[]) else {
        return;
    };
    let stub = Stub::json(r#"{"n":1}"#);
    let rest = "interval = \"1h\"\ntimeout = \"5s\"\nmin_interval = \"1ms\"";
    let fleet = Fleet::new(&redis.url(), "fleet", &source(&stub, rest));
    let off = |by: &str| {
        fleet.launch_by(
            &["faketime", "-f", by],
            &[("FAKETIME_DONT_FAKE_MONOTONIC", "1")],
        )
    };
    // One that learns the time as it starts, and one that had to start without Redis and translates from then on.
    redis.kill();
    let translates = off("-1h");
    until("that it is alone", || {
        translates.json("/salud/fuentes")["checks"]["store:redis"][0]["role"] == "alone"
    });
    redis.revive();
    translates.program.err_line("instants are translated");
    let set = off("+1h");
    let right = fleet.launch();
    let replicas = [right, set, translates];
    with_data(&replicas);
    for n in 2..8 {
        stub.says(&format!("{{\"n\":{n}}}"));
        // Clocks agree to some milliseconds only: a live request may come too soon for the least interval.
        until("a live answer", || {
            replicas[n % 3].json("/resumen?fresh=1")["resultados"]["a"]["data"]["n"] == n
        });
        until("the newest reading everywhere", || {
            replicas.iter().all(|replica| replica.a()["data"]["n"] == n)
        });
        for replica in &replicas {
            let age = replica.age();
            assert!((0..5_000).contains(&age), "{age}");
        }
        let fetched = |replica: &Replica| replica.a()["fetched_at"].clone();
        assert_eq!(fetched(&replicas[0]), fetched(&replicas[1]));
    }
}
