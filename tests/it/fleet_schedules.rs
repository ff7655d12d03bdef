//! Thousands of random lives of a fleet, over a simulated store and under paused time: replicas come, are killed and cut
//! off, their clocks are wrong, the store stops and forgets, clients ask for live rounds. What must hold, holds in each.

use std::sync::Arc;
use std::time::Duration;

use resumen::clock::Clock;
use resumen::domain::{Code, Pace, Source, Time};
use resumen::fleet::Role;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::support::scripted::{Act, Rig, Scripted, source};
use crate::support::simulated::{Cable, Simulated};

/// How long a life lasts.
const LIFE: Duration = Duration::from_secs(120);

/// What operations of the store take, and what clocks that agree may differ by.
const NOISE: Duration = Duration::from_millis(80);

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// One replica.
struct Member {
    rig: Rig,
    cable: Arc<Cable>,
    stop: CancellationToken,
    /// By how many milliseconds its clock is ahead of the store's.
    ahead: i64,
    born: Instant,
}

/// A fleet and what it lives with.
struct Life {
    source: Arc<Source>,
    pace: Pace,
    providers: Arc<Scripted>,
    clock: Clock,
    store: Arc<Simulated>,
    members: Vec<Member>,
    begun: Instant,
    /// How many replicas ever started, and how many live rounds there were.
    starts: usize,
    rounds: usize,
}

impl Life {
    fn new(fails: bool) -> Self {
        let interval = millis(fastrand::u64(5_000..20_000));
        let timeout = millis(fastrand::u64(500..4_000));
        let min_interval = millis(fastrand::u64(300..2_500));
        let pace = Pace {
            interval,
            timeout,
            min_interval,
            hedge_after: None,
        };
        let providers = Scripted::default();
        let longest = timeout.as_millis() as u64 * 8 / 10;
        providers.script("p", move |_| {
            let took = millis(fastrand::u64(1..longest));
            match fastrand::u32(..10) {
                0 if fails => Act::Fail(Code::HttpStatus, took),
                1 if fails => Act::Silent,
                _ => Act::Answer("1", took),
            }
        });
        let clock = Clock::start();
        let source = source("a", &["p"], pace);
        let store = Simulated::new(clock);
        let members = Vec::new();
        let begun = clock.instant();
        Self {
            source,
            pace,
            providers: Arc::new(providers),
            clock,
            store,
            members,
            begun,
            starts: 0,
            rounds: 0,
        }
    }

    fn launch(&mut self) {
        let ahead = [0, 0, 0, 3_600_000, -3_600_000, 7][fastrand::usize(..6)];
        let (cable, stop) = (Arc::<Cable>::default(), CancellationToken::new());
        let port = self.store.port(&cable);
        let sources = [Arc::clone(&self.source)];
        let rig = Rig::replica(
            &sources,
            &self.providers,
            self.clock.set_by(ahead),
            port,
            stop.clone(),
        );
        let born = self.clock.instant();
        self.members.push(Member {
            rig,
            cable,
            stop,
            ahead,
            born,
        });
        self.starts += 1;
    }

    /// As by a signal that cannot be caught: nobody hears of it.
    fn kill(&mut self) {
        if self.members.len() > 1 {
            let member = self
                .members
                .swap_remove(fastrand::usize(..self.members.len()));
            member.cable.cut(true);
            member.stop.cancel();
        }
    }

    fn any(&self) -> &Member {
        &self.members[fastrand::usize(..self.members.len())]
    }

    /// A live round at one of them keeps its deadline.
    async fn ask(&mut self) {
        let limit = millis(fastrand::u64(100..5_000));
        let begun = self.clock.instant();
        self.any().rig.live(&["a"], limit).await;
        let took = self.clock.instant() - begun;
        assert!(took <= limit + millis(25), "{took:?} of {limit:?}");
        self.rounds += 1;
    }

    /// When its newest reading was asked for, on the store's clock.
    fn fetched(member: &Member) -> Option<Time> {
        let snapshot = member.rig.engine.cache.snapshot();
        let fetched = snapshot.entry("a")?.reading.as_ref()?.fetched_at;
        Some(Time::from_millis(fetched.as_millis() - member.ahead))
    }

    /// No reading is older than its ttl, or from the future; but for what a newcomer found in the store.
    fn assert_fresh(&self) {
        let now = self.clock.now();
        for member in &self.members {
            let Some(fetched) = Self::fetched(member) else {
                continue;
            };
            if self.clock.instant() - member.born < self.pace.timeout * 3 {
                continue;
            }
            let age = now.as_millis() - fetched.as_millis();
            let most = self.source.shelf.ttl.as_millis() as i64;
            assert!(
                age >= -35 && age <= most + 35,
                "{age} ms old, may be {most}; {:?}",
                self.pace
            );
        }
    }

