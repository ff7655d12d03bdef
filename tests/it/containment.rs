//! A bug of ours stays where it is: in its flight, its task, its request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use resumen::app::{Engine, Gear};
use resumen::cache::Cache;
use resumen::clock::Clock;
use resumen::domain::{Roster, Snapshot, Source};
use resumen::extract::Extractor;
use resumen::flight::{Crew, Flights};
use resumen::refresh::{Pulse, Refresher};
use tokio::runtime::Handle;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::scripted::{Act, Scripted, pace, source};
#[cfg(debug_assertions)]
use crate::support::served::Served;
use crate::support::stand::{Stand, settings};
#[cfg(debug_assertions)]
use crate::support::stub::Stub;

const MOMENT: Duration = Duration::from_millis(100);

fn answering() -> Scripted {
    let providers = Scripted::default();
    providers.script("p", |_| Act::Answer("1", MOMENT));
    providers
}

fn gear(providers: Arc<Scripted>) -> Gear<Scripted> {
    Gear {
        fetch: providers,
        extractor: Extractor::default(),
        clock: Clock::start(),
        runtime: Handle::current(),
        tracker: TaskTracker::new(),
        stop: CancellationToken::new(),
        witness: Arc::new(|_| {}),
        state: None,
        shared: None,
    }
}

/// A refresher over flights that plan nothing: whatever it asks for, it asks for by itself.
fn refresher(sources: &[Arc<Source>], providers: Arc<Scripted>) -> Refresher<Scripted> {
    let gear = gear(providers);
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
    let crews = sources
        .iter()
        .filter_map(|source| Crew::new(source, &Extractor::default()).unwrap());
    flights.adopt(crews.collect(), |_| None);
    let cache = Arc::new(Cache::new(
        Snapshot::new(Arc::new(Roster::new(sources.to_vec()))),
        Duration::from_secs(4),
    ));
    Refresher {
        flights,
        cache,
        clock: gear.clock,
        pulse: Arc::new(Pulse::new(gear.clock)),
    }
}

#[tokio::test(start_paused = true)]
async fn the_pulse_tells_a_refresher_that_hangs_and_one_that_came_back() {
    let refresher = refresher(&[source("a", &["p"], pace())], Arc::new(answering()));
    let (_orders, mut inbox) = unbounded_channel();
    let stop = CancellationToken::new();
    let mut running = Box::pin(refresher.run(&mut inbox, &stop));
    let run = tokio::time::timeout(Duration::from_secs(30), &mut running).await;
    assert!(run.is_err() && refresher.pulse.silence() <= Duration::from_secs(1));
    // Nobody polls it: it hangs.
    sleep(Duration::from_secs(12)).await;
    assert!(refresher.pulse.silence() > Duration::from_secs(10));
    let run = tokio::time::timeout(Duration::from_secs(2), &mut running).await;
    assert!(run.is_err() && refresher.pulse.silence() <= Duration::from_secs(1));
}

#[test]
fn a_refresher_that_hangs_for_ten_seconds_is_told_by_salud_while_readers_notice_nothing() {
    // The stand has no refresher at all, which looks the same as one that hangs from the beginning.
    let stand = Stand::start(settings(), &[source("a", &["p"], pace())], answering());
    stand.reading("a", "1");
    let clock = Clock::start();
    let begun = clock.mark();
    let told = loop {
        let answer = stand.client().get("/salud");
        if answer.status != 200 || clock.since(begun) > Duration::from_secs(30) {
            break answer;
        }
        assert!(answer.text() == r#"{"status":"ok"}"#);
        std::thread::sleep(MOMENT);
    };
    assert!(
        clock.since(begun) >= Duration::from_millis(9_500),
        "{:?}",
        clock.since(begun)
    );
    assert_eq!(
        (told.status, told.json()["code"].as_str()),
        (503, Some("refresher_stuck"))
    );
    assert_eq!(
        stand.client().get("/resumen").json()["resultados"]["a"]["ok"],
        true
    );
    assert_eq!(
        stand.client().get("/resumen?fresh=1").json()["resultados"]["a"]["from"],
        "live"
    );
}

#[tokio::test(start_paused = true)]
async fn a_bug_as_a_flight_lands_hangs_nobody_and_its_source_is_asked_again() {
    let providers = Arc::new(answering());
    let bugs = Arc::new(AtomicUsize::new(0));
    let planted = Arc::clone(&bugs);
    let witness =
        Arc::new(move |_: &_| assert!(planted.fetch_add(1, Ordering::SeqCst) > 0, "planted"));
    let gear = Gear {
        witness,
        ..gear(Arc::clone(&providers))
    };
    let engine =
        Engine::start(gear, &[source("a", &["p"], pace())], Duration::from_secs(4)).unwrap();
    let names = [crate::support::scripted::name("a")];
    let waiting = engine.live.gather(
        &names,
        Duration::ZERO,
        engine.clock.deadline(Duration::from_secs(4)),
    );
    assert!(
        waiting.await.notes[0].late.is_none(),
        "the waiter was woken"
    );
    sleep(Duration::from_secs(60)).await;
    assert!(bugs.load(Ordering::SeqCst) >= 3, "{bugs:?}");
    assert!(engine.cache.snapshot().entries()[0].reading.is_some());
}

/// An overflow in jaq, which release builds do not look for.
#[cfg(debug_assertions)]
#[test]
fn a_bug_in_a_filter_is_its_sources_failure_and_nobody_elses() {
    let stub = Stub::json(r#"{"n":1}"#);
    let text = format!(
        "[store]\npath = \"\"\n[defaults]\ninterval = \"2s\"\nmin_interval = \"1ms\"\n\
         [sources.bug]\nurl = \"{url}\"\nextract = '[2020, 127, 1, 0, 0, 0] | mktime'\n\
         [sources.fine]\nurl = \"{url}\"\n[derived.both]\nfrom = [\"bug\", \"fine\"]\n",
        url = stub.url()
    );
    let served = Served::start(&text);
    for _ in 0..5 {
        let answer = served.json("/resumen?fresh=1&timeout=10");
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
        served.json("/salud/fuentes")["checks"]["bug"][0]["status"],
        "fail"
    );
    assert_eq!(served.json("/resumen")["resultados"]["both"]["ok"], false);
}
