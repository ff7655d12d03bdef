//! A replica that is cut off from Redis but not from its readers, in network namespaces of their own: the outer test
//! makes them and runs the inner one in the first. Without root, `ip netns` and `redis-server` it is left out, unless
//! `RESUMEN_REQUIRE_ALL=1`.

use std::process::Command;
use std::time::Duration;

use crate::fleet::source;
use crate::support::redis::Redis;
use crate::support::replica::{Fleet, Poller, until};
use crate::support::stub::Stub;

/// Where the second namespace finds the first: one link for readers and providers, one for Redis.
const PROVIDER: &str = "192.0.2.1";
const REDIS: &str = "198.51.100.1";

/// Namespaces, removed in the end.
struct Networks(Vec<String>);

impl Networks {
    fn new() -> Option<Self> {
        let names = ["hub", "rim"].map(|end| format!("resumen-{end}-{}", std::process::id()));
        let mut networks = Self(Vec::new());
        for name in names {
            if !ip(&["netns", "add", &name]) {
                return None;
            }
            networks.0.push(name);
        }
        Some(networks)
    }

    /// A cable between the two.
    fn cable(&self, link: &str, here: &str, there: &str) {
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
            assert!(ip(step), "ip {step:?}");
        }
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for name in &self.0 {
            ip(&["netns", "delete", name]);
        }
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip")
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

#[test]
fn a_replica_cut_off_from_redis_goes_on_for_its_readers() {
    let Some(networks) = Networks::new() else {
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
        assert!(ip(&["-n", name, "link", "set", "lo", "up"]));
    }
    networks.cable("readers", &format!("{PROVIDER}/24"), "192.0.2.2/24");
    networks.cable("redis", &format!("{REDIS}/24"), "198.51.100.2/24");
    let [hub, rim] = &networks.0[..] else {
        panic!("two namespaces")
    };
    let tests = std::env::current_exe().unwrap();
    let inner = [
        "--ignored",
        "--exact",
        "fleet_partition::inside_the_first_namespace",
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
fn inside_the_first_namespace() {
    let Some(rim) = std::env::var_os("TEST_OTHER_NAMESPACE") else {
        return;
    };
    let rim = rim.to_str().unwrap();
    let redis = Redis::at(
        (REDIS.parse::<std::net::IpAddr>().unwrap(), 6379).into(),
        &[],
    );
    let stub = Stub::json_at(PROVIDER, r#"{"n":1}"#);
    let pace =
        "interval = \"2s\"\ntimeout = \"900ms\"\nmin_interval = \"300ms\"\nallow_private = true";
    let fleet = Fleet::new(&redis.url(), "fleet", &source(&stub, pace));
    fleet.listen_everywhere();
    let near = fleet.launch();
    let far = fleet.launch_by(&["ip", "netns", "exec", rim], &[]);
    let far = far.seen_at("192.0.2.2");
    for replica in [&near, &far] {
        replica.until("resumen_fleet_replicas", |seen| seen > 1.5);
    }
    until("a first reading", || {
        near.a()["ok"] == true && far.a()["ok"] == true
    });
    let pollers = [&near, &far].map(Poller::new);
    assert!(ip(&["link", "set", "redis-hub", "down"]));
    far.program.err_line("this replica goes on alone");
    let calls = stub.calls();
    until("calls from both sides", || stub.calls() >= calls + 4);
    near.until("resumen_fleet_replicas", |seen| seen < 1.5);
    assert!(near.metric("resumen_fleet_sharing") > 0.5);
    assert!(ip(&["link", "set", "redis-hub", "up"]));
    far.program.err_line("calls and readings are shared again");
    near.until("resumen_fleet_replicas", |seen| seen > 1.5);
    stub.says(r#"{"n":2}"#);
    until("the same newest reading", || {
        let (near, far) = (near.a(), far.a());
        near["data"]["n"] == 2 && near["fetched_at"] == far["fetched_at"]
    });
    std::thread::sleep(Duration::from_millis(300));
    for poller in pollers {
        poller.done();
    }
}
