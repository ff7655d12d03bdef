//! Outages and faults of Redis: clients still get fresh data.

use std::time::Duration;

use resumen::process::Clock;
use rustix::process::Signal;

use crate::support::fake_provider::script::ProviderScript;
use crate::support::fake_provider::{FakeProvider, ProviderPlan};
use crate::support::polling_clients::FreshnessPoller;
use crate::support::redis_server::RedisServer;
use crate::support::replica_cluster::{
    ClusterFixture, ReplicaCluster, SCHEDULE_KEYS, is_sharing, shared_source_config,
    wait_for_readings, wait_for_value,
};
use crate::support::requirements::require_program;
use crate::support::service_process::ServiceProcess;
use crate::support::wait::wait_until;

const STANDALONE_MESSAGE: &str = "shared store disconnected";
const SHARING_RESUMED_MESSAGE: &str = "shared store reconnected";

fn wait_until_standalone(replica: &ServiceProcess) {
    wait_until("standalone mode", || {
        let health = replica.get_json("/salud/fuentes");
        health["checks"]["store:redis"][0]["role"] == "alone"
    });
}

#[test]
fn redis_restart_fails_no_request() {
    let Some(mut fixture) = ClusterFixture::start(SCHEDULE_KEYS) else {
        return;
    };
    let replicas = fixture.cluster.start_replicas(3);
    wait_for_readings(&replicas);
    let pollers = FreshnessPoller::start_all(&replicas);
    fixture.redis.kill();
    for replica in &replicas {
        let line = replica.wait_for_log(STANDALONE_MESSAGE);
        assert!(
            line.contains("WARN") && line.contains("replicas=3"),
            "{line}"
        );
    }
    let health = replicas[0].get_json("/salud/fuentes");
    let check = &health["checks"]["store:redis"][0];
    assert_eq!(check["role"], "alone", "{health}");
    assert_eq!(check["replicas"], 3, "{health}");
    let calls = fixture.provider.call_count();
    wait_until("calls without Redis", || {
        fixture.provider.call_count() >= calls + 3
    });
    let garbage = [
        "HTTP/1.1 400 Bad Request\\r\\n\\r\\n",
        "*1\\r\\n$2147483647\\r\\nxx",
        "\\0\\xff\\xfe",
        "+OK\\r\\n+OK\\r\\n+OK\\r\\n",
    ];
    let script = |bytes| ProviderScript::parse(&["greet", &format!("send {bytes}")]);
    let impostor = FakeProvider::start_at(
        fixture.redis.address,
        ProviderPlan {
            scripts: garbage.map(script).to_vec(),
            ..ProviderPlan::default()
        },
    );
    wait_until("repeated connections", || impostor.connection_count() >= 6);
    drop(impostor);
    fixture.redis.restart();
    for replica in &replicas {
        replica.wait_for_log(SHARING_RESUMED_MESSAGE);
        replica.wait_for_metric("resumen_fleet_replicas", |seen| seen > 2.5);
    }
    let keys = fixture.redis.execute(&["KEYS", "fleet:*:letter"]);
    assert!(
        keys.starts_with("*1\r\n"),
        "the state is stored again: {keys}"
    );
    for poller in pollers {
        let summary = poller.stop_and_summarise();
        assert!(summary.responses > 30, "{summary:?}");
    }
    for replica in replicas {
        let log = replica.stop().stderr;
        assert!(!log.contains(STANDALONE_MESSAGE), "logged twice:\n{log}");
    }
}

