//! Several real replicas on one real Redis: together they call a provider as often as one would, and what one learns
//! all know. Without `redis-server` these are left out, unless `RESUMEN_REQUIRE_ALL=1`.

use std::time::Duration;

use resumen::process::Clock;

use crate::support::child_process::http_get;
use crate::support::fake_provider::FakeProvider;
use crate::support::polling_clients::PollingClients;
use crate::support::redis_server::RedisServer;
use crate::support::replica_cluster::{ReplicaCluster, TestReplica, wait_for};

/// A source `a` at this stub.
pub(crate) fn shared_source_config(stub: &FakeProvider, rest: &str) -> String {
    format!("[sources.a]\nurl = \"{}\"\n{rest}\n", stub.url())
}

/// Operations of Redis that failed at any of them: each may have cost a call.
fn store_error_count(replicas: &[TestReplica]) -> f64 {
    replicas
        .iter()
        .map(|replica| replica.metric_value("resumen_store_errors_total{store=\"redis\"}"))
        .sum()
}

#[test]
fn ten_replicas_call_like_one() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let clock = Clock::start();
    let fleets: Vec<_> = [1, 3, 10]
        .into_iter()
        .map(|size: usize| {
            let stub = FakeProvider::with_json(r#"{"n":1}"#);
            let rest = "interval = \"1s\"\ntimeout = \"900ms\"\nmin_interval = \"300ms\"";
            let fleet = ReplicaCluster::new(
                &redis.url(),
                &format!("fleet{size}"),
                &shared_source_config(&stub, rest),
            );
            let replicas = fleet.start_replicas(size);
            (size, stub, fleet, replicas)
        })
        .collect();
    let before: Vec<_> = fleets
        .iter()
        .map(|(_, stub, ..)| (stub.call_count(), clock.instant()))
        .collect();
    std::thread::sleep(Duration::from_secs(6));
    for ((size, stub, _, replicas), (calls, begun)) in fleets.iter().zip(before) {
        let intervals = (clock.instant() - begun).as_secs_f64();
        let calls = (stub.call_count() - calls) as f64;
        let slack = 2.0 + store_error_count(replicas);
        println!("{size} replicas: {calls} calls in {intervals:.1} intervals");
        assert!(
            calls <= intervals / 0.9 + slack,
            "{size} replicas: {calls} calls in {intervals} intervals"
        );
        assert!(
            calls >= intervals / 1.1 - 3.0,
            "{size} replicas: {calls} calls in {intervals} intervals"
        );
        let taken: f64 = replicas
            .iter()
            .map(|r| r.metric_value("resumen_fleet_leases_taken_total"))
            .sum();
        assert!(taken >= calls - slack, "{taken} leases for {calls} calls");
    }
}

#[test]
fn replicas_share_readings_and_versions() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let stub = FakeProvider::with_json(r#"{"n":1}"#);
    let rest = "interval = \"1h\"\ntimeout = \"5s\"\nmin_interval = \"1ms\"";
    let fleet = ReplicaCluster::new(&redis.url(), "fleet", &shared_source_config(&stub, rest));
    let replicas = fleet.start_replicas(3);
    wait_for("a first reading", || {
        replicas
            .iter()
            .all(|replica| replica.source_a()["ok"] == true)
    });
    let calls = stub.call_count();
    for n in 2..5 {
        stub.set_json(&format!("{{\"n\":{n}}}"));
        let live = replicas[n % 3].get_json("/resumen?fresh=1");
        assert_eq!(live["resultados"]["a"]["data"]["n"], n);
        assert_eq!(live["resultados"]["a"]["from"], "live");
        wait_for("the reading everywhere", || {
            replicas
                .iter()
                .all(|replica| replica.source_a()["data"]["n"] == n)
        });
        let versions: Vec<_> = replicas
            .iter()
            .map(|replica| replica.get_json("/resumen")["version"].clone())
            .collect();
        assert!(
            versions.iter().all(|version| *version == versions[0]),
            "{versions:?}"
        );
    }
    assert_eq!(stub.call_count(), calls + 3);

    // A failure counts for all: each tells it once, and a replica that comes later knows it without a call.
    stub.update_response(|answer| answer.status = "503 Service Unavailable");
    let live = replicas[0].get_json("/resumen?fresh=1");
    assert_eq!(live["resultados"]["a"]["code"], "http_status");
    wait_for("the failure everywhere", || {
        replicas
            .iter()
            .all(|replica| replica.source_a()["code"] == "http_status")
    });
    replicas[1]
        .process
        .wait_for_stderr_line("source failed at another replica");
    let calls = stub.call_count();
    let late = fleet.start_replica();
    wait_for("the failure at the newcomer", || {
        late.source_a()["code"] == "http_status"
    });
    assert_eq!(late.source_a()["data"]["n"], 4);
    assert_eq!(
        late.source_a()["failing_since"],
        replicas[0].source_a()["failing_since"]
    );
    assert!(
        stub.call_count() <= calls + 1,
        "the newcomer asked nobody; a retry of the fleet may have come"
    );
}

