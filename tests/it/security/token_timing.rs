//! Wrong, cut and missing tokens are refused in the same time.

use std::time::Duration;

use fastrand::Rng;
use resumen::process::Clock;

use crate::http::hostile_clients::CrowdedService;
use crate::support::raw_client::RawHttpClient;

/// Requests of each kind.
const REQUESTS: usize = 30_000;

/// How often the noise is drawn.
const DRAWS: usize = 400;

const TOKEN: &str = "9a4f0c2e7b1d8356e0f94c2ab7d61583";

/// What clients present: a name, and the line.
fn presented() -> Vec<(&'static str, String)> {
    let line = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let (first, last) = (&TOKEN[1..], &TOKEN[..TOKEN.len() - 1]);
    vec![
        ("wrong first character", line(&format!("0{first}"))),
        ("wrong last character", line(&format!("{last}0"))),
        ("wrong in every character", line(&"z".repeat(TOKEN.len()))),
        ("without the last character", line(last)),
        ("first half", line(&TOKEN[..TOKEN.len() / 2])),
        ("empty", line("")),
        ("no field", String::new()),
    ]
}

fn median(times: &mut [u128]) -> u128 {
    let middle = times.len() / 2;
    *times.select_nth_unstable(middle).1
}

/// A difference between the medians of two halves of `times` that 1 of 100 draws exceeds.
fn draw_noise(times: &[u128], rng: &mut Rng) -> u128 {
    let mut shuffled = times.to_vec();
    let mut differences: Vec<u128> = (0..DRAWS)
        .map(|_| {
            rng.shuffle(&mut shuffled);
            let (first, second) = shuffled.split_at_mut(times.len() / 2);
            median(first).abs_diff(median(second))
        })
        .collect();
    differences.sort_unstable();
    differences[DRAWS * 99 / 100]
}

#[test]
#[ignore = "a measurement: takes half a minute, and a machine without other load"]
#[allow(clippy::print_stderr, reason = "prints measurements")]
fn refused_tokens_take_equal_time() {
    let server = format!(
        "[server.tokens.wall]\ntoken = \"{TOKEN}\"\nroutes = [\"data\"]\n\
         [server.tokens.ops]\ntoken = \"{}\"\nroutes = [\"admin\"]",
        "0123456789abcdef".repeat(2)
    );
    let Some(service) = CrowdedService::start_with(1 << 30, 2_000, false, &server) else {
        return;
    };
    let (clock, mut rng) = (Clock::start(), Rng::new());
    let mut client = RawHttpClient::connect(service.service.address());
    let requests: Vec<(&str, String)> = presented()
        .into_iter()
        .map(|(name, line)| {
            (
                name,
                format!("GET /resumen HTTP/1.1\r\nHost: a\r\n{line}\r\n"),
            )
        })
        .collect();
    let mut times = vec![Vec::with_capacity(REQUESTS); requests.len()];
    let mut order: Vec<usize> = (0..requests.len()).collect();
    for round in 0..REQUESTS + 500 {
        rng.shuffle(&mut order);
        for kind in &order {
            let asked_at = clock.instant();
            client.send(&requests[*kind].1);
            let reply = client.read_response("GET");
            let time = clock.instant() - asked_at;
            assert_eq!(reply.status, 401);
            // The first rounds warm the caches.
            if round >= 500 {
                times[*kind].push(time.as_nanos());
            }
        }
    }
    let noise = times.iter().map(|times| draw_noise(times, &mut rng)).max();
    let noise = noise.unwrap();
    let medians: Vec<u128> = times.iter_mut().map(|times| median(times)).collect();
    for ((name, _), median) in requests.iter().zip(&medians) {
        eprintln!("| {name} | {:?} |", Duration::from_nanos(*median as u64));
    }
    let spread = medians.iter().max().unwrap() - medians.iter().min().unwrap();
    eprintln!("largest difference {spread} ns, noise {noise} ns");
    assert!(
        spread <= noise,
        "{spread} ns is more than the noise of {noise} ns"
    );
}
