//! Whatever becomes of Redis, or of a replica that calls a provider for the others, is no client's business.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use resumen::process::Clock;
use rustix::process::Signal;

use super::replica_sharing::shared_source_config;
use crate::support::child_process::http_get;
use crate::support::fake_provider::FakeProvider;
use crate::support::redis_server::RedisServer;
use crate::support::replica_cluster::{FreshnessPoller, ReplicaCluster, TestReplica, wait_for};

/// Stale after 4.9 s.
const SCHEDULE_CONFIG: &str = "interval = \"2s\"\ntimeout = \"900ms\"\nmin_interval = \"300ms\"";

const STANDALONE_MESSAGE: &str = "shared store disconnected";
const SHARING_RESUMED_MESSAGE: &str = "shared store reconnected";

/// What listens where Redis was, and is none.
struct GarbageServer {
    stop: Arc<AtomicBool>,
    address: SocketAddr,
    thread: Option<std::thread::JoinHandle<usize>>,
}

impl GarbageServer {
    fn start_at(address: SocketAddr) -> Self {
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
    fn stop_and_count(mut self) -> usize {
        self.stop.store(true, SeqCst);
        let _ = std::net::TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap()
    }
}

fn is_sharing(replica: &TestReplica) -> bool {
    replica.metric_value("resumen_fleet_sharing") > 0.5
}

fn wait_for_data(replicas: &[TestReplica]) {
    wait_for("a first reading everywhere", || {
        replicas
            .iter()
            .all(|replica| replica.source_a()["ok"] == true)
    });
}

#[test]
fn redis_restart_fails_no_request() {
    let Some(mut redis) = RedisServer::start(&[]) else {
        return;
    };
    let stub = FakeProvider::with_json(r#"{"n":1}"#);
    let fleet = ReplicaCluster::new(
        &redis.url(),
        "fleet",
        &shared_source_config(&stub, SCHEDULE_CONFIG),
    );
    let replicas = fleet.start_replicas(3);
    wait_for_data(&replicas);
    let pollers: Vec<FreshnessPoller> = replicas.iter().map(FreshnessPoller::new).collect();
    redis.kill();
    for replica in &replicas {
        let line = replica.process.wait_for_stderr_line(STANDALONE_MESSAGE);
        assert!(
            line.contains("WARN") && line.contains("replicas=3"),
            "{line}"
        );
    }
    let health = replicas[0].get_json("/salud/fuentes");
    assert_eq!(
        health["checks"]["store:redis"][0]["role"], "alone",
        "{health}"
    );
    assert_eq!(
        health["checks"]["store:redis"][0]["replicas"], 3,
        "{health}"
    );
    std::thread::sleep(Duration::from_secs(3));
    let garbage = GarbageServer::start_at(redis.address);
    std::thread::sleep(Duration::from_secs(3));
    let visits = garbage.stop_and_count();
    assert!(
        visits >= 3,
        "{visits} visits: it is tried again all the time"
    );
    redis.restart();
    for replica in &replicas {
        replica
            .process
            .wait_for_stderr_line(SHARING_RESUMED_MESSAGE);
        replica.wait_for_metric("resumen_fleet_replicas", |seen| seen > 2.5);
    }
    assert!(
        redis
            .execute(&["KEYS", "fleet:*:letter"])
            .starts_with("*1\r\n"),
        "what was known is shared anew"
    );
    for poller in pollers {
        let polled = poller.stop_and_summarise();
        assert!(polled.responses > 30, "{polled:?}");
    }
    for replica in replicas {
        replica.process.send_signal(Signal::TERM);
        let ended = replica.process.wait_for_exit();
        assert_eq!(ended.exit_code, Some(0), "{}", ended.stderr);
        assert!(
            !ended.stderr.contains(STANDALONE_MESSAGE),
            "said once:\n{}",
            ended.stderr
        );
    }
}

#[test]
fn redis_faults_are_survived() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let stub = FakeProvider::with_json(r#"{"n":1}"#);
    let fleet = ReplicaCluster::new(
        &redis.url(),
        "fleet",
        &shared_source_config(&stub, SCHEDULE_CONFIG),
    );
    let replicas = fleet.start_replicas(2);
    wait_for_data(&replicas);
    let pollers: Vec<FreshnessPoller> = replicas.iter().map(FreshnessPoller::new).collect();
    let falls = |what: &str, why: &str| {
        for replica in &replicas {
            let line = replica.process.wait_for_stderr_line(STANDALONE_MESSAGE);
            assert!(line.contains(why), "{what}: {line}");
        }
        let clock = Clock::start();
        let begun = clock.time_point();
        assert_eq!(
            http_get(&replicas[0].base_url, "/resumen?fresh=1&timeout=1").status,
            200
        );
        assert!(
            clock.elapsed_since(begun) < Duration::from_millis(1500),
            "{what}: {:?}",
            clock.elapsed_since(begun)
        );
    };
    let rises = || {
        replicas.iter().for_each(|replica| {
            drop(
                replica
                    .process
                    .wait_for_stderr_line(SHARING_RESUMED_MESSAGE),
            )
        })
    };

    redis.send_signal(Signal::STOP);
    falls("stalled", "no answer within 200 ms");
    redis.send_signal(Signal::CONT);
    rises();
    redis.execute(&["REPLICAOF", "127.0.0.1", "1"]);
    falls("read-only", "read only replica");
    redis.execute(&["REPLICAOF", "NO", "ONE"]);
    rises();
    redis.execute(&["CONFIG", "SET", "maxmemory", "1"]);
    falls("full", "OOM");
    redis.execute(&["CONFIG", "SET", "maxmemory", "0"]);
    rises();
    redis.execute(&["FLUSHALL"]);
    redis.execute(&["SCRIPT", "FLUSH"]);
    let calls = stub.call_count();
    wait_for("calls after the flush", || stub.call_count() > calls + 1);
    assert!(replicas.iter().all(is_sharing));
    for poller in pollers {
        poller.stop_and_summarise();
    }
}

#[test]
fn wrong_password_makes_replica_standalone() {
    let Some(redis) = RedisServer::start(&["--requirepass", "open-sesame-1"]) else {
        return;
    };
    let stub = FakeProvider::with_json(r#"{"n":1}"#);
    let url = format!("redis://:${{KEY}}@{}/0", redis.address);
    let fleet = ReplicaCluster::new(&url, "fleet", &shared_source_config(&stub, SCHEDULE_CONFIG));
    let right = fleet.start_replica_through(&[], &[("KEY", "open-sesame-1")]);
    right.wait_for_metric("resumen_fleet_sharing", |shares| shares > 0.5);
    let wrong = fleet.start_replica_through(&[], &[("KEY", "open-barley-2")]);
    wait_for("its own reading", || wrong.source_a()["ok"] == true);
    let health = http_get(&wrong.base_url, "/salud/fuentes").body;
    assert!(
        health.contains("\"role\":\"alone\"") && health.contains("invalid"),
        "{health}"
    );
    assert!(!health.contains("barley"), "{health}");
    wrong.process.send_signal(Signal::TERM);
    let ended = wrong.process.wait_for_exit();
    assert!(!ended.stderr.contains("barley"), "{}", ended.stderr);
}

#[test]
fn unix_socket_redis_may_start_later() {
    let Some(mut redis) = RedisServer::start(&[]) else {
        return;
    };
    let stub = FakeProvider::with_json(r#"{"n":1}"#);
    let url = format!("unix://{}?db=3", redis.socket_path().display());
    redis.kill();
    let fleet = ReplicaCluster::new(&url, "fleet", &shared_source_config(&stub, SCHEDULE_CONFIG));
    let replica = fleet.start_replica();
    wait_for("that it is alone", || {
        replica.get_json("/salud/fuentes")["checks"]["store:redis"][0]["role"] == "alone"
    });
    assert_eq!(replica.source_a()["ok"], true);
    redis.restart();
    replica
        .process
        .wait_for_stderr_line(SHARING_RESUMED_MESSAGE);
    wait_for("a letter in the third database", || {
        redis.execute(&["INFO", "keyspace"]).contains("db3:keys=")
    });
}

/// The one of these replicas that has taken a lease since `before` counted.
fn lease_holder_index(replicas: &[TestReplica], before: &[f64]) -> usize {
    let found = std::cell::Cell::new(0);
    wait_for("somebody who holds the lease", || {
        let taken = lease_counts(replicas);
        let more = taken
            .iter()
            .zip(before)
            .position(|(now, before)| now > before);
        found.set(more.unwrap_or_default());
        more.is_some()
    });
    found.get()
}

fn lease_counts(replicas: &[TestReplica]) -> Vec<f64> {
    replicas
        .iter()
        .map(|replica| replica.metric_value("resumen_fleet_leases_taken_total"))
        .collect()
}

/// Lets something happen to a replica while it calls the provider for the others; gives that one and the others.
fn run_while_lease_is_held(
    stub: &FakeProvider,
    mut replicas: Vec<TestReplica>,
    happens: impl Fn(&TestReplica),
) -> (TestReplica, Vec<TestReplica>) {
    wait_for_data(&replicas);
    // Nobody flies just now.
    let settled = lease_counts(&replicas);
    wait_for("an attempt that ended", || {
        lease_counts(&replicas) != settled
    });
    std::thread::sleep(Duration::from_millis(300));
    let before = lease_counts(&replicas);
    stub.update_response(|answer| answer.delay = Duration::from_millis(600));
    let victim = replicas.remove(lease_holder_index(&replicas, &before));
    happens(&victim);
    stub.update_response(|answer| answer.delay = Duration::ZERO);
    (victim, replicas)
}

#[test]
fn killed_lease_holder_costs_one_timeout() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let stub = FakeProvider::with_json(r#"{"n":1}"#);
    let fleet = ReplicaCluster::new(
        &redis.url(),
        "fleet",
        &shared_source_config(&stub, SCHEDULE_CONFIG),
    );
    let (_victim, others) = run_while_lease_is_held(&stub, fleet.start_replicas(3), |victim| {
        victim.process.send_signal(Signal::KILL);
    });
    let pollers: Vec<FreshnessPoller> = others.iter().map(FreshnessPoller::new).collect();
    let calls = stub.call_count();
    wait_for("calls by the others", || stub.call_count() >= calls + 2);
    for poller in pollers {
        // An interval with its jitter, the lease of the dead one, the call that takes over, and a busy machine.
        let oldest = poller.stop_and_summarise().oldest;
        assert!(oldest < 2_200 + 1_150 + 300 + 800, "{oldest} ms");
    }
}

#[test]
fn stopped_lease_holder_resumes_safely() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let stub = FakeProvider::with_json(r#"{"n":1}"#);
    let fleet = ReplicaCluster::new(
        &redis.url(),
        "fleet",
        &shared_source_config(&stub, SCHEDULE_CONFIG),
    );
    let (victim, others) = run_while_lease_is_held(&stub, fleet.start_replicas(3), |victim| {
        victim.process.send_signal(Signal::STOP);
    });
    stub.set_json(r#"{"n":2}"#);
    let pollers: Vec<FreshnessPoller> = others.iter().map(FreshnessPoller::new).collect();
    wait_for("a newer reading at the others", || {
        others
            .iter()
            .all(|replica| replica.source_a()["data"]["n"] == 2)
    });
    wait_for("that it is no longer counted", || {
        others[0].metric_value("resumen_fleet_replicas") < 2.5
    });
    victim.process.send_signal(Signal::CONT);
    wait_for("the newer reading at the one that stood", || {
        victim.source_a()["data"]["n"] == 2
    });
    wait_for("that it is counted again", || {
        others[0].metric_value("resumen_fleet_replicas") > 2.5
    });
    assert!(
        others
            .iter()
            .all(|replica| replica.source_a()["data"]["n"] == 2),
        "what came late is older"
    );
    for poller in pollers {
        poller.stop_and_summarise();
    }
}

#[test]
fn corrupt_redis_values_are_logged_once() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let stub = FakeProvider::with_json(r#"{"n":1}"#);
    let fleet = ReplicaCluster::new(
        &redis.url(),
        "fleet",
        &shared_source_config(&stub, SCHEDULE_CONFIG),
    );
    let replica = fleet.start_replica();
    replica.wait_for_metric("resumen_fleet_leases_taken_total", |taken| taken > 0.5);
    wait_for("a letter", || {
        redis
            .execute(&["KEYS", "fleet:*:letter"])
            .contains(":letter")
    });
    let keys = redis.execute(&["KEYS", "fleet:*:letter"]);
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
        redis.execute(&["DEL", &lease, &letter]);
        redis.execute(first);
        redis.execute(second);
        let calls = stub.call_count();
        wait_for("calls all the same", || stub.call_count() > calls);
    }
    assert!(is_sharing(&replica));
    assert_eq!(replica.source_a()["stale"], false);
}

#[test]
fn invalid_lease_expiry_is_ignored() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let stub = FakeProvider::with_json(r#"{"n":1}"#);
    let fleet = ReplicaCluster::new(
        &redis.url(),
        "fleet",
        &shared_source_config(&stub, SCHEDULE_CONFIG),
    );
    let replicas = fleet.start_replicas(2);
    wait_for("a letter", || {
        redis
            .execute(&["KEYS", "fleet:*:letter"])
            .contains(":letter")
    });
    let keys = redis.execute(&["KEYS", "fleet:*:letter"]);
    let lease = keys
        .lines()
        .find(|line| line.ends_with(":letter"))
        .unwrap()
        .replace(":letter", ":lease");
    // What an hour's step back leaves behind, and what no replica writes.
    let later = Clock::start().now().as_millis() + 3_600_000;
    for phase in ["flying", "landed"] {
        for start in [later, 1] {
            redis.execute(&[
                "SET",
                &lease,
                &format!("{phase} nobody {start}"),
                "PX",
                "3600000",
            ]);
            let calls = stub.call_count();
            wait_for("two calls all the same", || stub.call_count() > calls + 1);
            assert!(
                !redis.execute(&["GET", &lease]).contains("nobody"),
                "{phase} {start}"
            );
        }
    }
    assert!(replicas.iter().all(is_sharing));
}

/// A replica of a release that writes another format is played by hand: it holds leases and tells of them, and nobody
/// else can read what it knows.
#[test]
fn mixed_formats_interoperate() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let stub = FakeProvider::with_json(r#"{"n":1}"#);
    let fleet = ReplicaCluster::new(
        &redis.url(),
        "fleet",
        &shared_source_config(&stub, SCHEDULE_CONFIG),
    );
    let replicas = fleet.start_replicas(2);
    wait_for_data(&replicas);
    let pollers: Vec<FreshnessPoller> = replicas.iter().map(FreshnessPoller::new).collect();
    wait_for("a letter", || {
        redis
            .execute(&["KEYS", "fleet:*:letter"])
            .contains(":letter")
    });
    let keys = redis.execute(&["KEYS", "fleet:*:letter"]);
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
        redis.execute(&[
            "SET",
            &lease,
            &format!("flying future-{n} {now}"),
            "NX",
            "PX",
            "1150",
        ]);
        std::thread::sleep(Duration::from_millis(200));
        redis.execute(&[
            "SET",
            &letter,
            &format!("resumen/2 {now} something else"),
            "PX",
            "60000",
        ]);
        redis.execute(&[
            "SET",
            &lease,
            &format!("landed future-{n} {now}"),
            "PX",
            "300",
        ]);
        redis.execute(&[
            "PUBLISH",
            "fleet:notices",
            &format!("{identity} future-{n} landed"),
        ]);
        std::thread::sleep(Duration::from_millis(800));
    }
    for poller in pollers {
        let oldest = poller.stop_and_summarise().oldest;
        assert!(
            oldest < 4_500,
            "the older ones go on by themselves: {oldest} ms"
        );
    }
    let said = replicas[0]
        .process
        .wait_for_stderr_line("state of another replica not used");
    assert!(
        said.contains("it has version 2 of the format and this release reads version 1"),
        "{said}"
    );
    assert!(replicas.iter().all(is_sharing));
}

#[test]
fn skewed_clock_does_not_win_merge() {
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
    let Some(mut redis) = RedisServer::start(&[]) else {
        return;
    };
    let stub = FakeProvider::with_json(r#"{"n":1}"#);
    let rest = "interval = \"1h\"\ntimeout = \"5s\"\nmin_interval = \"1ms\"";
    let fleet = ReplicaCluster::new(&redis.url(), "fleet", &shared_source_config(&stub, rest));
    let off = |by: &str| {
        fleet.start_replica_through(
            &["faketime", "-f", by],
            &[("FAKETIME_DONT_FAKE_MONOTONIC", "1")],
        )
    };
    // One that learns the time as it starts, and one that had to start without Redis and translates from then on.
    redis.kill();
    let translates = off("-1h");
    wait_for("that it is alone", || {
        translates.get_json("/salud/fuentes")["checks"]["store:redis"][0]["role"] == "alone"
    });
    redis.restart();
    translates.process.wait_for_stderr_line("translating times");
    let set = off("+1h");
    let right = fleet.start_replica();
    let replicas = [right, set, translates];
    wait_for_data(&replicas);
    for n in 2..8 {
        stub.set_json(&format!("{{\"n\":{n}}}"));
        // Clocks agree to some milliseconds only: a live request may come too soon for the least interval.
        wait_for("a live answer", || {
            replicas[n % 3].get_json("/resumen?fresh=1")["resultados"]["a"]["data"]["n"] == n
        });
        wait_for("the newest reading everywhere", || {
            replicas
                .iter()
                .all(|replica| replica.source_a()["data"]["n"] == n)
        });
        for replica in &replicas {
            let age = replica.age_of_a();
            assert!((0..5_000).contains(&age), "{age}");
        }
        let fetched = |replica: &TestReplica| replica.source_a()["fetched_at"].clone();
        assert_eq!(fetched(&replicas[0]), fetched(&replicas[1]));
    }
}
