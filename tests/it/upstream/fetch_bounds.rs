//! Bounds of the fetch as figures: `cargo test --release --test it bounds -- --ignored --nocapture --test-threads=1`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use resumen::domain::{Code, SecretSet};
use resumen::fetch::{Fetch, HttpFetch};
use resumen::process::Clock;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::fetch_faults::{lookup_result, scenario_provider};
use crate::support::default_provider_at;
use crate::support::faulty_provider;
use crate::support::faulty_provider::fault_scenario::FaultScenario;
use crate::support::faulty_provider::fault_script::FaultScript;
use crate::support::faulty_provider::{FaultPlan, FaultyProvider};

/// By how much attempts passed their deadlines, over every fault and timeouts from 50 ms to 5 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute; prints figures"]
async fn deadline_overrun_is_small() {
    // On a runtime of their own: what is measured is the fetcher, not the load of the providers.
    let providers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let start = async {
        let mut faults = Vec::new();
        for scenario in faulty_provider::load_scenarios() {
            let server = scenario.start_provider().await;
            faults.push(Arc::new((scenario, server)));
        }
        faults
    };
    let faults = providers.spawn(start).await.unwrap();
    let mut over: Vec<Duration> = Vec::new();
    for (millis, rounds) in [(50, 10), (100, 10), (250, 5), (1_000, 2), (5_000, 1)] {
        for _ in 0..rounds {
            over.extend(measure_overruns(&faults, Duration::from_millis(millis)).await);
        }
    }
    over.sort_unstable();
    let at = |part: usize| over[(over.len() - 1) * part / 1000];
    let most = at(1000);
    println!(
        "{} attempts: deadline overrun p50 {:?}, p99 {:?}, p99.9 {:?}, max {most:?}",
        over.len(),
        at(500),
        at(990),
        at(999)
    );
    drop(faults);
    providers.shutdown_background();
    assert!(at(999) <= Duration::from_millis(25) && most <= Duration::from_millis(100));
}

/// Meets every fault once, sixteen at a time.
async fn measure_overruns(
    faults: &[Arc<(FaultScenario, FaultyProvider)>],
    limit: Duration,
) -> Vec<Duration> {
    let turns = Arc::new(Semaphore::new(16));
    let clock = Clock::start();
    let meet = |fault: Arc<(FaultScenario, FaultyProvider)>| {
        let turns = Arc::clone(&turns);
        async move {
            let _turn = turns.acquire().await.unwrap();
            let (scenario, server) = &*fault;
            let fetch = HttpFetch::with_resolver(
                clock,
                SecretSet::default(),
                lookup_result(&scenario.lookup),
            );
            let provider = scenario_provider(scenario, server);
            let deadline = clock.deadline(limit);
            let _ = fetch.fetch(&provider, deadline.into()).await;
            clock.instant().saturating_duration_since(deadline.at)
        }
    };
    faults
        .iter()
        .cloned()
        .map(meet)
        .collect::<JoinSet<_>>()
        .join_all()
        .await
}

/// What 64 requests at once add to resident memory when every provider sends a bomb or a body without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes seconds; prints figures"]
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
    let mut servers = Vec::new();
    for script in scripts {
        servers.push(
            FaultyProvider::start(FaultPlan {
                scripts: vec![FaultScript::parse(script)],
                tls: None,
                is_http2: false,
                prelude: None,
            })
            .await,
        );
    }
    let clock = Clock::start();
    let fetch = Arc::new(HttpFetch::new(clock, SecretSet::default()));
    let before = resident_bytes();
    let (stop, peak) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(before)),
    );
    let sampler = std::thread::spawn({
        let (stop, peak) = (Arc::clone(&stop), Arc::clone(&peak));
        move || {
            while !stop.load(Ordering::Relaxed) {
                peak.fetch_max(resident_bytes(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    for _ in 0..5 {
        let mut running = JoinSet::new();
        for n in 0..64 {
            let (fetch, provider) = (
                Arc::clone(&fetch),
                default_provider_at(&format!("http://{}/", servers[n % 4].address)),
            );
            running.spawn(async move {
                fetch
                    .fetch(&provider, clock.deadline(Duration::from_secs(20)).into())
                    .await
            });
        }
        while let Some(ended) = running.join_next().await {
            assert_eq!(ended.unwrap().unwrap_err().failure.code, Code::BodyTooLarge);
        }
    }
    stop.store(true, Ordering::Relaxed);
    sampler.join().unwrap();
    let added = (peak.load(Ordering::Relaxed) - before) >> 20;
    println!(
        "64 hostile bodies at a limit of 1 MiB: {added} MiB more resident memory, the fault servers' own included"
    );
    assert!(added < 96);
}

/// Resident memory of this process in bytes.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
