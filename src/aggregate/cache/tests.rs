//! Tests of the cache.

use super::*;
use crate::domain::{FreshnessPolicy, Source, SourceKind};

const NOW: Time = Time::from_millis(1_795_330_510_000);

fn cache_with_sources(names: &[&str]) -> (Cache, Vec<Name>) {
    let names: Vec<_> = names.iter().map(|text| Name::new(text).unwrap()).collect();
    let source = |name: &Name| {
        Arc::new(Source {
            name: name.clone(),
            kind: SourceKind::Derived {
                inputs: Vec::new(),
                extract: ".".into(),
            },
            freshness_policy: FreshnessPolicy {
                ttl: Duration::ZERO,
                max_stale: Duration::ZERO,
            },
            attribution: None,
            appearance: Arc::default(),
            metrics: Arc::default(),
        })
    };
    let source_set = Arc::new(SourceSet::new(names.iter().map(source).collect()));
    let cache = Cache::new(
        Snapshot::new(source_set),
        Duration::from_secs(4),
        SendBudget::new(None),
    );
    (cache, names)
}

fn select(names: &[Name], timeout: Option<Duration>) -> Selection {
    Selection {
        names: Some(names.to_vec()),
        timeout,
        form: BodyForm::Summary,
    }
}

#[test]
fn valid_selection_is_reused() {
    let (cache, names) = cache_with_sources(&["a", "b"]);
    let render =
        |names: &[Name], timeout, now| cache.selected_rendering(&select(names, timeout), now);
    let first = render(&names[..1], None, NOW);
    let same = render(&names[..1], None, first.valid_until);
    assert!(Arc::ptr_eq(&first, &same));
    let expired = first.valid_until.plus(Duration::from_millis(1));
    let next = render(&names[..1], None, expired);
    assert!(!Arc::ptr_eq(&first, &next));
    assert_ne!(first.version, render(&names[1..], None, NOW).version);
    let long = render(&names[..1], Some(Duration::from_secs(9)), NOW);
    assert!(!Arc::ptr_eq(&first, &long) && first.body != long.body);
}

#[test]
fn default_selection_is_current_rendering() {
    let (cache, _) = cache_with_sources(&["a", "b"]);
    for timeout in [None, Some(Duration::from_secs(4))] {
        let selection = Selection {
            timeout,
            ..Selection::default()
        };
        assert!(Arc::ptr_eq(
            &cache.current_rendering(NOW),
            &cache.selected_rendering(&selection, NOW)
        ));
    }
}

#[test]
fn publishing_clears_selections() {
    let (cache, names) = cache_with_sources(&["a", "b"]);
    let before = cache.selected_rendering(&select(&names[..1], None), NOW);
    cache.merge_restored(Vec::new());
    assert!(!Arc::ptr_eq(
        &before,
        &cache.selected_rendering(&select(&names[..1], None), NOW)
    ));
}

#[test]
fn large_summary_is_not_quick() {
    let (cache, names) = cache_with_sources(&["a", "b"]);
    let is_quick = |selection: Selection| cache.quick_rendering(&selection, NOW).is_some();
    assert!(is_quick(Selection::default()));
    let data = JsonData::from_checked(format!("\"{}\"", "x".repeat(LARGE_BODY_BYTES)));
    let computation = DerivedComputation {
        identity: cache.snapshot().source_set().identity(0),
        input_versions: Vec::new(),
        computed_at: NOW,
        duration: Duration::ZERO,
        result: Ok(data),
    };
    cache.publish_derived(&names[0], &computation);
    assert!(!is_quick(Selection::default()) && is_quick(select(&names[1..], None)));
    for form in [
        BodyForm::Flat,
        BodyForm::Value {
            path: Vec::new(),
            is_json: false,
        },
    ] {
        let names = Some(names[..1].to_vec());
        assert!(!is_quick(Selection {
            names,
            form,
            timeout: None
        }));
    }
    let rendering = cache.selected_rendering(&select(&names[..1], None), NOW);
    let quick = cache
        .quick_rendering(&select(&names[..1], None), NOW)
        .unwrap();
    assert!(
        Arc::ptr_eq(&rendering, &quick),
        "a valid rendering costs nothing"
    );
}
