//! A body through the filter `.`: an accepted body gives JSON with the same meaning; a rejected one
//! is not JSON, has no data, or is nested too deeply.

use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use resumen::domain::{Code, Failure, JsonData, Name, Redactor};
use resumen::extract::{Extractor, Filter, MAX_DEPTH, find_excess_depth};
use resumen::process::Clock;
use serde_json::Value;

static EXTRACTOR: LazyLock<(Extractor, Filter, Name)> = LazyLock::new(|| {
    let (filter, name) = (
        Filter::compile(".").expect("a filter"),
        Name::new("fuzz").expect("a name"),
    );
    (
        Extractor::new("no-worker".into(), Redactor::default()),
        filter,
        name,
    )
});

/// Extracts `body`. The identity filter runs inline on bodies of this size, so the future is ready
/// at the first poll.
fn extract(body: &[u8]) -> Result<JsonData, Failure> {
    let (extractor, filter, name) = &*EXTRACTOR;
    let deadline = Clock::start().deadline(Duration::from_secs(1));
    let future = pin!(extractor.extract(name, filter, Bytes::copy_from_slice(body), deadline));
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("not inline"),
    }
}

/// Panics if the result for `body` is wrong.
pub fn check(body: &[u8]) {
    if body.len() > 16 << 10 {
        return;
    }
    let json = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let oracle = serde_json::from_slice::<Value>(json);
    match (extract(body), oracle) {
        (Ok(data), Ok(expected)) => {
            let parsed: Value = serde_json::from_str(data.as_json()).expect("JSON");
            assert_eq!(parsed, expected);
            assert!(!data.as_json().contains(['\n', '\r']));
        }
        // serde_json rejects a lone surrogate, which the grammar allows; the reader replaces it by
        // U+FFFD.
        (Ok(data), Err(_)) => assert!(data.as_json().contains('\u{FFFD}')),
        (Err(failure), Ok(value)) => match failure.code {
            Code::ExtractFailed => {
                let nulls = value
                    .as_object()
                    .is_some_and(|o| !o.is_empty() && o.values().all(Value::is_null));
                assert!(value.is_null() || nulls, "{failure}");
            }
            Code::JsonTooDeep => assert!(find_excess_depth(json, MAX_DEPTH).is_some()),
            _ => panic!("{failure}"),
        },
        (Err(failure), Err(_)) => {
            assert!(
                [Code::NotJson, Code::EmptyBody, Code::JsonTooDeep].contains(&failure.code),
                "{failure}"
            );
            assert!(!failure.message.contains(['\n', '\r']));
        }
    }
}
