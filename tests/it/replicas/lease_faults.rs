//! Faults of leases and stored states: a holder that dies or stops, corrupt values, and other formats.

use std::time::Duration;

use resumen::process::Clock;
use rustix::process::Signal;

use crate::support::polling_clients::FreshnessPoller;
use crate::support::replica_cluster::{
    ClusterFixture, SCHEDULE_KEYS, is_sharing, wait_for_readings, wait_for_value,
};
use crate::support::service_process::ServiceProcess;
use crate::support::wait::{wait_for, wait_until};

fn lease_counts(replicas: &[ServiceProcess]) -> Vec<f64> {
    let taken = |replica: &ServiceProcess| replica.metric("resumen_fleet_leases_taken_total");
    replicas.iter().map(taken).collect()
}

/// Runs `action` on a replica while it holds the lease and calls the provider. Returns this replica
/// and the others.
fn run_while_lease_is_held(
    fixture: &ClusterFixture,
    action: impl Fn(&ServiceProcess),
) -> (ServiceProcess, Vec<ServiceProcess>) {
    let mut replicas = fixture.cluster.start_replicas(3);
    wait_for_readings(&replicas);
    // An attempt has ended once every replica has its reading; the next one starts 2 s later.
    let fetched_at = replicas[0].source_a()["fetched_at"].clone();
    wait_until("a newer reading of every replica", || {
        replicas
            .iter()
            .all(|replica| replica.source_a()["fetched_at"] != fetched_at)
    });
    let before = lease_counts(&replicas);
    fixture.provider.set_delay(Duration::from_millis(600));
    let holder = wait_for("a lease", || {
        let now = lease_counts(&replicas);
        now.iter()
            .zip(&before)
            .position(|(now, before)| now > before)
    });
    let holder = replicas.remove(holder);
    action(&holder);
    fixture.provider.set_delay(Duration::ZERO);
    (holder, replicas)
}

#[test]
fn killed_lease_holder_costs_one_timeout() {
    let Some(fixture) = ClusterFixture::start(SCHEDULE_KEYS) else {
        return;
    };
    let (_holder, others) = run_while_lease_is_held(&fixture, |holder| {
        holder.send_signal(Signal::KILL);
    });
    let pollers = FreshnessPoller::start_all(&others);
    let calls = fixture.provider.call_count();
    wait_until("calls of the others", || {
        fixture.provider.call_count() >= calls + 2
    });
    for poller in pollers {
        // The interval with its jitter, the lease of the killed replica, the next call, and slack.
        let max_age = poller.stop_and_summarise().max_age_ms;
        assert!(max_age < 2_200 + 1_150 + 300 + 800, "{max_age} ms");
    }
}

