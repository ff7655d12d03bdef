//! Faults of the network itself, in a network namespace of their own: the outer test makes it and runs the inner one in
//! it. Without root and `ip netns` it is left out, unless `RESUMEN_REQUIRE_ALL=1`.

use std::process::Command;
use std::time::Duration;

use resumen::clock::Clock;
use resumen::domain::{Code, Failure, Secrets};
use resumen::fetch::{Fetch, HttpFetch};

use crate::support::fault::{FaultServer, Playbook, Script};
use crate::support::plain_provider;

const LIMIT: Duration = Duration::from_millis(400);

/// A namespace, removed in the end.
struct Network(String);

impl Network {
    fn new() -> Option<Self> {
        let name = format!("resumen-test-{}", std::process::id());
        ip(&["netns", "add", &name]).then_some(Self(name))
    }

    fn ip(&self, arguments: &[&str]) {
        assert!(
            ip(&[&["-n", &self.0], arguments].concat()),
            "ip {arguments:?}"
        );
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        ip(&["netns", "delete", &self.0]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip")
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

#[test]
fn a_broken_network_is_told_from_a_broken_provider() {
    let Some(network) = Network::new() else {
        #[allow(
            clippy::disallowed_methods,
            reason = "a switch of the tests, not of the program"
        )]
        let required = std::env::var("RESUMEN_REQUIRE_ALL").is_ok_and(|value| value == "1");
        assert!(!required, "no network namespace can be made");
        println!("left out: no network namespace can be made (needs root and `ip netns`)");
        return;
    };
    network.ip(&["link", "set", "lo", "up"]);
    network.ip(&["route", "add", "unreachable", "198.51.100.1/32"]);
    // A cable whose other end nobody listens to: what is sent into it is gone.
    network.ip(&["link", "add", "dark", "type", "veth", "peer", "name", "end"]);
    network.ip(&["address", "add", "192.0.2.2/24", "dev", "dark"]);
    network.ip(&["link", "set", "end", "up"]);
    network.ip(&["link", "set", "dark", "up"]);
    network.ip(&[
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
        "fetch_network::inside_the_namespace",
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
async fn inside_the_namespace() {
    let unreachable = ask("http://198.51.100.1/").await;
    assert_eq!(unreachable.code, Code::ConnectFailed, "{unreachable}");
    assert!(
        unreachable
            .message
            .contains("198.51.100.1:80 failed: no route to host"),
        "{unreachable}"
    );

    let black_hole = ask("http://192.0.2.9/").await;
    assert_eq!(black_hole.code, Code::ConnectTimeout, "{black_hole}");
    assert_eq!(&*black_hole.message, "no answer within 400 ms (connecting)");

    let scripts = vec![Script::parse(&[
        "head 200 | Content-Length: 100",
        "drip 20ms times 100 1",
    ])];
    let server = FaultServer::start(Playbook {
        scripts,
        tls: None,
        prelude: None,
    })
    .await;
    let url = format!("http://{}/", server.address);
    let cut = async {
        while server.seen.sent() < 50 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(ip(&["link", "set", "lo", "down"]));
    };
    let both = async { tokio::join!(ask(&url), cut) };
    let (link_down, ()) = tokio::time::timeout(LIMIT * 5, both).await.unwrap();
    assert_eq!(link_down.code, Code::Timeout, "{link_down}");
    assert!(
        link_down.message.contains("(reading the body, "),
        "{link_down}"
    );
}

async fn ask(url: &str) -> Failure {
    let clock = Clock::start();
    let provider = plain_provider(url);
    HttpFetch::new(clock, Secrets::default())
        .fetch(&provider, clock.deadline(LIMIT))
        .await
        .unwrap_err()
        .failure
}
