//! A bug of ours stays where it is: in its flight, its task, its request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use resumen::aggregate::Cache;
use resumen::aggregate::{Flights, PreparedSource};
use resumen::aggregate::{LivenessBeat, Refresher};
use resumen::app::{AppCore, CoreDeps};
use resumen::domain::{Snapshot, Source, SourceSet};
use resumen::process::Clock;
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

fn core_deps(providers: Arc<ScriptedFetch>) -> CoreDeps {
    CoreDeps {
        fetch: providers,
        extractor: crate::support::scripted_fetch::test_extractor(),
        clock: Clock::start(),
        runtime: Handle::current(),
        tracker: TaskTracker::new(),
        stop: CancellationToken::new(),
        outcome_observer: Arc::new(|_| {}),
        state_file: None,
        shared_store: None,
    }
}

/// A refresher over flights that plan nothing: whatever it asks for, it asks for by itself.
fn start_refresher(sources: &[Arc<Source>], providers: Arc<ScriptedFetch>) -> Refresher {
    let gear = core_deps(providers);
    let landing = Arc::new(|_, _| None);
    let flights = Flights::new(
        gear.fetch,
        gear.extractor,
        gear.clock,
        landing,
        gear.runtime,
        gear.tracker,
        gear.stop,
        None,
    );
    let crews = sources.iter().filter_map(|source| {
        PreparedSource::new(source, &crate::support::scripted_fetch::test_extractor()).unwrap()
    });
    flights.replace_sources(crews.collect(), |_| None);
    let cache = Arc::new(Cache::new(
        Snapshot::new(Arc::new(SourceSet::new(sources.to_vec()))),
        Duration::from_secs(4),
    ));
    Refresher {
        flights,
        cache,
        clock: gear.clock,
        liveness: Arc::new(LivenessBeat::new(gear.clock)),
    }
}

#[tokio::test(start_paused = true)]
async fn liveness_reports_hung_refresher() {
    let refresher = start_refresher(
        &[test_source("a", &["p"], test_schedule())],
        Arc::new(responding_fetch()),
    );
    let (_orders, mut inbox) = unbounded_channel();
    let stop = CancellationToken::new();
    let mut running = Box::pin(refresher.run(&mut inbox, &stop));
    let run = tokio::time::timeout(Duration::from_secs(30), &mut running).await;
    assert!(run.is_err() && refresher.liveness.since_last_beat() <= Duration::from_secs(1));
    // Nobody polls it: it hangs.
    sleep(Duration::from_secs(12)).await;
    assert!(refresher.liveness.since_last_beat() > Duration::from_secs(10));
    let run = tokio::time::timeout(Duration::from_secs(2), &mut running).await;
    assert!(run.is_err() && refresher.liveness.since_last_beat() <= Duration::from_secs(1));
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
    let providers = Arc::new(responding_fetch());
    let bugs = Arc::new(AtomicUsize::new(0));
    let planted = Arc::clone(&bugs);
    let witness =
        Arc::new(move |_: &_| assert!(planted.fetch_add(1, Ordering::SeqCst) > 0, "planted"));
    let gear = CoreDeps {
        outcome_observer: witness,
        ..core_deps(Arc::clone(&providers))
    };
    let engine = AppCore::start(
        gear,
        &[test_source("a", &["p"], test_schedule())],
        Duration::from_secs(4),
    )
    .unwrap();
    let names = [crate::support::scripted_fetch::test_name("a")];
    let waiting = engine.live.fetch_sources(
        &names,
        Duration::ZERO,
        engine.clock.deadline(Duration::from_secs(4)),
    );
    assert!(
        waiting.await.notes[0].late_source.is_none(),
        "the waiter was woken"
    );
    sleep(Duration::from_secs(60)).await;
    assert!(bugs.load(Ordering::SeqCst) >= 3, "{bugs:?}");
    assert!(engine.cache.snapshot().source_states()[0].reading.is_some());
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
        assert!(error.starts_with("a bug of ours, contained"), "{error}");
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