    /// All of them show the same, soon, and share.
    async fn assert_settles(&self) {
        let until =
            self.clock.instant() + self.pace.interval * 2 + self.pace.timeout * 3 + millis(8_000);
        loop {
            let role = |member: &Member| member.rig.engine.fleet.as_ref().unwrap().view().role;
            let shared = self
                .members
                .iter()
                .all(|member| role(member) == Role::Sharing);
            let fetched: Vec<_> = self.members.iter().map(Self::fetched).collect();
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

    fn gaps(&self) -> Vec<Duration> {
        self.providers
            .calls("p")
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect()
    }

    fn end(self) {
        for member in &self.members {
            member.stop.cancel();
        }
    }
}

/// A life in a healthy world but for deaths: every call is one that a single replica would have made.
async fn calm() {
    let fails = fastrand::bool();
    let mut life = Life::new(fails);
    for _ in 0..fastrand::usize(1..5) {
        life.launch();
        sleep(millis(fastrand::u64(..1_500))).await;
    }
    let asks = fastrand::bool();
    while life.clock.instant() - life.begun < LIFE {
        sleep(millis(fastrand::u64(..3_000))).await;
        match fastrand::u32(..20) {
            0 => life.launch(),
            1 => life.kill(),
            2..8 if asks => life.ask().await,
            _ => {}
        }
        if !fails {
            life.assert_fresh();
        }
    }
    let (least, gaps) = (life.pace.min_interval.saturating_sub(NOISE), life.gaps());
    // An answer of the store may be lost, one in two thousand: then somebody may call alone, between two others.
    let close = gaps.iter().filter(|gap| **gap < least).count();
    assert!(
        close <= 2 * life.store.lost(),
        "{close} of {} calls too soon: {gaps:?}; {:?}",
        gaps.len(),
        life.pace
    );
    if !fails && !asks {
        let most = LIFE.as_secs_f64() / (life.pace.interval.as_secs_f64() * 0.9);
        let calls = gaps.len() as f64 + 1.0;
        assert!(
            calls <= most + 2.0 + life.store.lost() as f64,
            "{calls} calls in {most} intervals, {} starts; {:?}",
            life.starts,
            life.pace
        );
    }
    life.assert_settles().await;
    life.end();
}

/// A life in which the store stops, forgets and is cut off: nothing goes stale, and in the end all share again.
async fn rough() {
    let mut life = Life::new(false);
    for _ in 0..fastrand::usize(1..5) {
        life.launch();
    }
    while life.clock.instant() - life.begun < LIFE {
        sleep(millis(fastrand::u64(..3_000))).await;
        match fastrand::u32(..12) {
            0 => life.store.down(true),
            1 | 2 => life.store.down(false),
            3 => life.store.flush(),
            4 => life.any().cable.cut(true),
            5 | 6 => life
                .members
                .iter()
                .for_each(|member| member.cable.cut(false)),
            7 => life.launch(),
            8 => life.kill(),
            9 => life.ask().await,
            _ => {}
        }
        life.assert_fresh();
    }
    life.store.down(false);
    life.members
        .iter()
        .for_each(|member| member.cable.cut(false));
    life.assert_settles().await;
    life.assert_fresh();
    life.end();
}

/// Lives that many lives, each from a seed that a failure names.
fn live<T: Future<Output = ()>>(kind: &str, seeds: std::ops::Range<u64>, life: impl Fn() -> T) {
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
fn hundreds_of_calm_lives_call_like_one_replica() {
    live("calm", 0..100, calm);
}

#[test]
fn hundreds_of_rough_lives_let_nothing_go_stale() {
    live("rough", 0..100, rough);
}

#[test]
#[ignore = "longer than a suite may take; the short ones are in it"]
fn ten_thousand_lives() {
    live("calm", 100..5_100, calm);
    live("rough", 100..5_100, rough);
}

/// A holder that dies in flight delays a source by its timeout and no more than the interval it was due anyway.
#[tokio::test(start_paused = true)]
async fn a_dead_holder_costs_one_timeout() {
    let mut life = Life::new(false);
    life.providers
        .script("p", |_| Act::Answer("1", millis(400)));
    life.launch();
    life.launch();
    sleep(millis(500)).await;
    let calls = life.providers.calls("p").len();
    let taken = |member: &Member| member.rig.engine.fleet.as_ref().unwrap().view().taken;
    let before: Vec<_> = life.members.iter().map(taken).collect();
    while life.providers.calls("p").len() == calls {
        sleep(millis(1)).await;
    }
    let died = life.clock.instant();
    let holder = life
        .members
        .iter()
        .zip(before)
        .position(|(member, before)| taken(member) > before)
        .unwrap();
    let member = life.members.swap_remove(holder);
    member.cable.cut(true);
    member.stop.cancel();
    let calls = life.providers.calls("p").len();
    while life.providers.calls("p").len() == calls {
        sleep(millis(1)).await;
    }
    let waited = life.clock.instant() - died;
    assert!(
        waited <= life.pace.timeout + life.pace.interval * 2 / 10 + millis(300),
        "{waited:?}; {:?}",
        life.pace
    );
    life.end();
}