#[test]
fn redis_faults_are_survived() {
    let Some(fixture) = ClusterFixture::start(SCHEDULE_KEYS) else {
        return;
    };
    let (redis, provider) = (&fixture.redis, &fixture.provider);
    let replicas = fixture.cluster.start_replicas(2);
    wait_for_readings(&replicas);
    let pollers = FreshnessPoller::start_all(&replicas);
    let assert_standalone = |fault: &str, reason: &str| {
        for replica in &replicas {
            let line = replica.wait_for_log(STANDALONE_MESSAGE);
            assert!(line.contains(reason), "{fault}: {line}");
        }
        let clock = Clock::start();
        let start = clock.time_point();
        let reply = replicas[0].get("/resumen?fresh=1&timeout=1");
        let duration = clock.elapsed_since(start);
        assert_eq!(reply.status, 200, "{fault}");
        assert!(
            duration < Duration::from_millis(1500),
            "{fault}: {duration:?}"
        );
    };
    let wait_until_shared = || {
        for replica in &replicas {
            replica.wait_for_log(SHARING_RESUMED_MESSAGE);
        }
    };

    redis.send_signal(Signal::STOP);
    assert_standalone("stalled", "no answer within");
    redis.send_signal(Signal::CONT);
    wait_until_shared();
    redis.execute(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_standalone("read-only", "read only replica");
    redis.execute(&["REPLICAOF", "NO", "ONE"]);
    wait_until_shared();
    redis.execute(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_standalone("full", "OOM");
    redis.execute(&["CONFIG", "SET", "maxmemory", "0"]);
    wait_until_shared();
    redis.execute(&["FLUSHALL"]);
    redis.execute(&["SCRIPT", "FLUSH"]);
    let calls = provider.call_count();
    wait_until("calls after the flush", || {
        provider.call_count() > calls + 1
    });
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
    let provider = FakeProvider::with_json(r#"{"n":1}"#);
    let url = format!("redis://:${{KEY}}@{}/0", redis.address);
    let cluster = ReplicaCluster::new(&url, &shared_source_config(&provider, SCHEDULE_KEYS));
    let right = cluster.start_replica_with(&[("KEY", "open-sesame-1")]);
    right.wait_for_metric("resumen_fleet_sharing", |shares| shares > 0.5);
    let wrong = cluster.start_replica_with(&[("KEY", "open-barley-2")]);
    wait_until("a reading without Redis", || wrong.source_a()["ok"] == true);
    let health = wrong.get("/salud/fuentes").body;
    let is_standalone = health.contains("\"role\":\"alone\"") && health.contains("invalid");
    assert!(is_standalone && !health.contains("barley"), "{health}");
    let log = wrong.stop().stderr;
    assert!(!log.contains("barley"), "{log}");
}

#[test]
fn unix_socket_redis_may_start_later() {
    let Some(mut redis) = RedisServer::start(&[]) else {
        return;
    };
    let provider = FakeProvider::with_json(r#"{"n":1}"#);
    let url = format!("unix://{}?db=3", redis.socket_path().display());
    redis.kill();
    let cluster = ReplicaCluster::new(&url, &shared_source_config(&provider, SCHEDULE_KEYS));
    let replica = cluster.start_replica();
    wait_until_standalone(&replica);
    assert_eq!(replica.source_a()["ok"], true);
    redis.restart();
    replica.wait_for_log(SHARING_RESUMED_MESSAGE);
    wait_until("a stored state in the third database", || {
        redis.execute(&["INFO", "keyspace"]).contains("db3:keys=")
    });
}

#[test]
fn skewed_clock_does_not_win_merge() {
    if !require_program("faketime") {
        return;
    }
    let keys = "interval = \"1h\"\ntimeout = \"5s\"\nmin_interval = \"1ms\"";
    let Some(mut fixture) = ClusterFixture::start(keys) else {
        return;
    };
    let start_with_offset = |fixture: &ClusterFixture, offset: &str| {
        let starter = [
            "env",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "faketime",
            "-f",
            offset,
        ];
        fixture.cluster.start_replica_through(&starter)
    };
    // A replica that starts without Redis translates times; the others set their clock by Redis.
    fixture.redis.kill();
    let translating = start_with_offset(&fixture, "-1h");
    wait_until_standalone(&translating);
    fixture.redis.restart();
    translating.wait_for_log("translating times");
    let ahead = start_with_offset(&fixture, "+1h");
    let replicas = [fixture.cluster.start_replica(), ahead, translating];
    wait_for_readings(&replicas);
    for n in 2..8 {
        fixture.provider.set_json(&format!("{{\"n\":{n}}}"));
        // The clocks differ by some milliseconds: `min_interval` may hold back a live request.
        wait_until("a live reading", || {
            replicas[n % 3].results("/resumen?fresh=1")["a"]["data"]["n"] == n
        });
        wait_for_value(&replicas, n);
        for replica in &replicas {
            let age = replica.source_a()["age_ms"].as_i64().unwrap();
            assert!((0..5_000).contains(&age), "{age}");
        }
        let fetched_at = |replica: &ServiceProcess| replica.source_a()["fetched_at"].clone();
        assert_eq!(fetched_at(&replicas[0]), fetched_at(&replicas[1]));
    }
}
