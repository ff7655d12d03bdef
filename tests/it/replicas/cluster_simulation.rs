//! Random simulations of several replicas over a simulated store, under paused time: replicas start,
//! are killed and lose the store, their clocks are wrong, the store stops and is emptied, and clients
//! send live requests.

use std::sync::Arc;
use std::time::Duration;

use resumen::domain::{Code, MAX_RETRY_AFTER, Schedule, Source, SourceRecord, Time};
use resumen::extract::{MAX_DEPTH, find_excess_depth};
use resumen::process::Clock;
use resumen::replicas::ReplicaMode;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::support::scripted_fetch::{ScriptedAction, ScriptedFetch, TestCore, test_source};
use crate::support::simulated_store::{SimulatedLink, SimulatedStore};

/// Duration of a simulation.
const DURATION: Duration = Duration::from_secs(120);

/// The latency of the store and the difference between synchronised clocks.
const CLOCK_TOLERANCE: Duration = Duration::from_millis(80);

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// One replica.
struct SimulatedReplica {
    core: TestCore,
    link: Arc<SimulatedLink>,
    stop: CancellationToken,
    /// Offset of its clock from the clock of the store.
    clock_ahead_ms: i64,
    started_at: Instant,
}

/// Replicas, their store and their provider `p`.
struct ClusterSimulation {
    source: Arc<Source>,
    schedule: Schedule,
    fetch: Arc<ScriptedFetch>,
    clock: Clock,
    store: Arc<SimulatedStore>,
    replicas: Vec<SimulatedReplica>,
    started_at: Instant,
    replica_starts: usize,
}

impl ClusterSimulation {
    /// Without replicas. With `fails`, every fifth call of the provider fails.
    fn new(fails: bool) -> Self {
        let interval = millis(fastrand::u64(5_000..20_000));
        let timeout = millis(fastrand::u64(500..4_000));
        let min_interval = millis(fastrand::u64(300..2_500));
        let schedule = Schedule {
            interval,
            timeout,
            min_interval,
            hedge_after: None,
        };
        let fetch = ScriptedFetch::default();
        let max_delay = timeout.as_millis() as u64 * 8 / 10;
        fetch.set_script("p", move |_| {
            let delay = millis(fastrand::u64(1..max_delay));
            match fastrand::u32(..10) {
                0 if fails => ScriptedAction::Fail(Code::HttpStatus, delay),
                1 if fails => ScriptedAction::TimeOut,
                _ => ScriptedAction::Respond("1", delay),
            }
        });
        let clock = Clock::start();
        Self {
            source: test_source("a", &["p"], schedule),
            schedule,
            fetch: Arc::new(fetch),
            clock,
            store: SimulatedStore::new(clock),
            replicas: Vec::new(),
            started_at: clock.instant(),
            replica_starts: 0,
        }
    }

    fn start_replica(&mut self) {
        let clock_ahead_ms = [0, 0, 0, 3_600_000, -3_600_000, 7][fastrand::usize(..6)];
        let (link, stop) = (Arc::<SimulatedLink>::default(), CancellationToken::new());
        let core = TestCore::start_replica(
            &[Arc::clone(&self.source)],
            &self.fetch,
            self.clock.with_offset_ms(clock_ahead_ms),
            self.store.connect(&link),
            stop.clone(),
        );
        self.replicas.push(SimulatedReplica {
            core,
            link,
            stop,
            clock_ahead_ms,
            started_at: self.clock.instant(),
        });
        self.replica_starts += 1;
    }

    /// Stops a random replica without a message to the store, as SIGKILL does.
    fn kill_replica(&mut self) {
        if self.replicas.len() > 1 {
            let replica = self
                .replicas
                .swap_remove(fastrand::usize(..self.replicas.len()));
            replica.link.set_cut(true);
            replica.stop.cancel();
        }
    }

    fn random_replica(&self) -> &SimulatedReplica {
        &self.replicas[fastrand::usize(..self.replicas.len())]
    }

    /// Sends a live request to a random replica, which must keep its timeout.
    async fn request_live(&self) {
        let limit = millis(fastrand::u64(100..5_000));
        let start = self.clock.instant();
        self.random_replica().core.live_results(&["a"], limit).await;
        let duration = self.clock.instant() - start;
        assert!(duration <= limit + millis(25), "{duration:?} of {limit:?}");
    }

