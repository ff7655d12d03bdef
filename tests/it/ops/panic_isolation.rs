//! A bug of ours stays where it is: in its flight, its task, its request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use resumen::aggregate::{
    Cache, CompletionHandler, CoordinatorFuture, Flights, LeaseDecision, LeaseHandle, LeaseReply,
    LeaseRequest, LiveFetcher, LivenessBeat, PreparedSource, Refresher, RemoteAttempt,
    ReplicaCoordinator,
};
use resumen::domain::{Snapshot, Source, SourceRecord, SourceSet, Time};
use resumen::process::{Clock, SendBudget};
use tokio::runtime::Handle;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[cfg(debug_assertions)]
use crate::support::fake_provider::FakeProvider;
use crate::support::scripted_fetch::{ScriptedAction, ScriptedFetch, test_schedule, test_source};
#[cfg(debug_assertions)]
use crate::support::test_app::TestApp;
use crate::support::test_server::{TestServer, default_server_settings};

const SHORT_DELAY: Duration = Duration::from_millis(100);

fn responding_fetch() -> ScriptedFetch {
    let providers = ScriptedFetch::default();
    providers.set_script("p", |_| ScriptedAction::Respond("1", SHORT_DELAY));
    providers
}

/// A refresher and what it works with.
struct RefresherFixture {
    refresher: Refresher,
    liveness: Arc<LivenessBeat>,
    flights: Flights,
    cache: Arc<Cache>,
    clock: Clock,
}

fn build_refresher(
    sources: &[Arc<Source>],
    providers: Arc<ScriptedFetch>,
    replicas: Option<Arc<dyn ReplicaCoordinator>>,
) -> RefresherFixture {
    let clock = Clock::start();
    let source_set = Arc::new(SourceSet::new(sources.to_vec()));
    let cache = Arc::new(Cache::new(
        Snapshot::new(source_set),
        Duration::from_secs(4),
        SendBudget::new(None),
    ));
    let (sender, commands) = unbounded_channel();
    let flights = Flights::new(
        providers,
        crate::support::scripted_fetch::test_extractor(),
        clock,
        CompletionHandler::new(Arc::clone(&cache), sender, Arc::default(), replicas),
        Handle::current(),
        TaskTracker::new(),
        CancellationToken::new(),
    );
    let prepared = sources.iter().filter_map(|source| {
        PreparedSource::new(source, &crate::support::scripted_fetch::test_extractor()).unwrap()
    });
    flights.replace_sources(prepared.collect(), &cache.snapshot());
    let liveness = Arc::new(LivenessBeat::new(clock));
    RefresherFixture {
        refresher: Refresher::new(
            flights.clone(),
            Arc::clone(&cache),
            clock,
            Arc::clone(&liveness),
            commands,
        ),
        liveness,
        flights,
        cache,
        clock,
    }
}

/// Grants every lease; panics when the first attempt is planned.
#[derive(Default)]
struct PanickingCoordinator {
    plans: AtomicU32,
}

impl ReplicaCoordinator for PanickingCoordinator {
    fn independent_replicas(&self) -> u32 {
        assert!(self.plans.fetch_add(1, Ordering::SeqCst) > 0, "planted");
        1
    }

    fn request_lease<'c>(&'c self, _: LeaseRequest<'c>) -> CoordinatorFuture<'c, LeaseReply> {
        Box::pin(async {
            LeaseReply {
                decision: LeaseDecision::Proceed(None),
                newer_state: None,
            }
        })
    }

    fn wait_for_outcome<'c>(&'c self, _: &'c RemoteAttempt) -> CoordinatorFuture<'c, Option<Time>> {
        Box::pin(async { None })
    }

    fn publish_and_release<'c>(
        &'c self,
        _: Option<LeaseHandle>,
        _: SourceRecord,
        _: &'c Source,
    ) -> CoordinatorFuture<'c, ()> {
        Box::pin(async {})
    }

    fn release_lease(&self, _: LeaseHandle) -> CoordinatorFuture<'_, ()> {
        Box::pin(async {})
    }
}

