//! A panic affects only its flight, its task or its request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use resumen::aggregate::{Cache, Flights, LivenessBeat, PreparedSource, Refresher};
use resumen::app::{AppCore, CoreDeps};
use resumen::domain::{Snapshot, Source, SourceSet};
use resumen::extract::Extractor;
use resumen::process::Clock;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

#[cfg(debug_assertions)]
use crate::support::fake_provider::FakeProvider;
use crate::support::scripted_fetch::{
    ScriptedAction, ScriptedFetch, core_deps, test_name, test_schedule, test_source,
};
#[cfg(debug_assertions)]
use crate::support::test_app::TestApp;
use crate::support::test_server::{TestServer, default_server_settings};

const SHORT_DELAY: Duration = Duration::from_millis(100);

fn responding_fetch() -> ScriptedFetch {
    let providers = ScriptedFetch::default();
    providers.set_script("p", |_| ScriptedAction::Respond("1", SHORT_DELAY));
    providers
}

/// A refresher over flights that schedule no next attempt.
fn start_refresher(sources: &[Arc<Source>], fetch: ScriptedFetch) -> Refresher {
    let (deps, _) = core_deps(fetch);
    let on_complete = Arc::new(|_, _| None);
    let flights = Flights::new(
        deps.fetch,
        deps.extractor,
        deps.clock,
        on_complete,
        deps.runtime,
        deps.tracker,
        deps.stop,
        None,
    );
    let prepared = sources
        .iter()
        .filter_map(|source| PreparedSource::new(source, &Extractor::default()).unwrap());
    flights.replace_sources(prepared.collect(), |_| None);
    let cache = Arc::new(Cache::new(
        Snapshot::new(Arc::new(SourceSet::new(sources.to_vec()))),
        Duration::from_secs(4),
    ));
    Refresher {
        flights,
        cache,
        clock: deps.clock,
        liveness: Arc::new(LivenessBeat::new(deps.clock)),
    }
}

#[tokio::test(start_paused = true)]
async fn liveness_reports_hung_refresher() {
    let refresher = start_refresher(
        &[test_source("a", &["p"], test_schedule())],
        responding_fetch(),
    );
    let (_sender, mut inbox) = unbounded_channel();
    let stop = CancellationToken::new();
    let mut running = Box::pin(refresher.run(&mut inbox, &stop));
    let run = tokio::time::timeout(Duration::from_secs(30), &mut running).await;
    assert!(run.is_err() && refresher.liveness.since_last_beat() <= Duration::from_secs(1));
    // Without a poll the refresher hangs.
    sleep(Duration::from_secs(12)).await;
    assert!(refresher.liveness.since_last_beat() > Duration::from_secs(10));
    let run = tokio::time::timeout(Duration::from_secs(2), &mut running).await;
    assert!(run.is_err() && refresher.liveness.since_last_beat() <= Duration::from_secs(1));
}

#[test]
fn hung_refresher_fails_liveness_only() {
    // The test server has no refresher, which looks like one that hangs.
    let server = TestServer::start(
        default_server_settings(),
        &[test_source("a", &["p"], test_schedule())],
        responding_fetch(),
    );
    server.publish_reading("a", "1");
    let clock = Clock::start();
    let start = clock.time_point();
    let failure = loop {
        let response = server.connect_client().get("/salud");
        if response.status != 200 || clock.elapsed_since(start) > Duration::from_secs(30) {
            break response;
        }
        assert!(response.text() == r#"{"status":"ok"}"#);
        std::thread::sleep(SHORT_DELAY);
    };
    assert!(
        clock.elapsed_since(start) >= Duration::from_millis(9_500),
        "{:?}",
        clock.elapsed_since(start)
    );
    assert_eq!(
        (failure.status, failure.json()["code"].as_str()),
        (503, Some("refresher_stuck"))
    );
    assert_eq!(
        server.connect_client().get("/resumen").json()["resultados"]["a"]["ok"],
        true
    );
    assert_eq!(
        server.connect_client().get("/resumen?fresh=1").json()["resultados"]["a"]["from"],
        "live"
    );
}

#[tokio::test(start_paused = true)]
async fn completion_panic_wakes_waiters() {
    let completions = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&completions);
    let observer =
        Arc::new(move |_: &_| assert!(counter.fetch_add(1, Ordering::SeqCst) > 0, "first call"));
    let deps = CoreDeps {
        outcome_observer: observer,
        ..core_deps(responding_fetch()).0
    };
    let core = AppCore::start(
        deps,
        &[test_source("a", &["p"], test_schedule())],
        Duration::from_secs(4),
    )
    .unwrap();
    let names = [test_name("a")];
    let waiting = core.live.fetch_sources(
        &names,
        Duration::ZERO,
        core.clock.deadline(Duration::from_secs(4)),
    );
    assert!(
        waiting.await.notes[0].late_source.is_none(),
        "the waiter was woken"
    );
    sleep(Duration::from_secs(60)).await;
    assert!(completions.load(Ordering::SeqCst) >= 3, "{completions:?}");
    assert!(core.cache.snapshot().source_states()[0].reading.is_some());
}

/// The filter overflows in jaq, which only debug builds detect.
#[cfg(debug_assertions)]
#[test]
fn filter_panic_fails_its_source_only() {
    let provider = FakeProvider::with_json(r#"{"n":1}"#);
    let text = format!(
        "[store]\npath = \"\"\n[defaults]\ninterval = \"2s\"\nmin_interval = \"1ms\"\n\
         [sources.bug]\nurl = \"{url}\"\nextract = '[2020, 127, 1, 0, 0, 0] | mktime'\n\
         [sources.fine]\nurl = \"{url}\"\n[derived.both]\nfrom = [\"bug\", \"fine\"]\n",
        url = provider.url()
    );
    let app = TestApp::start(&text);
    for _ in 0..5 {
        let response = app.get_json("/resumen?fresh=1&timeout=10");
        let code_of = |source: &str| response["resultados"][source]["code"].clone();
        assert_eq!(
            (code_of("bug").as_str(), code_of("fine").as_str()),
            (Some("panic"), None),
            "{response:#}"
        );
        let error = response["resultados"]["bug"]["error"].as_str().unwrap();
        assert!(error.starts_with("a bug of ours, contained"), "{error}");
    }
    assert_eq!(app.get("/salud").status, 200);
    assert_eq!(
        app.get_json("/salud/fuentes")["checks"]["bug"][0]["status"],
        "fail"
    );
    assert_eq!(app.get_json("/resumen")["resultados"]["both"]["ok"], false);
}
