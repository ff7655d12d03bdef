//! Faults of the network itself, in a network namespace of their own: the outer test makes it and runs the inner one in
//! it. Without root and `ip netns` it is left out, unless `RESUMEN_REQUIRE_ALL=1`.

use std::process::Command;
use std::time::Duration;

use resumen::domain::{Code, Failure, SecretSet};
use resumen::fetch::{Fetch, HttpFetch};
use resumen::process::Clock;

use crate::support::default_provider_at;
use crate::support::faulty_provider::fault_script::FaultScript;
use crate::support::faulty_provider::{FaultPlan, FaultyProvider};

const LIMIT: Duration = Duration::from_millis(400);

/// A namespace, removed in the end.
struct NetworkNamespace(String);

impl NetworkNamespace {
    fn new() -> Option<Self> {
        let name = format!("resumen-test-{}", std::process::id());
        run_ip(&["netns", "add", &name]).then_some(Self(name))
    }

    fn run_ip_inside(&self, arguments: &[&str]) {
        assert!(
            run_ip(&[&["-n", &self.0], arguments].concat()),
            "ip {arguments:?}"
        );
    }
}

impl Drop for NetworkNamespace {
    fn drop(&mut self) {
        run_ip(&["netns", "delete", &self.0]);
    }
}

fn run_ip(arguments: &[&str]) -> bool {
    Command::new("ip")
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

#[test]
fn network_fault_differs_from_provider_fault() {
    let Some(network) = NetworkNamespace::new() else {
        #[allow(
            clippy::disallowed_methods,
            reason = "a switch of the tests, not of the program"
        )]
        let required = std::env::var("RESUMEN_REQUIRE_ALL").is_ok_and(|value| value == "1");
        assert!(!required, "no network namespace can be made");
        println!("left out: no network namespace can be made (needs root and `ip netns`)");
        return;
    };
    network.run_ip_inside(&["link", "set", "lo", "up"]);
    network.run_ip_inside(&["route", "add", "unreachable", "198.51.100.1/32"]);
    // A cable whose other end nobody listens to: what is sent into it is gone.
    network.run_ip_inside(&["link", "add", "dark", "type", "veth", "peer", "name", "end"]);
    network.run_ip_inside(&["address", "add", "192.0.2.2/24", "dev", "dark"]);
    network.run_ip_inside(&["link", "set", "end", "up"]);
    network.run_ip_inside(&["link", "set", "dark", "up"]);
    network.run_ip_inside(&[
        "neigh",
        "add",
        "192.0.2.9",
        "lladdr",
        "02:00:00:00:00:09",
        "dev",
        "dark",
    ]);
    let tests = std::env::current_exe().unwrap();
    let inner = [
        "--ignored",
        "--exact",
        "upstream::network_faults::child_fetches_in_network_namespace",
    ];
    let output = Command::new("ip")
        .args(["netns", "exec", &network.0])
        .arg(tests)
        .args(inner)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[tokio::test]
#[ignore = "only in the namespace that the other test makes"]
async fn child_fetches_in_network_namespace() {
    let unreachable = fetch_failure("http://198.51.100.1/").await;
    assert_eq!(unreachable.code, Code::ConnectFailed, "{unreachable}");
    assert!(
        unreachable
            .message
            .contains("198.51.100.1:80 failed: no route to host"),
        "{unreachable}"
    );

    let black_hole = fetch_failure("http://192.0.2.9/").await;
    assert_eq!(black_hole.code, Code::ConnectTimeout, "{black_hole}");
    assert_eq!(&*black_hole.message, "no answer within 400 ms (connecting)");

    let scripts = vec![FaultScript::parse(&[
        "head 200 | Content-Length: 100",
        "drip 20ms times 100 1",
    ])];
    let server = FaultyProvider::start(FaultPlan {
        scripts,
        tls: None,
        is_http2: false,
        prelude: None,
    })
    .await;
    let url = format!("http://{}/", server.address);
    let cut = async {
        while server.counters.sent_byte_count() < 50 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(run_ip(&["link", "set", "lo", "down"]));
    };
    let both = async { tokio::join!(fetch_failure(&url), cut) };
    let (link_down, ()) = tokio::time::timeout(LIMIT * 5, both).await.unwrap();
    assert_eq!(link_down.code, Code::Timeout, "{link_down}");
    assert!(
        link_down.message.contains("(reading the body, "),
        "{link_down}"
    );
}

async fn fetch_failure(url: &str) -> Failure {
    let clock = Clock::start();
    let provider = default_provider_at(url);
    HttpFetch::new(clock, SecretSet::default())
        .fetch(&provider, clock.deadline(LIMIT).into())
        .await
        .unwrap_err()
        .failure
}
