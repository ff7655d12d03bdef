//! Faults of the network in a network namespace. Needs root and `ip netns`.

use std::time::Duration;

use resumen::domain::{Code, Failure, Redactor};
use resumen::fetch::{Fetch, HttpFetch};
use resumen::process::Clock;

use crate::support::default_provider_at;
use crate::support::fake_provider::FakeProvider;
use crate::support::network_namespace::{NetworkNamespace, run_ip};
use crate::support::wait::wait_until_async;

const TIMEOUT: Duration = Duration::from_millis(400);

#[test]
fn network_fault_differs_from_provider_fault() {
    let Some(network) = NetworkNamespace::create("faults") else {
        return;
    };
    network.run_ip_inside(&["route", "add", "unreachable", "198.51.100.1/32"]);
    // The other end of `dark` has no address: the kernel sends packets that nothing receives.
    network.run_ip_inside(&["link", "add", "dark", "type", "veth", "peer", "name", "end"]);
    network.run_ip_inside(&["address", "add", "192.0.2.2/24", "dev", "dark"]);
    network.run_ip_inside(&["link", "set", "end", "up"]);
    network.run_ip_inside(&["link", "set", "dark", "up"]);
    let neighbour = [
        "neigh",
        "add",
        "192.0.2.9",
        "lladdr",
        "02:00:00:00:00:09",
        "dev",
        "dark",
    ];
    network.run_ip_inside(&neighbour);
    let test = "upstream::network_faults::child_fetches_in_network_namespace";
    network.run_test_inside(test, &[]);
}

#[tokio::test]
#[ignore = "runs in the namespace that network_fault_differs_from_provider_fault creates"]
async fn child_fetches_in_network_namespace() {
    let unreachable = fetch_failure("http://198.51.100.1/").await;
    assert_eq!(unreachable.code, Code::ConnectFailed, "{unreachable}");
    let reason = "198.51.100.1:80 failed: no route to host";
    assert!(unreachable.message.contains(reason), "{unreachable}");

    let black_hole = fetch_failure("http://192.0.2.9/").await;
    assert_eq!(black_hole.code, Code::ConnectTimeout, "{black_hole}");
    assert_eq!(&*black_hole.message, "no answer within 400 ms (connecting)");

    let script = ["head 200 | Content-Length: 100", "drip 20ms times 100 1"];
    let provider = FakeProvider::with_script(&script);
    let url = provider.url();
    let cut = async {
        wait_until_async("half of the body", || provider.sent_byte_count() >= 50).await;
        assert!(run_ip(&["link", "set", "lo", "down"]));
    };
    let both = async { tokio::join!(fetch_failure(&url), cut) };
    let (link_down, ()) = tokio::time::timeout(TIMEOUT * 5, both).await.unwrap();
    assert_eq!(link_down.code, Code::Timeout, "{link_down}");
    assert!(
        link_down.message.contains("(reading the body, "),
        "{link_down}"
    );
}

async fn fetch_failure(url: &str) -> Failure {
    let clock = Clock::start();
    let fetch = HttpFetch::new(clock, Redactor::default());
    let provider = default_provider_at(url);
    let deadline = clock.deadline(TIMEOUT).into();
    let fetched = fetch.fetch(&provider, deadline).await;
    fetched.unwrap_err().failure
}