#[tokio::test(start_paused = true)]
async fn liveness_reports_hung_refresher() {
    let fixture = build_refresher(
        &[test_source("a", &["p"], test_schedule())],
        Arc::new(responding_fetch()),
        None,
    );
    let liveness = &fixture.liveness;
    let stop = CancellationToken::new();
    let mut running = Box::pin(fixture.refresher.run(&stop));
    let run = tokio::time::timeout(Duration::from_secs(30), &mut running).await;
    assert!(run.is_err() && liveness.since_last_beat() <= Duration::from_secs(1));
    // The future is not polled, which looks like a refresher that hangs.
    sleep(Duration::from_secs(12)).await;
    assert!(liveness.since_last_beat() > Duration::from_secs(10));
    let run = tokio::time::timeout(Duration::from_secs(2), &mut running).await;
    assert!(run.is_err() && liveness.since_last_beat() <= Duration::from_secs(1));
}

#[test]
fn hung_refresher_fails_liveness_only() {
    // The stand has no refresher at all, which looks the same as one that hangs from the beginning.
    let stand = TestServer::start(
        default_server_settings(),
        &[test_source("a", &["p"], test_schedule())],
        responding_fetch(),
    );
    stand.publish_reading("a", "1");
    let clock = Clock::start();
    let begun = clock.time_point();
    let told = loop {
        let answer = stand.connect_client().get("/salud");
        if answer.status != 200 || clock.elapsed_since(begun) > Duration::from_secs(30) {
            break answer;
        }
        assert!(answer.text() == r#"{"status":"ok"}"#);
        std::thread::sleep(SHORT_DELAY);
    };
    assert!(
        clock.elapsed_since(begun) >= Duration::from_millis(9_500),
        "{:?}",
        clock.elapsed_since(begun)
    );
    assert_eq!(
        (told.status, told.json()["code"].as_str()),
        (503, Some("refresher_stuck"))
    );
    assert_eq!(
        stand.connect_client().get("/resumen").json()["resultados"]["a"]["ok"],
        true
    );
    assert_eq!(
        stand.connect_client().get("/resumen?fresh=1").json()["resultados"]["a"]["from"],
        "live"
    );
}

#[tokio::test(start_paused = true)]
async fn completion_panic_wakes_waiters() {
    let replicas = Arc::new(PanickingCoordinator::default());
    let coordinator: Arc<dyn ReplicaCoordinator> = Arc::<PanickingCoordinator>::clone(&replicas);
    let RefresherFixture {
        refresher,
        flights,
        cache,
        clock,
        ..
    } = build_refresher(
        &[test_source("a", &["p"], test_schedule())],
        Arc::new(responding_fetch()),
        Some(coordinator),
    );
    TaskTracker::new().spawn(async move { refresher.run(&CancellationToken::new()).await });
    let live = LiveFetcher::new(flights, Arc::clone(&cache), clock);
    let names = [crate::support::scripted_fetch::test_name("a")];
    let deadline = clock.deadline(Duration::from_secs(4));
    let result = live.fetch_sources(&names, Duration::ZERO, deadline).await;
    assert!(
        result.notes[0].late_source.is_none(),
        "the waiter was woken"
    );
    sleep(Duration::from_secs(60)).await;
    let plans = replicas.plans.load(Ordering::SeqCst);
    assert!(plans >= 3, "{plans}");
    assert!(cache.snapshot().source_states()[0].reading.is_some());
}

/// An overflow in jaq, which release builds do not look for.
#[cfg(debug_assertions)]
#[test]
fn filter_panic_fails_its_source_only() {
    let stub = FakeProvider::with_json(r#"{"n":1}"#);
    let text = format!(
        "[store]\npath = \"\"\n[defaults]\ninterval = \"2s\"\nmin_interval = \"1ms\"\n\
         [sources.bug]\nurl = \"{url}\"\nextract = '[2020, 127, 1, 0, 0, 0] | mktime'\n\
         [sources.fine]\nurl = \"{url}\"\n[derived.both]\nfrom = [\"bug\", \"fine\"]\n",
        url = stub.url()
    );
    let served = TestApp::start(&text);
    for _ in 0..5 {
        let answer = served.get_json("/resumen?fresh=1&timeout=10");
        let of = |source: &str| answer["resultados"][source]["code"].clone();
        assert_eq!(
            (of("bug").as_str(), of("fine").as_str()),
            (Some("panic"), None),
            "{answer:#}"
        );
        let error = answer["resultados"]["bug"]["error"].as_str().unwrap();
        assert!(
            error.starts_with("a bug in the filter's evaluation, contained"),
            "{error}"
        );
    }
    assert_eq!(served.get("/salud").status, 200);
    assert_eq!(
        served.get_json("/salud/fuentes")["checks"]["bug"][0]["status"],
        "fail"
    );
    assert_eq!(
        served.get_json("/resumen")["resultados"]["both"]["ok"],
        false
    );
}
