//! Measurements of the fetch under faults:
//! `cargo test --release --test it bounds -- --ignored --nocapture --test-threads=1`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use resumen::domain::{Code, Redactor};
use resumen::fetch::{Fetch, HttpFetch};
use resumen::process::Clock;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::fetch_faults::{lookup_result, scenario_provider};
use crate::support::default_provider_at;
use crate::support::fake_provider::FakeProvider;
use crate::support::fake_provider::fault_scenario::{FaultScenario, load_scenarios};
use crate::support::process_usage::{lower_thread_priority, resident_kib};

/// Measures how far attempts overrun their deadlines, over every scenario and timeouts from 50 ms to
/// 5 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: takes a minute"]
async fn deadline_overrun_is_small() {
    let mut faults = Vec::new();
    for scenario in load_scenarios() {
        let server = scenario.start_provider();
        faults.push(Arc::new((scenario, server)));
    }
    // They stand for other machines, whose floods would not occupy the processors of this one.
    lower_thread_priority("providers");
    let mut overruns: Vec<(Duration, String)> = Vec::new();
    for (millis, rounds) in [(50, 10), (100, 10), (250, 5), (1_000, 2), (5_000, 1)] {
        for _ in 0..rounds {
            overruns.extend(measure_overruns(&faults, Duration::from_millis(millis)).await);
        }
    }
    overruns.sort_unstable();
    let at = |part: usize| overruns[(overruns.len() - 1) * part / 1000].0;
    let max = at(1000);
    println!(
        "{} attempts: deadline overrun p50 {:?}, p99 {:?}, p99.9 {:?}, max {max:?}",
        overruns.len(),
        at(500),
        at(990),
        at(999)
    );
    for (overrun, name) in overruns.iter().rev().take(10) {
        println!("{overrun:?} {name}");
    }
    assert!(at(999) <= Duration::from_millis(25) && max <= Duration::from_millis(100));
}

/// Fetches from every scenario once, sixteen at a time.
async fn measure_overruns(
    faults: &[Arc<(FaultScenario, FakeProvider)>],
    limit: Duration,
) -> Vec<(Duration, String)> {
    let permits = Arc::new(Semaphore::new(16));
    let clock = Clock::start();
    let fetch_once = |scenario_server: Arc<(FaultScenario, FakeProvider)>| {
        let permits = Arc::clone(&permits);
        async move {
            let _permit = permits.acquire().await.unwrap();
            let (scenario, server) = &*scenario_server;
            let fetch = HttpFetch::with_resolver(
                clock,
                Redactor::default(),
                lookup_result(&scenario.lookup),
            );
            let provider = scenario_provider(scenario, server);
            let deadline = clock.deadline(limit);
            let _ = fetch.fetch(&provider, deadline.into()).await;
            let overrun = clock.instant().saturating_duration_since(deadline.at);
            (overrun, scenario.name.clone())
        }
    };
    faults
        .iter()
        .cloned()
        .map(fetch_once)
        .collect::<JoinSet<_>>()
        .join_all()
        .await
}

/// Measures the memory of 64 concurrent requests whose providers send compression bombs or endless
/// bodies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn hostile_bodies_use_little_memory() {
    let scripts: [&[&str]; 4] = [
        &[
            "head 200 | Content-Encoding: gzip",
            "send gzip zeros 200000000",
        ],
        &["head 200 | Content-Encoding: br", "send br zeros 200000000"],
        &[
            "head 200 | Content-Encoding: zstd",
            "send zstd zeros 200000000",
        ],
        &["head 200", "flood times 8192 11111111"],
    ];
    let servers = scripts.map(FakeProvider::with_script);
    let clock = Clock::start();
    let fetch = Arc::new(HttpFetch::new(clock, Redactor::default()));
    let before = resident_kib(std::process::id());
    let (stop, peak) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(before)),
    );
    let sampler = std::thread::spawn({
        let (stop, peak) = (Arc::clone(&stop), Arc::clone(&peak));
        move || {
            while !stop.load(Ordering::Relaxed) {
                peak.fetch_max(resident_kib(std::process::id()), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    for _ in 0..5 {
        let mut running = JoinSet::new();
        for n in 0..64 {
            let (fetch, provider) = (
                Arc::clone(&fetch),
                default_provider_at(&servers[n % 4].url()),
            );
            running.spawn(async move {
                fetch
                    .fetch(&provider, clock.deadline(Duration::from_secs(20)).into())
                    .await
            });
        }
        while let Some(result) = running.join_next().await {
            assert_eq!(
                result.unwrap().unwrap_err().failure.code,
                Code::BodyTooLarge
            );
        }
    }
    stop.store(true, Ordering::Relaxed);
    sampler.join().unwrap();
    let added = (peak.load(Ordering::Relaxed) - before) >> 10;
    println!(
        "64 hostile bodies at a limit of 1 MiB: {added} MiB more resident memory, with the fake providers"
    );
    assert!(added < 96);
}
