//! Several real replicas on one real Redis: together they call a provider as often as one would, and what one learns
//! all know. Without `redis-server` these are left out, unless `RESUMEN_REQUIRE_ALL=1`.

use std::time::Duration;

use resumen::clock::Clock;

use crate::program::get;
use crate::support::crowd::Crowd;
use crate::support::redis::Redis;
use crate::support::replica::{Fleet, Replica, until};
use crate::support::stub::Stub;

/// A source `a` at this stub.
pub(crate) fn source(stub: &Stub, rest: &str) -> String {
    format!("[sources.a]\nurl = \"{}\"\n{rest}\n", stub.url())
}

/// Operations of Redis that failed at any of them: each may have cost a call.
fn errors(replicas: &[Replica]) -> f64 {
    replicas
        .iter()
        .map(|replica| replica.metric("resumen_store_errors_total{store=\"redis\"}"))
        .sum()
}

#[test]
fn ten_replicas_call_a_provider_as_often_as_one() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let clock = Clock::start();
    let fleets: Vec<_> = [1, 3, 10]
        .into_iter()
        .map(|size: usize| {
            let stub = Stub::json(r#"{"n":1}"#);
            let rest = "interval = \"1s\"\ntimeout = \"900ms\"\nmin_interval = \"300ms\"";
            let fleet = Fleet::new(&redis.url(), &format!("fleet{size}"), &source(&stub, rest));
            let replicas = fleet.launch_all(size);
            (size, stub, fleet, replicas)
        })
        .collect();
    let before: Vec<_> = fleets
        .iter()
        .map(|(_, stub, ..)| (stub.calls(), clock.instant()))
        .collect();
    std::thread::sleep(Duration::from_secs(6));
    for ((size, stub, _, replicas), (calls, begun)) in fleets.iter().zip(before) {
        let intervals = (clock.instant() - begun).as_secs_f64();
        let calls = (stub.calls() - calls) as f64;
        let slack = 2.0 + errors(replicas);
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
            .map(|r| r.metric("resumen_fleet_leases_taken_total"))
            .sum();
        assert!(taken >= calls - slack, "{taken} leases for {calls} calls");
    }
}

#[test]
fn what_one_replica_learns_all_show_with_the_same_version() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let stub = Stub::json(r#"{"n":1}"#);
    let rest = "interval = \"1h\"\ntimeout = \"5s\"\nmin_interval = \"1ms\"";
    let fleet = Fleet::new(&redis.url(), "fleet", &source(&stub, rest));
    let replicas = fleet.launch_all(3);
    until("a first reading", || {
        replicas.iter().all(|replica| replica.a()["ok"] == true)
    });
    let calls = stub.calls();
    for n in 2..5 {
        stub.says(&format!("{{\"n\":{n}}}"));
        let live = replicas[n % 3].json("/resumen?fresh=1");
        assert_eq!(live["resultados"]["a"]["data"]["n"], n);
        assert_eq!(live["resultados"]["a"]["from"], "live");
        until("the reading everywhere", || {
            replicas.iter().all(|replica| replica.a()["data"]["n"] == n)
        });
        let versions: Vec<_> = replicas
            .iter()
            .map(|replica| replica.json("/resumen")["version"].clone())
            .collect();
        assert!(
            versions.iter().all(|version| *version == versions[0]),
            "{versions:?}"
        );
    }
    assert_eq!(stub.calls(), calls + 3);

    // A failure counts for all: each tells it once, and a replica that comes later knows it without a call.
    stub.change(|answer| answer.status = "503 Service Unavailable");
    let live = replicas[0].json("/resumen?fresh=1");
    assert_eq!(live["resultados"]["a"]["code"], "http_status");
    until("the failure everywhere", || {
        replicas
            .iter()
            .all(|replica| replica.a()["code"] == "http_status")
    });
    replicas[1]
        .program
        .err_line("source began to fail, says another replica");
    let calls = stub.calls();
    let late = fleet.launch();
    until("the failure at the newcomer", || {
        late.a()["code"] == "http_status"
    });
    assert_eq!(late.a()["data"]["n"], 4);
    assert_eq!(late.a()["failing_since"], replicas[0].a()["failing_since"]);
    assert!(
        stub.calls() <= calls + 1,
        "the newcomer asked nobody; a retry of the fleet may have come"
    );
}