    /// `fetched_at` of the newest reading, on the clock of the store.
    fn last_fetched_at(replica: &SimulatedReplica) -> Option<Time> {
        let snapshot = replica.core.core.cache.snapshot();
        let fetched_at = snapshot.source_state("a")?.reading.as_ref()?.fetched_at;
        Some(Time::from_millis(
            fetched_at.as_millis() - replica.clock_ahead_ms,
        ))
    }

    /// Asserts that no reading is from the future, or stale for longer than `grace`. A new replica may
    /// restore an older one.
    fn assert_fresh(&self, grace: Duration) {
        let now = self.clock.now();
        for replica in &self.replicas {
            let Some(fetched_at) = Self::last_fetched_at(replica) else {
                continue;
            };
            if self.clock.instant() - replica.started_at < self.schedule.timeout * 3 {
                continue;
            }
            let age = now.as_millis() - fetched_at.as_millis();
            let max = (self.source.freshness_policy.ttl + grace).as_millis() as i64;
            assert!(
                age >= -35 && age <= max + 35,
                "{age} ms old, may be {max}; {:?}",
                self.schedule
            );
        }
    }

    /// Asserts what holds whatever the store says: each reading is JSON within the limits on one line,
    /// no time is in the future, every text is bounded, and the answer can be rendered.
    fn assert_sound(&self) {
        for replica in &self.replicas {
            let now = replica.core.core.clock.now().as_millis();
            let snapshot = replica.core.core.cache.snapshot();
            let state = snapshot.source_state("a").unwrap();
            let record = snapshot.source_record(&state.source.name);
            for time in record.iter().flat_map(SourceRecord::past_times) {
                assert!((0..=now + 300).contains(&time.as_millis()), "{record:?}");
            }
            let limit = (self.schedule.interval * 2)
                .max(MAX_RETRY_AFTER)
                .as_millis() as i64;
            let next = state.history.next_attempt.unwrap_or_default();
            assert!(next.as_millis() <= now + limit + 300, "{state:?}");
            if let Some(reading) = &state.reading {
                let json = reading.data.as_json();
                assert_eq!(find_excess_depth(json.as_bytes(), MAX_DEPTH), None);
                assert!(!json.contains(['\n', '\r']), "{json}");
                let value: serde_json::Value = serde_json::from_str(json).unwrap();
                assert!(!value.is_null());
            }
            for failure in state.failure.iter().map(|record| &record.failure) {
                assert!(failure.message.chars().count() <= 2_001, "{failure}");
                assert!(!failure.message.contains(char::is_control), "{failure}");
                assert!(![Code::Pending, Code::Expired].contains(&failure.code));
            }
            let rendered = &replica.core.current_results()["a"];
            let age = rendered["age_ms"].as_f64().unwrap_or_default();
            assert!((0.0..now as f64 + 1e3).contains(&age), "{rendered}");
        }
    }

    /// Asserts that all replicas soon share the store and show the same reading.
    async fn assert_settles(&self) {
        self.assert_settles_within(Duration::ZERO).await;
    }

    /// Like [`Self::assert_settles`], after this time at the latest.
    async fn assert_settles_within(&self, grace: Duration) {
        let until = self.clock.instant()
            + grace
            + self.schedule.interval * 2
            + self.schedule.timeout * 3
            + millis(8_000);
        loop {
            let mode = |replica: &SimulatedReplica| {
                replica.core.core.replica.as_ref().unwrap().status().mode
            };
            let is_shared = self
                .replicas
                .iter()
                .all(|replica| mode(replica) == ReplicaMode::Sharing);
            let fetched_at: Vec<_> = self.replicas.iter().map(Self::last_fetched_at).collect();
            let is_same = fetched_at.iter().all(|at| {
                let (Some(at), Some(first)) = (at, fetched_at[0]) else {
                    return false;
                };
                (at.as_millis() - first.as_millis()).abs() <= 35
            });
            if is_shared && is_same {
                return;
            }
            assert!(
                self.clock.instant() < until,
                "the replicas differ: {fetched_at:?}"
            );
            sleep(millis(if grace.is_zero() { 20 } else { 250 })).await;
        }
    }

