//! A replica that loses Redis and keeps its clients: two network namespaces with one link for
//! clients and providers and one for Redis. Needs root, `ip netns` and `redis-server`.

use std::net::Ipv4Addr;

use crate::support::fake_provider::FakeProvider;
use crate::support::network_namespace::{NetworkNamespace, run_ip};
use crate::support::polling_clients::FreshnessPoller;
use crate::support::redis_server::RedisServer;
use crate::support::replica_cluster::{ReplicaCluster, shared_source_config};
use crate::support::requirements::require_program;
use crate::support::wait::wait_until;

/// Addresses of the first namespace on the two links.
const PROVIDER_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const REDIS_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// The variable with the name of the second namespace.
const SECOND_NAMESPACE: &str = "TEST_SECOND_NAMESPACE";

/// Connects two namespaces by the devices `NAME-1` and `NAME-2`.
fn add_link(name: &str, first: (&NetworkNamespace, &str), second: (&NetworkNamespace, &str)) {
    let (device, peer) = (format!("{name}-1"), format!("{name}-2"));
    let kind = [
        "type",
        "veth",
        "peer",
        "name",
        &peer,
        "netns",
        &second.0.name,
    ];
    first
        .0
        .run_ip_inside(&[&["link", "add", &device], &kind[..]].concat());
    for ((namespace, address), device) in [(first, device), (second, peer)] {
        namespace.run_ip_inside(&["address", "add", address, "dev", &device]);
        namespace.run_ip_inside(&["link", "set", &device, "up"]);
    }
}

#[test]
fn partitioned_replica_keeps_serving() {
    if !require_program("redis-server") {
        return;
    }
    let Some(first) = NetworkNamespace::create("first") else {
        return;
    };
    let second = NetworkNamespace::create("second").unwrap();
    let (provider, redis) = (
        format!("{PROVIDER_ADDRESS}/24"),
        format!("{REDIS_ADDRESS}/24"),
    );
    add_link("clients", (&first, &provider), (&second, "192.0.2.2/24"));
    add_link("redis", (&first, &redis), (&second, "198.51.100.2/24"));
    first.run_test_inside(
        "replicas::network_partition::child_runs_partition",
        &[(SECOND_NAMESPACE, &second.name)],
    );
}

#[test]
#[ignore = "runs in the namespace that partitioned_replica_keeps_serving creates"]
fn child_runs_partition() {
    let Some(second) = std::env::var_os(SECOND_NAMESPACE) else {
        return;
    };
    let redis = RedisServer::start_at((REDIS_ADDRESS, 6379).into(), &[]);
    let provider = FakeProvider::with_json_at(PROVIDER_ADDRESS, r#"{"n":1}"#);
    let keys =
        "interval = \"2s\"\ntimeout = \"900ms\"\nmin_interval = \"300ms\"\nallow_private = true";
    let cluster = ReplicaCluster::new(&redis.url(), &shared_source_config(&provider, keys));
    cluster.bind_all_addresses();
    let near = cluster.start_replica();
    let mut far = cluster.start_replica_through(&["ip", "netns", "exec", second.to_str().unwrap()]);
    far.base_url = far.base_url.replace("127.0.0.1", "192.0.2.2");
    for replica in [&near, &far] {
        replica.wait_for_metric("resumen_fleet_replicas", |seen| seen > 1.5);
    }
    wait_until("a reading of both replicas", || {
        near.source_a()["ok"] == true && far.source_a()["ok"] == true
    });
    let pollers = [&near, &far].map(FreshnessPoller::new);
    assert!(run_ip(&["link", "set", "redis-1", "down"]));
    far.wait_for_log("shared store disconnected");
    let calls = provider.call_count();
    wait_until("calls of both replicas", || {
        provider.call_count() >= calls + 4
    });
    near.wait_for_metric("resumen_fleet_replicas", |seen| seen < 1.5);
    assert!(near.metric("resumen_fleet_sharing") > 0.5);
    assert!(run_ip(&["link", "set", "redis-1", "up"]));
    far.wait_for_log("shared store reconnected");
    near.wait_for_metric("resumen_fleet_replicas", |seen| seen > 1.5);
    provider.set_json(r#"{"n":2}"#);
    wait_until("the same newest reading", || {
        let (near, far) = (near.source_a(), far.source_a());
        near["data"]["n"] == 2 && near["fetched_at"] == far["fetched_at"]
    });
    for poller in pollers {
        poller.stop_and_summarise();
    }
}