#[test]
fn live_requests_at_three_replicas_respect_one_least_interval() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let stub = Stub::json(r#"{"n":1}"#);
    let rest = "interval = \"1h\"\ntimeout = \"5s\"\nmin_interval = \"500ms\"";
    let fleet = Fleet::new(&redis.url(), "fleet", &source(&stub, rest));
    let replicas = fleet.launch_all(3);
    let clock = Clock::start();
    let (before, begun) = (stub.calls(), clock.instant());
    let crowds: Vec<_> = replicas
        .iter()
        .map(|replica| Crowd::new(2, replica.address(), "/resumen?fresh=1", true))
        .collect();
    std::thread::sleep(Duration::from_secs(4));
    let answers: usize = crowds.into_iter().map(|crowd| crowd.done().unwrap()).sum();
    let (calls, spaces) = (
        (stub.calls() - before) as f64,
        (clock.instant() - begun).as_secs_f64() / 0.5,
    );
    println!("{answers} answers, {calls} calls in {spaces:.1} least intervals");
    assert!(
        calls <= spaces + 1.0 + errors(&replicas),
        "{calls} calls in {spaces} least intervals"
    );
    assert!(calls >= 3.0, "{calls} calls in {spaces} least intervals");
}

#[test]
fn a_retry_after_binds_all_replicas() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let stub = Stub::json("{}");
    stub.change(|answer| {
        answer.status = "429 Too Many Requests";
        answer.headers = "retry-after: 60\r\n".into();
    });
    let rest = "interval = \"1s\"\ntimeout = \"900ms\"\nmin_interval = \"10ms\"";
    let fleet = Fleet::new(&redis.url(), "fleet", &source(&stub, rest));
    let replicas = fleet.launch_all(3);
    until("the hold everywhere", || {
        replicas
            .iter()
            .all(|replica| replica.a()["code"] == "rate_limited")
    });
    let calls = stub.calls();
    for replica in replicas.iter().cycle().take(9) {
        assert_eq!(get(&replica.base, "/resumen?fresh=1").status, 200);
    }
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(stub.calls(), calls);
    assert!(calls <= 1 + errors(&replicas) as usize, "{calls}");
}

/// What `INFO` says of Redis after `key`.
fn info(redis: &Redis, section: &str, key: &str) -> f64 {
    let page = redis.ask(&["INFO", section]);
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap_or_else(|| panic!("no {key} in {page}"));
    line.split(',').next().unwrap().trim().parse().unwrap()
}

#[test]
#[ignore = "a measurement: `cargo test --test it what_sharing_costs -- --ignored --nocapture`"]
fn what_sharing_costs_redis() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let stub = Stub::json(r#"{"usd":97123.45}"#);
    let one = |n: usize| {
        let url = stub.url();
        format!("[sources.s{n}]\nurl = \"{url}\"\ninterval = \"2s\"\ntimeout = \"1900ms\"\n")
    };
    let sources: Vec<String> = (0..200).map(one).collect();
    let fleet = Fleet::new(&redis.url(), "fleet", &sources.concat());
    let replicas = fleet.launch_all(3);
    std::thread::sleep(Duration::from_secs(3));
    let cpu = || info(&redis, "cpu", "used_cpu_user:") + info(&redis, "cpu", "used_cpu_sys:");
    redis.ask(&["CONFIG", "RESETSTAT"]);
    let clock = Clock::start();
    let (before, calls, begun) = (cpu(), stub.calls(), clock.instant());
    std::thread::sleep(Duration::from_secs(20));
    let (used, calls) = (cpu() - before, (stub.calls() - calls) as f64);
    let seconds = (clock.instant() - begun).as_secs_f64();
    let scripts = info(&redis, "commandstats", "cmdstat_evalsha:calls=");
    println!(
        "{calls} fetches in {seconds:.1} s by 3 replicas: {:.2} scripts a fetch",
        scripts / calls
    );
    println!(
        "Redis: {:.0} µs of CPU a fetch, {:.1} % of one CPU",
        used * 1e6 / calls,
        used * 100.0 / seconds
    );
    println!("{} operations failed", errors(&replicas));
}

#[test]
fn the_rights_that_the_documents_name_suffice() {
    let Some(redis) = Redis::start(&[]) else {
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
        redis.ask(&words).starts_with("+OK"),
        "{}",
        redis.ask(&words)
    );
    let stub = Stub::json(r#"{"n":1}"#);
    let url = format!("redis://resumen:PASSWORD@{}", redis.address);
    let rest = "interval = \"1s\"\ntimeout = \"900ms\"\nmin_interval = \"10ms\"";
    let fleet = Fleet::new(&url, "resumen", &source(&stub, rest));
    let replicas = fleet.launch_all(2);
    for replica in &replicas {
        replica.until("resumen_fleet_leases_taken_total", |taken| taken > 1.5);
        replica.until("resumen_fleet_outcomes_heard_total", |heard| heard > 1.5);
    }
    assert!(errors(&replicas) < 0.5);
}
