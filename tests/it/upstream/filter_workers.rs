//! Filters in worker processes: those that never end, exhaust memory or overflow the stack end their worker only.

use std::time::Duration;

use bytes::Bytes;
use resumen::domain::{Code, Failure, Name, Redactor};
use resumen::extract::{Extractor, Filter};
use resumen::process::Clock;
use tokio_util::task::TaskTracker;

use crate::support::scripted_fetch::{test_extractor, test_name};

async fn extract_for(
    extractor: &Extractor,
    source: &Name,
    filter: &str,
    body: impl Into<Bytes>,
    limit: Duration,
) -> Result<String, Failure> {
    let filter = Filter::compile(filter).unwrap();
    let deadline = Clock::start().deadline(limit);
    let data = extractor
        .extract(source, &filter, body.into(), deadline)
        .await?;
    Ok(data.as_json().to_owned())
}

async fn extract(extractor: &Extractor, filter: &str, body: &str) -> Result<String, Failure> {
    let (source, body) = (test_name("a"), Bytes::copy_from_slice(body.as_bytes()));
    extract_for(extractor, &source, filter, body, Duration::from_secs(20)).await
}

/// What each filter ends with in a worker, and a part of the message.
const HOSTILE_FILTERS: &[(&str, Code, &str)] = &[
    (
        "def f: 1 + f; f",
        Code::ExtractFailed,
        "recurses without end",
    ),
    ("def f: [f]; f", Code::ExtractFailed, ""),
    (
        "def f: f; f",
        Code::ExtractTimeout,
        "within the attempt's 1 s",
    ),
    ("last(repeat(.))", Code::ExtractTimeout, "did not end"),
    (
        "reduce range(1e9) as $i (0; . + 1)",
        Code::ExtractTimeout,
        "did not end",
    ),
    ("[range(1e9)]", Code::ExtractFailed, "MiB of memory"),
    ("\"a\" * 1000000000", Code::ExtractFailed, "MiB of memory"),
    (
        "[limit(1e7; repeat(.))] | length",
        Code::ExtractFailed,
        "MiB of memory",
    ),
    (
        "[1,1] | map(reduce range(40) as $i (.; [., .])) | .[0] == .[1]",
        Code::ExtractTimeout,
        "",
    ),
    ("reduce range(1e6) as $i (.; [.])", Code::ExtractFailed, ""),
    (
        "error(\"boo\")",
        Code::ExtractFailed,
        "the filter's error: boo",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_filter_ends_its_worker_only() {
    let extractor = test_extractor();
    for (filter, code, part) in HOSTILE_FILTERS {
        let source = test_name("bad");
        let began = Clock::start().instant();
        let limit = Duration::from_secs(1);
        let failure = extract_for(&extractor, &source, filter, "[1]", limit)
            .await
            .unwrap_err();
        // A debug build on a busy machine may need the whole second to use up the memory.
        let timed_out = failure.code == Code::ExtractTimeout;
        assert!(failure.code == *code || timed_out, "{filter}: {failure}");
        assert!(
            timed_out || failure.message.contains(part),
            "{filter}: {failure}"
        );
        assert!(
            began.elapsed() < limit + Duration::from_millis(500),
            "{filter}"
        );
        assert_eq!(
            extract(&extractor, "{usd}", r#"{"usd": 97123.450}"#)
                .await
                .unwrap(),
            r#"{"usd":97123.450}"#
        );
    }
}

#[tokio::test]
async fn dropped_evaluation_kills_its_worker() {
    let extractor = test_extractor();
    let source = test_name("a");
    let endless = extract_for(
        &extractor,
        &source,
        "def f: f; f",
        "1",
        Duration::from_secs(99),
    );
    assert!(
        tokio::time::timeout(Duration::from_millis(200), endless)
            .await
            .is_err()
    );
    assert_eq!(extract(&extractor, ". + 1", "1").await.unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_filters_do_not_delay_others() {
    let extractor = test_extractor();
    let sources: Vec<Name> = ["x", "y", "z"].into_iter().map(test_name).collect();
    let endless = |source: &Name, rounds| {
        let (extractor, source) = (extractor.clone(), source.clone());
        TaskTracker::new().spawn(async move {
            for _ in 0..rounds {
                let limit = Duration::from_secs(1);
                extract_for(&extractor, &source, "def f: f; f", "1", limit)
                    .await
                    .unwrap_err();
            }
        })
    };
    // The first round fills the workers; from the second on these sources share the slow one.
    for first in sources
        .iter()
        .map(|source| endless(source, 1))
        .collect::<Vec<_>>()
    {
        first.await.unwrap();
    }
    let running: Vec<_> = sources.iter().map(|source| endless(source, 2)).collect();
    let began = Clock::start().instant();
    for _ in 0..20 {
        extract(&extractor, ". + 1", "1").await.unwrap();
    }
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    for task in running {
        task.await.unwrap();
    }
}

/// Evaluations that run for long make way already in their first round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_endless_filters_make_way() {
    let extractor = test_extractor();
    let running: Vec<_> = ["u", "v", "w", "x", "y"]
        .into_iter()
        .map(|name| {
            let (extractor, source) = (extractor.clone(), test_name(name));
            TaskTracker::new().spawn(async move {
                let limit = Duration::from_secs(8);
                extract_for(&extractor, &source, "def f: f; f", "1", limit).await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Clock::start().instant();
    assert_eq!(extract(&extractor, ". + 1", "1").await.unwrap(), "2");
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    for task in running {
        let failure = task.await.unwrap().unwrap_err();
        assert_eq!(failure.code, Code::ExtractTimeout);
    }
}

#[tokio::test]
async fn missing_program_fails_the_check() {
    let extractor = Extractor::new("/no/such/program".into(), Redactor::default());
    let deadline = Clock::start().deadline(Duration::from_secs(5));
    let failure = extractor.check_workers(deadline).await.unwrap_err();
    assert_eq!(failure.code, Code::ExtractFailed);
    assert!(
        failure.message.contains("no process for the filter"),
        "{failure}"
    );
    test_extractor().check_workers(deadline).await.unwrap();
}

/// One body of the default limit's size takes 161 MB in jaq: the evaluation fails or succeeds, the next one works.
#[tokio::test]
async fn many_small_objects_stay_within_the_limit() {
    let extractor = test_extractor();
    let body = format!("[{}{{}}]", "{},".repeat(349_000));
    let source = test_name("a");
    let limit = Duration::from_secs(20);
    let result = extract_for(&extractor, &source, "map(. + {b: 1}) | length", body, limit).await;
    let failure = result.unwrap_err();
    assert!(failure.message.contains("MiB of memory"), "{failure}");
    assert_eq!(extract(&extractor, "length", "[1,2]").await.unwrap(), "2");
}

#[tokio::test]
async fn all_of_jq_is_available() {
    let extractor = test_extractor();
    for (filter, body, expected) in [
        ("def double: . * 2; map(double)", "[1,2.5]", "[2,5]"),
        ("def f($a; g): $a + g; f(1; 2)", "null", "3"),
        ("[limit(3; repeat(1))]", "null", "[null,1,1]"),
        (
            "[label $out | foreach .[] as $x (0; . + $x; if . > 3 then ., break $out else . end)]",
            "[1,2,3,4]",
            "[1,3,6]",
        ),
        (
            ".[0] | @csv",
            r#"[[1,"a \"b\"",null]]"#,
            r#""1,\"a \"\"b\"\"\",""#,
        ),
        (".[0] | @tsv", r#"[["a\tb",2]]"#, r#""a\\tb\t2""#),
        (
            "[tostream]",
            r#"{"a":[1]}"#,
            r#"[[["a",0],1],[["a",0]],[["a"]]]"#,
        ),
        (
            "fromstream(1 | truncate_stream([[0],1],[[1,0],2],[[1,0]],[[1]]))",
            "null",
            "[2]",
        ),
        ("join(\" \")", r#"["Ana",null,"Ruiz"]"#, r#""Ana  Ruiz""#),
    ] {
        let result = extract(&extractor, filter, body).await;
        assert_eq!(result.as_deref(), Ok(expected), "{filter}");
    }
}
