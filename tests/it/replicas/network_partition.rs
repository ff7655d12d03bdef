//! A replica that is cut off from Redis but not from its readers, in network namespaces of their own: the outer test
//! makes them and runs the inner one in the first. Without root, `ip netns` and `redis-server` it is left out, unless
//! `RESUMEN_REQUIRE_ALL=1`.

use std::process::Command;
use std::time::Duration;

use super::replica_sharing::shared_source_config;
use crate::support::fake_provider::FakeProvider;
use crate::support::redis_server::RedisServer;
use crate::support::replica_cluster::{FreshnessPoller, ReplicaCluster, wait_for};

/// Where the second namespace finds the first: one link for readers and providers, one for Redis.
const PROVIDER_ADDRESS: &str = "192.0.2.1";
const REDIS_ADDRESS: &str = "198.51.100.1";

/// Namespaces, removed in the end.
struct LinkedNamespaces(Vec<String>);

impl LinkedNamespaces {
    fn new() -> Option<Self> {
        let names = ["hub", "rim"].map(|end| format!("resumen-{end}-{}", std::process::id()));
        let mut networks = Self(Vec::new());
        for name in names {
            if !run_ip(&["netns", "add", &name]) {
                return None;
            }
            networks.0.push(name);
        }
        Some(networks)
    }

    /// A cable between the two.
    fn add_link(&self, link: &str, here: &str, there: &str) {
        let [hub, rim] = &self.0[..] else {
            panic!("two namespaces")
        };
        let (near, far) = (format!("{link}-hub"), format!("{link}-rim"));
        let steps: [&[&str]; 5] = [
            &[
                "-n", hub, "link", "add", &near, "type", "veth", "peer", "name", &far, "netns", rim,
            ],
            &["-n", hub, "address", "add", here, "dev", &near],
            &["-n", rim, "address", "add", there, "dev", &far],
            &["-n", hub, "link", "set", &near, "up"],
            &["-n", rim, "link", "set", &far, "up"],
        ];
        for step in steps {
            assert!(run_ip(step), "ip {step:?}");
        }
    }
}

impl Drop for LinkedNamespaces {
    fn drop(&mut self) {
        for name in &self.0 {
            run_ip(&["netns", "delete", name]);
        }
    }
}

fn run_ip(arguments: &[&str]) -> bool {
    Command::new("ip")
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

#[test]
fn partitioned_replica_keeps_serving() {
    let Some(networks) = LinkedNamespaces::new() else {
        #[allow(
            clippy::disallowed_methods,
            reason = "a switch of the tests, not of the program"
        )]
        let required = std::env::var("RESUMEN_REQUIRE_ALL").is_ok_and(|value| value == "1");
        assert!(!required, "no network namespace can be made");
        println!("left out: no network namespace can be made (needs root and `ip netns`)");
        return;
    };
    for name in &networks.0 {
        assert!(run_ip(&["-n", name, "link", "set", "lo", "up"]));
    }
    networks.add_link("readers", &format!("{PROVIDER_ADDRESS}/24"), "192.0.2.2/24");
    networks.add_link("redis", &format!("{REDIS_ADDRESS}/24"), "198.51.100.2/24");
    let [hub, rim] = &networks.0[..] else {
        panic!("two namespaces")
    };
    let tests = std::env::current_exe().unwrap();
    let inner = [
        "--ignored",
        "--exact",
        "replicas::network_partition::child_runs_partition",
        "--nocapture",
    ];
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", hub])
        .arg(tests)
        .args(inner)
        .env("TEST_OTHER_NAMESPACE", rim);
    let output = command.output().unwrap();
    let said = [&output.stdout[..], &output.stderr]
        .map(String::from_utf8_lossy)
        .concat();
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[test]
#[ignore = "only in the namespace that the other test makes"]
fn child_runs_partition() {
    let Some(rim) = std::env::var_os("TEST_OTHER_NAMESPACE") else {
        return;
    };
    let rim = rim.to_str().unwrap();
    let redis = RedisServer::start_at(
        (REDIS_ADDRESS.parse::<std::net::IpAddr>().unwrap(), 6379).into(),
        &[],
    );
    let stub = FakeProvider::with_json_at(PROVIDER_ADDRESS, r#"{"n":1}"#);
    let pace =
        "interval = \"2s\"\ntimeout = \"900ms\"\nmin_interval = \"300ms\"\nallow_private = true";
    let fleet = ReplicaCluster::new(&redis.url(), "fleet", &shared_source_config(&stub, pace));
    fleet.bind_all_addresses();
    let near = fleet.start_replica();
    let far = fleet.start_replica_through(&["ip", "netns", "exec", rim], &[]);
    let far = far.with_host("192.0.2.2");
    for replica in [&near, &far] {
        replica.wait_for_metric("resumen_fleet_replicas", |seen| seen > 1.5);
    }
    wait_for("a first reading", || {
        near.source_a()["ok"] == true && far.source_a()["ok"] == true
    });
    let pollers = [&near, &far].map(FreshnessPoller::new);
    assert!(run_ip(&["link", "set", "redis-hub", "down"]));
    far.process
        .wait_for_stderr_line("shared store disconnected");
    let calls = stub.call_count();
    wait_for("calls from both sides", || stub.call_count() >= calls + 4);
    near.wait_for_metric("resumen_fleet_replicas", |seen| seen < 1.5);
    assert!(near.metric_value("resumen_fleet_sharing") > 0.5);
    assert!(run_ip(&["link", "set", "redis-hub", "up"]));
    far.process.wait_for_stderr_line("shared store reconnected");
    near.wait_for_metric("resumen_fleet_replicas", |seen| seen > 1.5);
    stub.set_json(r#"{"n":2}"#);
    wait_for("the same newest reading", || {
        let (near, far) = (near.source_a(), far.source_a());
        near["data"]["n"] == 2 && near["fetched_at"] == far["fetched_at"]
    });
    std::thread::sleep(Duration::from_millis(300));
    for poller in pollers {
        poller.stop_and_summarise();
    }
}