    fn call_intervals(&self) -> Vec<Duration> {
        self.fetch
            .call_times("p")
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect()
    }

    fn stop_all(self) {
        for replica in &self.replicas {
            replica.stop.cancel();
        }
    }
}

/// The store works and replicas are killed: all replicas together call the provider like one.
async fn run_calm_simulation() {
    let fails = fastrand::bool();
    let mut simulation = ClusterSimulation::new(fails);
    for _ in 0..fastrand::usize(1..5) {
        simulation.start_replica();
        sleep(millis(fastrand::u64(..1_500))).await;
    }
    let has_live_requests = fastrand::bool();
    while simulation.clock.instant() - simulation.started_at < DURATION {
        sleep(millis(fastrand::u64(..3_000))).await;
        match fastrand::u32(..20) {
            0 => simulation.start_replica(),
            1 => simulation.kill_replica(),
            2..8 if has_live_requests => simulation.request_live().await,
            _ => {}
        }
        if !fails {
            simulation.assert_fresh(Duration::ZERO);
        }
    }
    let (min_interval, intervals) = (
        simulation
            .schedule
            .min_interval
            .saturating_sub(CLOCK_TOLERANCE),
        simulation.call_intervals(),
    );
    // After a lost reply of the store, a replica may call the provider without the lease.
    let short = intervals
        .iter()
        .filter(|interval| **interval < min_interval)
        .count();
    assert!(
        short <= 2 * simulation.store.lost_reply_count(),
        "{short} of {} calls too soon: {intervals:?}; {:?}",
        intervals.len(),
        simulation.schedule
    );
    if !fails && !has_live_requests {
        let max = DURATION.as_secs_f64() / (simulation.schedule.interval.as_secs_f64() * 0.9);
        let calls = intervals.len() as f64 + 1.0;
        assert!(
            calls <= max + 2.0 + simulation.store.lost_reply_count() as f64,
            "{calls} calls in {max} intervals, {} starts; {:?}",
            simulation.replica_starts,
            simulation.schedule
        );
    }
    simulation.assert_settles().await;
    simulation.stop_all();
}

/// The store stops, is emptied and loses its links: no reading becomes stale, and at the end all
/// replicas share the store.
async fn run_faulty_simulation() {
    let mut simulation = ClusterSimulation::new(false);
    // Replicas without the store wait for nearly the ttl, so that they call like one. A replica that
    // takes a lease when the store is back and then loses its link costs another the whole lease.
    let lost_lease = simulation.schedule.timeout + millis(250);
    for _ in 0..fastrand::usize(1..5) {
        simulation.start_replica();
    }
    while simulation.clock.instant() - simulation.started_at < DURATION {
        sleep(millis(fastrand::u64(..3_000))).await;
        match fastrand::u32(..12) {
            0 => simulation.store.set_down(true),
            1 | 2 => simulation.store.set_down(false),
            3 => simulation.store.delete_everything(),
            4 => simulation.random_replica().link.set_cut(true),
            5 | 6 => simulation
                .replicas
                .iter()
                .for_each(|replica| replica.link.set_cut(false)),
            7 => simulation.start_replica(),
            8 => simulation.kill_replica(),
            9 => simulation.request_live().await,
            _ => {}
        }
        simulation.assert_fresh(lost_lease);
    }
    simulation.store.set_down(false);
    simulation
        .replicas
        .iter()
        .for_each(|replica| replica.link.set_cut(false));
    simulation.assert_settles().await;
    simulation.assert_fresh(lost_lease);
    simulation.stop_all();
}

/// The store lies in every field: nothing panics, no replica takes over what breaks an invariant, and
/// when the store tells the truth again, all replicas soon share it.
async fn run_lying_simulation() {
    let mut simulation = ClusterSimulation::new(fastrand::bool());
    simulation.store.set_lying(true);
    for _ in 0..fastrand::usize(1..4) {
        simulation.start_replica();
    }
    while simulation.clock.instant() - simulation.started_at < DURATION {
        sleep(millis(fastrand::u64(..3_000))).await;
        match fastrand::u32(..12) {
            0 => simulation.store.delete_everything(),
            1 => simulation.store.set_lying(false),
            2..5 => simulation.store.set_lying(true),
            5 => simulation.start_replica(),
            6 => simulation.kill_replica(),
            7 => simulation.request_live().await,
            _ => {}
        }
        simulation.assert_sound();
    }
    let (starts, calls) = (simulation.replica_starts, simulation.call_intervals().len());
    let most = starts * (DURATION.div_duration_f64(simulation.schedule.min_interval) as usize + 2);
    assert!(calls <= most, "{calls} calls of {starts} replicas");
    simulation
        .fetch
        .set_script("p", |_| ScriptedAction::Respond("1", millis(50)));
    simulation.store.set_lying(false);
    // A false `Retry-After` holds the provider back for its longest time.
    simulation
        .assert_settles_within(MAX_RETRY_AFTER + millis(10_000))
        .await;
    simulation.assert_sound();
    simulation.stop_all();
}

