//! Several replicas on one Redis: together they call a provider as often as one replica, and each
//! reading reaches all of them. Needs `redis-server`.

use std::time::Duration;

use resumen::process::Clock;

use crate::support::fake_provider::FakeProvider;
use crate::support::polling_clients::PollingClients;
use crate::support::redis_server::RedisServer;
use crate::support::replica_cluster::{
    ClusterFixture, ReplicaCluster, shared_source_config, wait_for_readings, wait_for_value,
};
use crate::support::service_process::ServiceProcess;
use crate::support::wait::wait_until;

/// Number of failed Redis operations of all replicas. Each may have caused one more call.
fn store_error_count(replicas: &[ServiceProcess]) -> f64 {
    let series = "resumen_store_errors_total{store=\"redis\"}";
    replicas.iter().map(|replica| replica.metric(series)).sum()
}

fn wait_for_code(replicas: &[ServiceProcess], code: &str) {
    wait_until(code, || {
        replicas
            .iter()
            .all(|replica| replica.source_a()["code"] == code)
    });
}

#[test]
fn ten_replicas_call_like_one() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let clock = Clock::start();
    let keys = "interval = \"1s\"\ntimeout = \"900ms\"\nmin_interval = \"300ms\"";
    let start = |size: usize| {
        let provider = FakeProvider::with_json(r#"{"n":1}"#);
        let sources = shared_source_config(&provider, keys);
        let prefix = format!("fleet{size}");
        let cluster = ReplicaCluster::with_prefix(&redis.url(), &prefix, &sources);
        let replicas = cluster.start_replicas(size);
        (provider, cluster, replicas)
    };
    let clusters = [1, 3, 10].map(start);
    let starts = clusters
        .each_ref()
        .map(|(provider, ..)| (provider.call_count(), clock.instant()));
    std::thread::sleep(Duration::from_secs(6));
    for ((provider, _, replicas), (calls, start)) in clusters.iter().zip(starts) {
        let intervals = (clock.instant() - start).as_secs_f64();
        let calls = (provider.call_count() - calls) as f64;
        let slack = 2.0 + store_error_count(replicas);
        let summary = format!(
            "{} replicas: {calls} calls in {intervals:.1} s",
            replicas.len()
        );
        println!("{summary}");
        assert!(calls <= intervals / 0.9 + slack, "{summary}");
        assert!(calls >= intervals / 1.1 - 3.0, "{summary}");
        let leases = |replica: &ServiceProcess| replica.metric("resumen_fleet_leases_taken_total");
        let leases: f64 = replicas.iter().map(leases).sum();
        assert!(leases >= calls - slack, "{leases} leases for {calls} calls");
    }
}

#[test]
fn replicas_share_readings_and_versions() {
    let keys = "interval = \"1h\"\ntimeout = \"5s\"\nmin_interval = \"1ms\"";
    let Some(fixture) = ClusterFixture::start(keys) else {
        return;
    };
    let provider = &fixture.provider;
    let replicas = fixture.cluster.start_replicas(3);
    wait_for_readings(&replicas);
    let calls = provider.call_count();
    for n in 2..5 {
        provider.set_json(&format!("{{\"n\":{n}}}"));
        let live = replicas[n % 3].results("/resumen?fresh=1")["a"].take();
        assert_eq!(live["data"]["n"], n);
        assert_eq!(live["from"], "live");
        wait_for_value(&replicas, n);
        let version = |replica: &ServiceProcess| replica.get_json("/resumen")["version"].take();
        let mut versions: Vec<_> = replicas.iter().map(version).collect();
        versions.dedup();
        assert_eq!(versions.len(), 1, "{versions:?}");
    }
    assert_eq!(provider.call_count(), calls + 3);

    // A failure counts for all replicas: each logs it, and a new replica shows it without a call.
    provider.set_status("503 Service Unavailable");
    let live = replicas[0].results("/resumen?fresh=1");
    assert_eq!(live["a"]["code"], "http_status");
    wait_for_code(&replicas, "http_status");
    replicas[1].wait_for_log("source failed at another replica");
    let calls = provider.call_count();
    let late = [fixture.cluster.start_replica()];
    wait_for_code(&late, "http_status");
    let a = late[0].source_a();
    assert_eq!(a["data"]["n"], 4);
    assert_eq!(a["failing_since"], replicas[0].source_a()["failing_since"]);
    // One more call may be a scheduled retry.
    assert!(
        provider.call_count() <= calls + 1,
        "the new replica called the provider"
    );
}

