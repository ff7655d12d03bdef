//! A reload while flights are in the air, under paused time: what stays the same does not notice, what nobody will want
//! any more ends.

use std::sync::Arc;
use std::time::Duration;

use resumen::domain::{Code, Kind, Pace, Source};
use tokio::time::{Instant, sleep};

use crate::support::scripted::{Act, Rig, Scripted, pace, provider, source};

const MOMENT: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(4);

/// The source under another filter.
fn refiltered(old: &Source) -> Arc<Source> {
    let Kind::Fetched { pace, .. } = &old.kind else {
        panic!("not fetched")
    };
    let mut new = provider(old.providers()[0].name.as_str());
    new.extract = ".x".into();
    let kind = Kind::Fetched {
        providers: vec![new],
        pace: *pace,
    };
    Arc::new(Source {
        kind,
        ..old.clone()
    })
}

/// `a` by `p`, whose first answer never comes, and `b` by `q`, which answers.
fn rig(sources: &[Arc<Source>]) -> Rig {
    let providers = Scripted::default();
    providers.script("p", |n| {
        if n == 0 {
            Act::Silent
        } else {
            Act::Fail(Code::NotJson, MOMENT)
        }
    });
    providers.script("q", |_| Act::Answer("1", MOMENT));
    Rig::start(sources, providers)
}

fn both() -> [Arc<Source>; 2] {
    [source("a", &["p"], pace()), source("b", &["q"], pace())]
}

#[tokio::test(start_paused = true)]
async fn a_flight_under_an_old_filter_ends_and_the_new_one_is_tried_at_once() {
    let [a, b] = both();
    let rig = rig(&[Arc::clone(&a), Arc::clone(&b)]);
    sleep(MOMENT * 5).await;
    let begun = rig.providers.calls("p")[0];
    let waiter = rig.live(&["a"], TIMEOUT);
    let reload = async {
        sleep(MOMENT).await;
        rig.engine.adopt(&[refiltered(&a), b], TIMEOUT).unwrap();
    };
    let (answer, ()) = tokio::join!(waiter, reload);
    assert_eq!(
        answer["resultados"]["a"]["code"], "pending",
        "whoever waited for the old one need not any more"
    );
    assert_eq!(rig.providers.cancelled(), ["p"]);
    sleep(Duration::from_secs(1)).await;
    let calls = rig.providers.calls("p");
    assert_eq!(
        (calls.len(), calls[1] - begun),
        (2, pace().min_interval),
        "as soon as it may"
    );
    assert_eq!(rig.now()["resultados"]["a"]["code"], "not_json");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_stays_the_same_keeps_its_flight_its_reading_and_its_plan() {
    let [a, b] = both();
    let rig = rig(&[Arc::clone(&a), Arc::clone(&b)]);
    sleep(MOMENT * 5).await;
    let before = rig.now()["resultados"]["b"].clone();
    let planned = rig.engine.cache.snapshot().next_attempt(1);
    for _ in 0..20 {
        rig.engine
            .adopt(&[Arc::clone(&a), Arc::clone(&b)], TIMEOUT)
            .unwrap();
        sleep(MOMENT).await;
    }
    assert_eq!(rig.engine.cache.snapshot().next_attempt(1), planned);
    assert_eq!(
        rig.now()["resultados"]["b"]["fetched_at"],
        before["fetched_at"]
    );
    assert_eq!(
        (
            rig.providers.calls("p").len(),
            rig.providers.calls("q").len()
        ),
        (1, 1)
    );
    sleep(Duration::from_secs(2)).await;
    assert_eq!(
        rig.now()["resultados"]["a"]["code"],
        "timeout",
        "its flight landed"
    );
    assert!(rig.providers.cancelled().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_gone_is_not_asked_any_more() {
    let [a, b] = both();
    let rig = rig(&[a, Arc::clone(&b)]);
    sleep(MOMENT * 5).await;
    rig.engine.adopt(&[b], TIMEOUT).unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.providers.cancelled(), ["p"]);
    assert_eq!(rig.providers.calls("p").len(), 1);
    assert!(rig.now()["resultados"].get("a").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_shorter_interval_counts_from_the_latest_attempt() {
    let slow = Pace {
        interval: Duration::from_secs(600),
        ..pace()
    };
    let providers = Scripted::default();
    providers.script("q", |_| Act::Answer("1", MOMENT));
    let rig = Rig::start(&[source("b", &["q"], slow)], providers);
    sleep(Duration::from_secs(10)).await;
    rig.engine
        .adopt(&[source("b", &["q"], pace())], TIMEOUT)
        .unwrap();
    sleep(Duration::from_secs(10)).await;
    let calls: Vec<Instant> = rig.providers.calls("q");
    assert_eq!((calls[1] - calls[0]).as_secs(), 15);
    assert_eq!(calls.len(), 2);
}