/// Runs one simulation for each seed. A failure names the seed.
fn run_seeds<T: Future<Output = ()>>(
    kind: &str,
    seeds: std::ops::Range<u64>,
    simulate: impl Fn() -> T,
) {
    for seed in seeds {
        fastrand::seed(seed);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap()
                .block_on(simulate());
        }));
        assert!(result.is_ok(), "the {kind} simulation with seed {seed}");
    }
}

#[test]
fn calm_simulations_call_like_one_replica() {
    run_seeds("calm", 0..100, run_calm_simulation);
}

#[test]
fn faulty_simulations_keep_data_fresh() {
    run_seeds("faulty", 0..100, run_faulty_simulation);
    // A standalone replica once waited for the lease of another one; a link was lost with a lease.
    for seed in [3353, 3620, 4270] {
        run_seeds("faulty", seed..seed + 1, run_faulty_simulation);
    }
}

#[test]
#[ignore = "takes minutes; the suite runs 200 simulations"]
fn ten_thousand_simulations() {
    run_seeds("calm", 100..5_100, run_calm_simulation);
    run_seeds("faulty", 100..5_100, run_faulty_simulation);
    run_seeds("lying", 100..2_100, run_lying_simulation);
}

#[test]
fn lying_store_breaks_no_invariant() {
    run_seeds("lying", 0..8, run_lying_simulation);
}

/// One simulation of a seed that the environment names, to look at a failure.
#[test]
#[ignore = "needs RESUMEN_TEST_SEED"]
fn one_seed() {
    let seed = std::env::var_os("RESUMEN_TEST_SEED").unwrap();
    let seed: u64 = seed.to_str().unwrap().parse().unwrap();
    run_seeds("calm", seed..seed + 1, run_calm_simulation);
    run_seeds("faulty", seed..seed + 1, run_faulty_simulation);
    run_seeds("lying", seed..seed + 1, run_lying_simulation);
}

/// A replica that is killed during its attempt delays the next attempt by the timeout and the jitter
/// of the interval.
#[tokio::test(start_paused = true)]
async fn dead_lease_holder_costs_one_timeout() {
    let mut simulation = ClusterSimulation::new(false);
    simulation
        .fetch
        .set_script("p", |_| ScriptedAction::Respond("1", millis(400)));
    simulation.start_replica();
    simulation.start_replica();
    sleep(millis(500)).await;
    let calls = simulation.fetch.call_times("p").len();
    let taken = |replica: &SimulatedReplica| {
        replica
            .core
            .core
            .replica
            .as_ref()
            .unwrap()
            .status()
            .leases_acquired
    };
    let before: Vec<_> = simulation.replicas.iter().map(taken).collect();
    while simulation.fetch.call_times("p").len() == calls {
        sleep(millis(1)).await;
    }
    let killed_at = simulation.clock.instant();
    let holder = simulation
        .replicas
        .iter()
        .zip(before)
        .position(|(replica, before)| taken(replica) > before)
        .unwrap();
    let replica = simulation.replicas.swap_remove(holder);
    replica.link.set_cut(true);
    replica.stop.cancel();
    let calls = simulation.fetch.call_times("p").len();
    while simulation.fetch.call_times("p").len() == calls {
        sleep(millis(1)).await;
    }
    let delay = simulation.clock.instant() - killed_at;
    assert!(
        delay <= simulation.schedule.timeout + simulation.schedule.interval * 2 / 10 + millis(300),
        "{delay:?}; {:?}",
        simulation.schedule
    );
    simulation.stop_all();
}
