//! Random requests: each response must be the one that an independent oracle expects, and never a 5xx.
//! Connections that begin with a plain request are sent twice, over the fast path and over hyper, whose
//! bytes must be equal.
//!
//! `RESUMEN_FUZZ=10000000 cargo test --release --test it fuzz -- --nocapture` sets the number of
//! requests; `RESUMEN_FUZZ_SEED` repeats a seed.

use std::time::Duration;

use resumen::domain::{Code, Schedule};

use super::request_corpus;
use crate::support::scripted_fetch::{ScriptedAction, ScriptedFetch, test_schedule, test_source};
use crate::support::test_server::{TestServer, default_server_settings};

use super::fuzz_generator::RequestGenerator;
use super::fuzz_oracle::ResponseOracle;
use super::fuzz_runner::{FuzzRunner, FuzzTally};

/// Number of requests by default, and of concurrent clients.
const DEFAULT_REQUESTS: u64 = 20_000;
const CLIENT_COUNT: u64 = 2;

/// A server whose responses do not change during the test: live requests fail at once, and no reading
/// becomes stale.
fn start_stable_server() -> TestServer {
    let hour = Duration::from_secs(3600);
    let schedule = Schedule {
        interval: hour,
        min_interval: hour,
        ..test_schedule()
    };
    let sources = ["btc", "clima", "usd"].map(|name| test_source(name, &["provider"], schedule));
    let fetch = ScriptedFetch::default();
    fetch.set_script("provider", |_| {
        ScriptedAction::Fail(Code::HttpStatus, Duration::ZERO)
    });
    let server = TestServer::start(default_server_settings(), &sources, fetch);
    for name in ["btc", "clima", "usd"] {
        server.publish_reading(name, r#"{"usd":97123.45,"list":[1,2,3,4,5,6,7,8,9,10]}"#);
        server.publish_failure(name, Code::HttpStatus, "HTTP 503 Service Unavailable");
    }
    server
}

#[allow(
    clippy::disallowed_methods,
    reason = "a setting of the test, not of the program"
)]
fn number_from_environment(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable}={text}"))
    })
}

/// Sends requests for at most 5 s: without a refresher, the server reports a failure after 10 s.
fn run_clients(seed: u64, request_count: u64) -> FuzzTally {
    let server = start_stable_server();
    server.connect_client().get("/resumen?fresh=1");
    let etag = server
        .connect_client()
        .get("/resumen")
        .header("etag")
        .unwrap()
        .to_owned();
    let clock = server.core.clock;
    let end = clock.instant() + Duration::from_secs(5);
    let run_client = &|client| {
        let requests = request_corpus::load_cases()
            .into_iter()
            .map(|(_, case)| case.bytes)
            .collect();
        let generator = RequestGenerator::new(seed.wrapping_add(client), &etag, requests);
        let runner = FuzzRunner::new(
            server.address,
            generator,
            ResponseOracle { etag: etag.clone() },
        );
        runner.run_until(|tally| {
            tally.requests >= request_count.div_ceil(CLIENT_COUNT) || clock.instant() > end
        })
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENT_COUNT)
            .map(|client| scope.spawn(move || run_client(client)))
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .fold(FuzzTally::default(), FuzzTally::merge_counts)
    })
}

#[test]
#[allow(clippy::print_stderr, reason = "prints the tally")]
fn random_requests_match_oracle() {
    let request_count = number_from_environment("RESUMEN_FUZZ", DEFAULT_REQUESTS);
    let mut seed = number_from_environment("RESUMEN_FUZZ_SEED", fastrand::u64(..));
    let mut total = FuzzTally::default();
    while total.requests < request_count {
        eprintln!("seed {seed}");
        let tally = run_clients(seed, request_count - total.requests);
        total = total.merge_counts(tally);
        seed = seed.wrapping_add(CLIENT_COUNT);
    }
    eprintln!("{total}");
    assert!(
        total.compared_connections > 0 && total.statuses.keys().all(|status| *status < 500),
        "{total}"
    );
}