#[test]
fn replicas_share_min_interval() {
    let keys = "interval = \"1h\"\ntimeout = \"5s\"\nmin_interval = \"500ms\"";
    let Some(fixture) = ClusterFixture::start(keys) else {
        return;
    };
    let replicas = fixture.cluster.start_replicas(3);
    let clock = Clock::start();
    let (before, start) = (fixture.provider.call_count(), clock.instant());
    let poll = |replica: &ServiceProcess| {
        PollingClients::new(2, replica.address(), "/resumen?fresh=1", true)
    };
    let clients: Vec<_> = replicas.iter().map(poll).collect();
    std::thread::sleep(Duration::from_secs(4));
    let responses = clients
        .into_iter()
        .map(|clients| clients.stop_and_count().unwrap());
    let responses: usize = responses.sum();
    let calls = (fixture.provider.call_count() - before) as f64;
    let intervals = (clock.instant() - start).as_secs_f64() / 0.5;
    println!("{responses} responses, {calls} calls in {intervals:.1} times `min_interval`");
    assert!(
        calls <= intervals + 1.0 + store_error_count(&replicas),
        "{calls} in {intervals}"
    );
    assert!(calls >= 3.0, "{calls} in {intervals}");
}

#[test]
fn replicas_share_retry_after() {
    let keys = "interval = \"1s\"\ntimeout = \"900ms\"\nmin_interval = \"10ms\"";
    let Some(fixture) = ClusterFixture::start(keys) else {
        return;
    };
    let provider = &fixture.provider;
    provider.update_response(|response| {
        response.status = "429 Too Many Requests";
        response.headers = "retry-after: 60\r\n".into();
    });
    let replicas = fixture.cluster.start_replicas(3);
    wait_for_code(&replicas, "rate_limited");
    let calls = provider.call_count();
    for replica in replicas.iter().cycle().take(9) {
        assert_eq!(replica.get("/resumen?fresh=1").status, 200);
    }
    // Two intervals without a call.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(provider.call_count(), calls);
    assert!(
        calls <= 1 + store_error_count(&replicas) as usize,
        "{calls}"
    );
}

/// The value of a key in a section of Redis' `INFO`.
fn redis_info(redis: &RedisServer, section: &str, key: &str) -> f64 {
    let page = redis.execute(&["INFO", section]);
    let value = page.lines().find_map(|line| line.strip_prefix(key));
    let value = value.unwrap_or_else(|| panic!("no {key} in {page}"));
    value.split(',').next().unwrap().trim().parse().unwrap()
}

#[test]
#[ignore = "a measurement: `cargo test --test it cost_of_sharing -- --ignored --nocapture`"]
fn redis_cost_of_sharing_is_bounded() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let provider = FakeProvider::with_json(r#"{"usd":97123.45}"#);
    let url = provider.url();
    let table = |n: usize| {
        format!("[sources.s{n}]\nurl = \"{url}\"\ninterval = \"2s\"\ntimeout = \"1900ms\"\n")
    };
    let sources: String = (0..200).map(table).collect();
    let cluster = ReplicaCluster::new(&redis.url(), &sources);
    let replicas = cluster.start_replicas(3);
    std::thread::sleep(Duration::from_secs(3));
    let cpu_seconds =
        || redis_info(&redis, "cpu", "used_cpu_user:") + redis_info(&redis, "cpu", "used_cpu_sys:");
    redis.execute(&["CONFIG", "RESETSTAT"]);
    let clock = Clock::start();
    let (cpu, calls, start) = (cpu_seconds(), provider.call_count(), clock.instant());
    std::thread::sleep(Duration::from_secs(20));
    let (used, calls) = (cpu_seconds() - cpu, (provider.call_count() - calls) as f64);
    let seconds = (clock.instant() - start).as_secs_f64();
    let scripts = redis_info(&redis, "commandstats", "cmdstat_evalsha:calls=") / calls;
    println!("{calls} fetches in {seconds:.1} s by 3 replicas: {scripts:.2} scripts per fetch");
    let (per_fetch, share) = (used * 1e6 / calls, used * 100.0 / seconds);
    println!("Redis: {per_fetch:.0} µs of CPU per fetch, {share:.1} % of one CPU");
    println!("{} operations failed", store_error_count(&replicas));
}

#[test]
fn documented_acl_suffices() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let page = std::fs::read_to_string("docs/replicas.md").unwrap();
    let is_acl = |block: &&str| block.trim_start().starts_with("ACL SETUSER");
    let command = page.split("```").find(is_acl).unwrap();
    let words: Vec<&str> = command.split_whitespace().collect();
    let reply = redis.execute(&words);
    assert!(reply.starts_with("+OK"), "{reply}");
    let provider = FakeProvider::with_json(r#"{"n":1}"#);
    let url = format!("redis://resumen:PASSWORD@{}", redis.address);
    let keys = "interval = \"1s\"\ntimeout = \"900ms\"\nmin_interval = \"10ms\"";
    let sources = shared_source_config(&provider, keys);
    let cluster = ReplicaCluster::with_prefix(&url, "resumen", &sources);
    let replicas = cluster.start_replicas(2);
    for replica in &replicas {
        replica.wait_for_metric("resumen_fleet_leases_taken_total", |taken| taken > 1.5);
        replica.wait_for_metric("resumen_fleet_outcomes_heard_total", |heard| heard > 1.5);
    }
    assert!(store_error_count(&replicas) < 0.5);
}