#[test]
fn replicas_share_min_interval() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let stub = FakeProvider::with_json(r#"{"n":1}"#);
    let rest = "interval = \"1h\"\ntimeout = \"5s\"\nmin_interval = \"500ms\"";
    let fleet = ReplicaCluster::new(&redis.url(), "fleet", &shared_source_config(&stub, rest));
    let replicas = fleet.start_replicas(3);
    let clock = Clock::start();
    let (before, begun) = (stub.call_count(), clock.instant());
    let crowds: Vec<_> = replicas
        .iter()
        .map(|replica| PollingClients::new(2, replica.address(), "/resumen?fresh=1", true))
        .collect();
    std::thread::sleep(Duration::from_secs(4));
    let answers: usize = crowds
        .into_iter()
        .map(|crowd| crowd.stop_and_count().unwrap())
        .sum();
    let (calls, spaces) = (
        (stub.call_count() - before) as f64,
        (clock.instant() - begun).as_secs_f64() / 0.5,
    );
    println!("{answers} answers, {calls} calls in {spaces:.1} least intervals");
    assert!(
        calls <= spaces + 1.0 + store_error_count(&replicas),
        "{calls} calls in {spaces} least intervals"
    );
    assert!(calls >= 3.0, "{calls} calls in {spaces} least intervals");
}

#[test]
fn replicas_share_retry_after() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let stub = FakeProvider::with_json("{}");
    stub.update_response(|answer| {
        answer.status = "429 Too Many Requests";
        answer.headers = "retry-after: 60\r\n".into();
    });
    let rest = "interval = \"1s\"\ntimeout = \"900ms\"\nmin_interval = \"10ms\"";
    let fleet = ReplicaCluster::new(&redis.url(), "fleet", &shared_source_config(&stub, rest));
    let replicas = fleet.start_replicas(3);
    wait_for("the hold everywhere", || {
        replicas
            .iter()
            .all(|replica| replica.source_a()["code"] == "rate_limited")
    });
    let calls = stub.call_count();
    for replica in replicas.iter().cycle().take(9) {
        assert_eq!(http_get(&replica.base_url, "/resumen?fresh=1").status, 200);
    }
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(stub.call_count(), calls);
    assert!(
        calls <= 1 + store_error_count(&replicas) as usize,
        "{calls}"
    );
}

/// What `INFO` says of Redis after `key`.
fn redis_info(redis: &RedisServer, section: &str, key: &str) -> f64 {
    let page = redis.execute(&["INFO", section]);
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap_or_else(|| panic!("no {key} in {page}"));
    line.split(',').next().unwrap().trim().parse().unwrap()
}

#[test]
#[ignore = "a measurement: `cargo test --test it what_sharing_costs -- --ignored --nocapture`"]
fn redis_cost_of_sharing_is_bounded() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let stub = FakeProvider::with_json(r#"{"usd":97123.45}"#);
    let one = |n: usize| {
        let url = stub.url();
        format!("[sources.s{n}]\nurl = \"{url}\"\ninterval = \"2s\"\ntimeout = \"1900ms\"\n")
    };
    let sources: Vec<String> = (0..200).map(one).collect();
    let fleet = ReplicaCluster::new(&redis.url(), "fleet", &sources.concat());
    let replicas = fleet.start_replicas(3);
    std::thread::sleep(Duration::from_secs(3));
    let cpu =
        || redis_info(&redis, "cpu", "used_cpu_user:") + redis_info(&redis, "cpu", "used_cpu_sys:");
    redis.execute(&["CONFIG", "RESETSTAT"]);
    let clock = Clock::start();
    let (before, calls, begun) = (cpu(), stub.call_count(), clock.instant());
    std::thread::sleep(Duration::from_secs(20));
    let (used, calls) = (cpu() - before, (stub.call_count() - calls) as f64);
    let seconds = (clock.instant() - begun).as_secs_f64();
    let scripts = redis_info(&redis, "commandstats", "cmdstat_evalsha:calls=");
    println!(
        "{calls} fetches in {seconds:.1} s by 3 replicas: {:.2} scripts a fetch",
        scripts / calls
    );
    println!(
        "Redis: {:.0} µs of CPU a fetch, {:.1} % of one CPU",
        used * 1e6 / calls,
        used * 100.0 / seconds
    );
    println!("{} operations failed", store_error_count(&replicas));
}

#[test]
fn documented_acl_suffices() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/replicas.md")).unwrap();
    let rights = page
        .split("```")
        .find(|block| block.trim_start().starts_with("ACL SETUSER"))
        .unwrap();
    let words: Vec<&str> = rights.split_whitespace().collect();
    assert!(
        redis.execute(&words).starts_with("+OK"),
        "{}",
        redis.execute(&words)
    );
    let stub = FakeProvider::with_json(r#"{"n":1}"#);
    let url = format!("redis://resumen:PASSWORD@{}", redis.address);
    let rest = "interval = \"1s\"\ntimeout = \"900ms\"\nmin_interval = \"10ms\"";
    let fleet = ReplicaCluster::new(&url, "resumen", &shared_source_config(&stub, rest));
    let replicas = fleet.start_replicas(2);
    for replica in &replicas {
        replica.wait_for_metric("resumen_fleet_leases_taken_total", |taken| taken > 1.5);
        replica.wait_for_metric("resumen_fleet_outcomes_heard_total", |heard| heard > 1.5);
    }
    assert!(store_error_count(&replicas) < 0.5);
}