#[test]
fn stopped_lease_holder_resumes_safely() {
    let Some(fixture) = ClusterFixture::start(SCHEDULE_KEYS) else {
        return;
    };
    let (holder, others) = run_while_lease_is_held(&fixture, |holder| {
        holder.send_signal(Signal::STOP);
    });
    fixture.provider.set_json(r#"{"n":2}"#);
    let pollers = FreshnessPoller::start_all(&others);
    wait_for_value(&others, 2);
    others[0].wait_for_metric("resumen_fleet_replicas", |seen| seen < 2.5);
    holder.send_signal(Signal::CONT);
    wait_until("the newer reading at the resumed replica", || {
        holder.source_a()["data"]["n"] == 2
    });
    others[0].wait_for_metric("resumen_fleet_replicas", |seen| seen > 2.5);
    for replica in &others {
        assert_eq!(
            replica.source_a()["data"]["n"],
            2,
            "the late result is older"
        );
    }
    for poller in pollers {
        poller.stop_and_summarise();
    }
}

#[test]
fn corrupt_redis_values_are_logged_once() {
    let Some(fixture) = ClusterFixture::start(SCHEDULE_KEYS) else {
        return;
    };
    let (redis, provider) = (&fixture.redis, &fixture.provider);
    let replica = fixture.cluster.start_replica();
    replica.wait_for_metric("resumen_fleet_leases_taken_total", |taken| taken > 0.5);
    let state = fixture.stored_state_key();
    let lease = state.replace(":letter", ":lease");
    let soon = Clock::start().now().as_millis() + 900;
    let huge = format!("resumen/1 {soon} {}", "x".repeat(5 << 20));
    let newer = format!("resumen/2 {soon} x y");
    let corruptions: [[&[&str]; 2]; 5] = [
        [
            &["SET", &lease, "flying unknown 1"],
            &["SET", &state, "nonsense"],
        ],
        [
            &["SET", &lease, "nonsense", "PX", "900000"],
            &["SET", &state, &newer],
        ],
        [&["LPUSH", &lease, "x"], &["LPUSH", &state, "x"]],
        [&["HSET", &lease, "x", "y"], &["SET", &state, &huge]],
        [
            &["SET", "fleet:replicas", "x"],
            &["PUBLISH", "fleet:notices", "nonsense"],
        ],
    ];
    for commands in corruptions {
        redis.execute(&["DEL", &lease, &state]);
        for command in commands {
            redis.execute(command);
        }
        let calls = provider.call_count();
        wait_until("a call", || provider.call_count() > calls);
    }
    assert!(is_sharing(&replica));
    assert_eq!(replica.source_a()["stale"], false);
}

#[test]
fn invalid_lease_expiry_is_ignored() {
    let Some(fixture) = ClusterFixture::start(SCHEDULE_KEYS) else {
        return;
    };
    let (redis, provider) = (&fixture.redis, &fixture.provider);
    let replicas = fixture.cluster.start_replicas(2);
    let lease = fixture.stored_state_key().replace(":letter", ":lease");
    // A start in the future remains after the clock is set back; a start of 1 ms is never written.
    let future = Clock::start().now().as_millis() + 3_600_000;
    for phase in ["flying", "landed"] {
        for start in [future, 1] {
            let value = format!("{phase} unknown {start}");
            redis.execute(&["SET", &lease, &value, "PX", "3600000"]);
            let calls = provider.call_count();
            wait_until("two calls", || provider.call_count() > calls + 1);
            let current = redis.execute(&["GET", &lease]);
            assert!(!current.contains("unknown"), "{phase} {start}: {current}");
        }
    }
    assert!(replicas.iter().all(is_sharing));
}

/// The test acts as a replica of a release with another state format: it takes leases and announces
/// states that the other replicas cannot read.
#[test]
fn mixed_formats_interoperate() {
    let Some(fixture) = ClusterFixture::start(SCHEDULE_KEYS) else {
        return;
    };
    let redis = &fixture.redis;
    let replicas = fixture.cluster.start_replicas(2);
    wait_for_readings(&replicas);
    let pollers = FreshnessPoller::start_all(&replicas);
    let state = fixture.stored_state_key();
    let lease = state.replace(":letter", ":lease");
    let identity = state.split(['{', '}']).nth(1).unwrap();
    let clock = Clock::start();
    for n in 0..6 {
        let now = clock.now().as_millis();
        let taken = format!("flying future-{n} {now}");
        redis.execute(&["SET", &lease, &taken, "NX", "PX", "1150"]);
        // The duration of the attempt.
        std::thread::sleep(Duration::from_millis(200));
        let value = format!("resumen/2 {now} something else");
        redis.execute(&["SET", &state, &value, "PX", "60000"]);
        let released = format!("landed future-{n} {now}");
        redis.execute(&["SET", &lease, &released, "PX", "300"]);
        let notification = format!("{identity} future-{n} landed");
        redis.execute(&["PUBLISH", "fleet:notices", &notification]);
        std::thread::sleep(Duration::from_millis(800));
    }
    for poller in pollers {
        let max_age = poller.stop_and_summarise().max_age_ms;
        assert!(
            max_age < 4_500,
            "the replicas call the provider themselves: {max_age} ms"
        );
    }
    let line = replicas[0].wait_for_log("state of another replica not used");
    let reason = "it has version 2 of the format and this release reads version 1";
    assert!(line.contains(reason), "{line}");
    assert!(replicas.iter().all(is_sharing));
}
