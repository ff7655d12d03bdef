//! Random requests, each of which must get exactly the answer that a second reading of the contract wants, and never a
//! 5xx. What begins with a plain request is asked twice, by the short way and by the library's, which must agree to the
//! byte.
//!
//! `RESUMEN_FUZZ=10000000 cargo test --release --test it fuzz -- --nocapture` sends that many instead of a few;
//! `RESUMEN_FUZZ_SEED` repeats a round of it.

mod drive;
mod expect;
mod generate;
mod reading;

use std::time::Duration;

use resumen::domain::{Code, Pace};

use crate::http::corpus;
use crate::support::scripted::{Act, Scripted, pace, source};
use crate::support::stand::{Stand, settings};

use drive::{Run, Tally};
use expect::Knowledge;
use generate::Generator;

/// Requests of the short run, and clients at once.
const FEW: u64 = 20_000;
const CLIENTS: u64 = 2;

/// A service whose answers do not change while the test runs: live requests fail at once, and nothing ages.
fn steady() -> Stand {
    let hour = Duration::from_secs(3600);
    let pace = Pace {
        interval: hour,
        min_interval: hour,
        ..pace()
    };
    let sources = ["btc", "clima", "usd"].map(|name| source(name, &["provider"], pace));
    let providers = Scripted::default();
    providers.script("provider", |_| Act::Fail(Code::HttpStatus, Duration::ZERO));
    let stand = Stand::start(settings(), &sources, providers);
    for name in ["btc", "clima", "usd"] {
        stand.reading(name, r#"{"usd":97123.45,"list":[1,2,3,4,5,6,7,8,9,10]}"#);
        stand.failure(name, Code::HttpStatus, "HTTP 503 Service Unavailable");
    }
    stand
}

#[allow(
    clippy::disallowed_methods,
    reason = "how long a test runs is told by whoever starts it"
)]
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable}={text}"))
    })
}

/// Asks one service for a while; it has no refresher, and after 10 s it would say so.
fn round(seed: u64, wanted: u64) -> Tally {
    let served = steady();
    served.client().get("/resumen?fresh=1");
    let etag = served
        .client()
        .get("/resumen")
        .header("etag")
        .unwrap()
        .to_owned();
    let clock = served.engine.clock;
    let by = clock.instant() + Duration::from_secs(5);
    let run = &|client| {
        let requests = corpus::cases()
            .into_iter()
            .map(|(_, case)| case.bytes)
            .collect();
        let generator = Generator::new(seed.wrapping_add(client), &etag, requests);
        let run = Run::new(served.address, generator, Knowledge { etag: etag.clone() });
        run.until(|tally| tally.requests >= wanted.div_ceil(CLIENTS) || clock.instant() > by)
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || run(client)))
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .fold(Tally::default(), Tally::plus)
    })
}

#[test]
#[allow(clippy::print_stderr, reason = "how much was done is worth a line")]
fn random_requests_get_exactly_their_answers() {
    let wanted = number("RESUMEN_FUZZ", FEW);
    let mut seed = number("RESUMEN_FUZZ_SEED", fastrand::u64(..));
    let mut total = Tally::default();
    while total.requests < wanted {
        eprintln!("seed {seed}");
        let more = round(seed, wanted - total.requests);
        total = total.plus(more);
        seed = seed.wrapping_add(CLIENTS);
    }
    eprintln!("{total}");
    assert!(
        total.compared > 0 && total.statuses.keys().all(|status| *status < 500),
        "{total}"
    );
}
