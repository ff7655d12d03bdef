//! Random requests, each of which must get exactly the answer that a second reading of the contract wants, and never a
//! 5xx. What begins with a plain request is asked twice, by the short way and by the library's, which must agree to the
//! byte.
//!
//! `RESUMEN_FUZZ=10000000 cargo test --release --test it fuzz -- --nocapture` sends that many instead of a few;
//! `RESUMEN_FUZZ_SEED` repeats a round of it.

use std::time::Duration;

use resumen::domain::{Code, Schedule};

use super::request_corpus;
use crate::support::scripted_fetch::{ScriptedAction, ScriptedFetch, test_schedule, test_source};
use crate::support::test_server::{TestServer, default_server_settings};

use super::fuzz_generator::RequestGenerator;
use super::fuzz_oracle::ResponseOracle;
use super::fuzz_runner::{FuzzRunner, FuzzTally};

/// Requests of the short run, and clients at once.
const DEFAULT_REQUESTS: u64 = 20_000;
const CLIENT_COUNT: u64 = 2;

/// A service whose answers do not change while the test runs: live requests fail at once, and nothing ages.
fn start_stable_server() -> TestServer {
    let hour = Duration::from_secs(3600);
    let pace = Schedule {
        interval: hour,
        min_interval: hour,
        ..test_schedule()
    };
    let sources = ["btc", "clima", "usd"].map(|name| test_source(name, &["provider"], pace));
    let providers = ScriptedFetch::default();
    providers.set_script("provider", |_| {
        ScriptedAction::Fail(Code::HttpStatus, Duration::ZERO)
    });
    let stand = TestServer::start(default_server_settings(), &sources, providers);
    for name in ["btc", "clima", "usd"] {
        stand.publish_reading(name, r#"{"usd":97123.45,"list":[1,2,3,4,5,6,7,8,9,10]}"#);
        stand.publish_failure(name, Code::HttpStatus, "HTTP 503 Service Unavailable");
    }
    stand
}

#[allow(
    clippy::disallowed_methods,
    reason = "how long a test runs is told by whoever starts it"
)]
fn number_from_environment(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable}={text}"))
    })
}

/// Asks one service for a while; it has no refresher, and after 10 s it would say so.
fn run_clients(seed: u64, wanted: u64) -> FuzzTally {
    let served = start_stable_server();
    served.connect_client().get("/resumen?fresh=1");
    let etag = served
        .connect_client()
        .get("/resumen")
        .header("etag")
        .unwrap()
        .to_owned();
    let clock = served.core.clock;
    let by = clock.instant() + Duration::from_secs(5);
    let run = &|client| {
        let requests = request_corpus::load_cases()
            .into_iter()
            .map(|(_, case)| case.bytes)
            .collect();
        let generator = RequestGenerator::new(seed.wrapping_add(client), &etag, requests);
        let run = FuzzRunner::new(
            served.address,
            generator,
            ResponseOracle { etag: etag.clone() },
        );
        run.run_until(|tally| {
            tally.requests >= wanted.div_ceil(CLIENT_COUNT) || clock.instant() > by
        })
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENT_COUNT)
            .map(|client| scope.spawn(move || run(client)))
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .fold(FuzzTally::default(), FuzzTally::merge_counts)
    })
}

#[test]
#[allow(clippy::print_stderr, reason = "how much was done is worth a line")]
fn random_requests_match_oracle() {
    let wanted = number_from_environment("RESUMEN_FUZZ", DEFAULT_REQUESTS);
    let mut seed = number_from_environment("RESUMEN_FUZZ_SEED", fastrand::u64(..));
    let mut total = FuzzTally::default();
    while total.requests < wanted {
        eprintln!("seed {seed}");
        let more = run_clients(seed, wanted - total.requests);
        total = total.merge_counts(more);
        seed = seed.wrapping_add(CLIENT_COUNT);
    }
    eprintln!("{total}");
    assert!(
        total.compared_connections > 0 && total.statuses.keys().all(|status| *status < 500),
        "{total}"
    );
}
