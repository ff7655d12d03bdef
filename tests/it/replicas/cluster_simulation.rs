//! Thousands of random lives of a fleet, over a simulated store and under paused time: replicas come, are killed and cut
//! off, their clocks are wrong, the store stops and forgets, clients ask for live rounds. What must hold, holds in each.

use std::sync::Arc;
use std::time::Duration;

use resumen::domain::{Code, Schedule, Source, Time};
use resumen::process::Clock;
use resumen::replicas::ReplicaMode;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::support::scripted_fetch::{ScriptedAction, ScriptedFetch, TestCore, test_source};
use crate::support::simulated_store::{SimulatedLink, SimulatedStore};

/// How long a life lasts.
const LIFE: Duration = Duration::from_secs(120);

/// What operations of the store take, and what clocks that agree may differ by.
const NOISE: Duration = Duration::from_millis(80);

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// One replica.
struct SimulatedReplica {
    core: TestCore,
    link: Arc<SimulatedLink>,
    stop: CancellationToken,
    /// By how many milliseconds its clock is ahead of the store's.
    clock_ahead_ms: i64,
    started_at: Instant,
}

/// A fleet and what it lives with.
struct ClusterSimulation {
    source: Arc<Source>,
    schedule: Schedule,
    providers: Arc<ScriptedFetch>,
    clock: Clock,
    store: Arc<SimulatedStore>,
    replicas: Vec<SimulatedReplica>,
    started_at: Instant,
    /// How many replicas ever started, and how many live rounds there were.
    replica_starts: usize,
    live_rounds: usize,
}

impl ClusterSimulation {
    fn new(fails: bool) -> Self {
        let interval = millis(fastrand::u64(5_000..20_000));
        let timeout = millis(fastrand::u64(500..4_000));
        let min_interval = millis(fastrand::u64(300..2_500));
        let pace = Schedule {
            interval,
            timeout,
            min_interval,
            hedge_after: None,
        };
        let providers = ScriptedFetch::default();
        let longest = timeout.as_millis() as u64 * 8 / 10;
        providers.set_script("p", move |_| {
            let took = millis(fastrand::u64(1..longest));
            match fastrand::u32(..10) {
                0 if fails => ScriptedAction::Fail(Code::HttpStatus, took),
                1 if fails => ScriptedAction::TimeOut,
                _ => ScriptedAction::Respond("1", took),
            }
        });
        let clock = Clock::start();
        let source = test_source("a", &["p"], pace);
        let store = SimulatedStore::new(clock);
        let members = Vec::new();
        let begun = clock.instant();
        Self {
            source,
            schedule: pace,
            providers: Arc::new(providers),
            clock,
            store,
            replicas: members,
            started_at: begun,
            replica_starts: 0,
            live_rounds: 0,
        }
    }

    fn start_replica(&mut self) {
        let ahead = [0, 0, 0, 3_600_000, -3_600_000, 7][fastrand::usize(..6)];
        let (cable, stop) = (Arc::<SimulatedLink>::default(), CancellationToken::new());
        let port = self.store.connect(&cable);
        let sources = [Arc::clone(&self.source)];
        let rig = TestCore::start_replica(
            &sources,
            &self.providers,
            self.clock.with_offset_ms(ahead),
            port,
            stop.clone(),
        );
        let born = self.clock.instant();
        self.replicas.push(SimulatedReplica {
            core: rig,
            link: cable,
            stop,
            clock_ahead_ms: ahead,
            started_at: born,
        });
        self.replica_starts += 1;
    }

    /// As by a signal that cannot be caught: nobody hears of it.
    fn kill_replica(&mut self) {
        if self.replicas.len() > 1 {
            let member = self
                .replicas
                .swap_remove(fastrand::usize(..self.replicas.len()));
            member.link.set_cut(true);
            member.stop.cancel();
        }
    }

    fn random_replica(&self) -> &SimulatedReplica {
        &self.replicas[fastrand::usize(..self.replicas.len())]
    }

    /// A live round at one of them keeps its deadline.
    async fn request_live(&mut self) {
        let limit = millis(fastrand::u64(100..5_000));
        let begun = self.clock.instant();
        self.random_replica().core.live_results(&["a"], limit).await;
        let took = self.clock.instant() - begun;
        assert!(took <= limit + millis(25), "{took:?} of {limit:?}");
        self.live_rounds += 1;
    }

    /// When its newest reading was asked for, on the store's clock.
    fn last_fetched_at(member: &SimulatedReplica) -> Option<Time> {
        let snapshot = member.core.core.cache.snapshot();
        let fetched = snapshot.source_state("a")?.reading.as_ref()?.fetched_at;
        Some(Time::from_millis(
            fetched.as_millis() - member.clock_ahead_ms,
        ))
    }

    /// No reading is older than its ttl, or from the future; but for what a newcomer found in the store.
    fn assert_fresh(&self) {
        let now = self.clock.now();
        for member in &self.replicas {
            let Some(fetched) = Self::last_fetched_at(member) else {
                continue;
            };
            if self.clock.instant() - member.started_at < self.schedule.timeout * 3 {
                continue;
            }
            let age = now.as_millis() - fetched.as_millis();
            let most = self.source.freshness_policy.ttl.as_millis() as i64;
            assert!(
                age >= -35 && age <= most + 35,
                "{age} ms old, may be {most}; {:?}",
                self.schedule
            );
        }
    }

    /// All of them show the same, soon, and share.
    async fn assert_settles(&self) {
        let until = self.clock.instant()
            + self.schedule.interval * 2
            + self.schedule.timeout * 3
            + millis(8_000);
        loop {
            let role = |member: &SimulatedReplica| {
                member.core.core.replica.as_ref().unwrap().status().mode
            };
            let shared = self
                .replicas
                .iter()
                .all(|member| role(member) == ReplicaMode::Sharing);
            let fetched: Vec<_> = self.replicas.iter().map(Self::last_fetched_at).collect();
            let alike = fetched.iter().all(|at| {
                let (Some(at), Some(first)) = (at, fetched[0]) else {
                    return false;
                };
                (at.as_millis() - first.as_millis()).abs() <= 35
            });
            if shared && alike {
                return;
            }
            assert!(
                self.clock.instant() < until,
                "they never agreed: {fetched:?}"
            );
            sleep(millis(20)).await;
        }
    }

    fn call_intervals(&self) -> Vec<Duration> {
        self.providers
            .call_times("p")
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect()
    }

    fn stop_all(self) {
        for member in &self.replicas {
            member.stop.cancel();
        }
    }
}

/// A life in a healthy world but for deaths: every call is one that a single replica would have made.
async fn run_calm_simulation() {
    let fails = fastrand::bool();
    let mut life = ClusterSimulation::new(fails);
    for _ in 0..fastrand::usize(1..5) {
        life.start_replica();
        sleep(millis(fastrand::u64(..1_500))).await;
    }
    let asks = fastrand::bool();
    while life.clock.instant() - life.started_at < LIFE {
        sleep(millis(fastrand::u64(..3_000))).await;
        match fastrand::u32(..20) {
            0 => life.start_replica(),
            1 => life.kill_replica(),
            2..8 if asks => life.request_live().await,
            _ => {}
        }
        if !fails {
            life.assert_fresh();
        }
    }
    let (least, gaps) = (
        life.schedule.min_interval.saturating_sub(NOISE),
        life.call_intervals(),
    );
    // An answer of the store may be lost, one in two thousand: then somebody may call alone, between two others.
    let close = gaps.iter().filter(|gap| **gap < least).count();
    assert!(
        close <= 2 * life.store.lost_reply_count(),
        "{close} of {} calls too soon: {gaps:?}; {:?}",
        gaps.len(),
        life.schedule
    );
    if !fails && !asks {
        let most = LIFE.as_secs_f64() / (life.schedule.interval.as_secs_f64() * 0.9);
        let calls = gaps.len() as f64 + 1.0;
        assert!(
            calls <= most + 2.0 + life.store.lost_reply_count() as f64,
            "{calls} calls in {most} intervals, {} starts; {:?}",
            life.replica_starts,
            life.schedule
        );
    }
    life.assert_settles().await;
    life.stop_all();
}

/// A life in which the store stops, forgets and is cut off: nothing goes stale, and in the end all share again.
async fn run_faulty_simulation() {
    let mut life = ClusterSimulation::new(false);
    for _ in 0..fastrand::usize(1..5) {
        life.start_replica();
    }
    while life.clock.instant() - life.started_at < LIFE {
        sleep(millis(fastrand::u64(..3_000))).await;
        match fastrand::u32(..12) {
            0 => life.store.set_down(true),
            1 | 2 => life.store.set_down(false),
            3 => life.store.delete_everything(),
            4 => life.random_replica().link.set_cut(true),
            5 | 6 => life
                .replicas
                .iter()
                .for_each(|member| member.link.set_cut(false)),
            7 => life.start_replica(),
            8 => life.kill_replica(),
            9 => life.request_live().await,
            _ => {}
        }
        life.assert_fresh();
    }
    life.store.set_down(false);
    life.replicas
        .iter()
        .for_each(|member| member.link.set_cut(false));
    life.assert_settles().await;
    life.assert_fresh();
    life.stop_all();
}

/// Lives that many lives, each from a seed that a failure names.
fn run_seeds<T: Future<Output = ()>>(
    kind: &str,
    seeds: std::ops::Range<u64>,
    life: impl Fn() -> T,
) {
    for seed in seeds {
        fastrand::seed(seed);
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap()
                .block_on(life());
        }));
        assert!(lived.is_ok(), "the {kind} life from seed {seed}");
    }
}

#[test]
fn calm_simulations_call_like_one_replica() {
    run_seeds("calm", 0..100, run_calm_simulation);
}

#[test]
fn faulty_simulations_keep_data_fresh() {
    run_seeds("rough", 0..100, run_faulty_simulation);
}

#[test]
#[ignore = "longer than a suite may take; the short ones are in it"]
fn ten_thousand_simulations() {
    run_seeds("calm", 100..5_100, run_calm_simulation);
    run_seeds("rough", 100..5_100, run_faulty_simulation);
}

/// A holder that dies in flight delays a source by its timeout and no more than the interval it was due anyway.
#[tokio::test(start_paused = true)]
async fn dead_lease_holder_costs_one_timeout() {
    let mut life = ClusterSimulation::new(false);
    life.providers
        .set_script("p", |_| ScriptedAction::Respond("1", millis(400)));
    life.start_replica();
    life.start_replica();
    sleep(millis(500)).await;
    let calls = life.providers.call_times("p").len();
    let taken = |member: &SimulatedReplica| {
        member
            .core
            .core
            .replica
            .as_ref()
            .unwrap()
            .status()
            .leases_acquired
    };
    let before: Vec<_> = life.replicas.iter().map(taken).collect();
    while life.providers.call_times("p").len() == calls {
        sleep(millis(1)).await;
    }
    let died = life.clock.instant();
    let holder = life
        .replicas
        .iter()
        .zip(before)
        .position(|(member, before)| taken(member) > before)
        .unwrap();
    let member = life.replicas.swap_remove(holder);
    member.link.set_cut(true);
    member.stop.cancel();
    let calls = life.providers.call_times("p").len();
    while life.providers.call_times("p").len() == calls {
        sleep(millis(1)).await;
    }
    let waited = life.clock.instant() - died;
    assert!(
        waited <= life.schedule.timeout + life.schedule.interval * 2 / 10 + millis(300),
        "{waited:?}; {:?}",
        life.schedule
    );
    life.stop_all();
}
