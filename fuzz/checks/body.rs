//! A body on its way through the filter `.`: what comes out is JSON that means the same, and what is refused is none,
//! or says nothing, or is too deep.

use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use resumen::domain::{Code, Failure, JsonData, Name};
use resumen::extract::{Extractor, Filter, MAX_DEPTH, find_excess_depth};
use resumen::process::Clock;
use serde_json::Value;

static EXTRACTOR: LazyLock<(Extractor, Filter, Name)> = LazyLock::new(|| {
    let (filter, name) = (
        Filter::compile(".").expect("a filter"),
        Name::new("fuzz").expect("a name"),
    );
    (
        Extractor::new("no-worker".into(), Default::default()),
        filter,
        name,
    )
});

/// Bodies of this size are handled in place, so the future is ready at once.
fn extract(body: &[u8]) -> Result<JsonData, Failure> {
    let (extractor, filter, name) = &*EXTRACTOR;
    let by = Clock::start().deadline(Duration::from_secs(1));
    let future = pin!(extractor.extract(name, filter, Bytes::copy_from_slice(body), by));
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("not in place"),
    }
}

/// Panics if anything is wrong with these bytes.
pub fn check(body: &[u8]) {
    if body.len() > 16 << 10 {
        return;
    }
    let json = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let judge = serde_json::from_slice::<Value>(json);
    match (extract(body), judge) {
        (Ok(data), Ok(judge)) => {
            let again: Value = serde_json::from_str(data.as_json()).expect("JSON");
            assert_eq!(again, judge);
            assert!(!data.as_json().contains(['\n', '\r']));
        }
        // Half a surrogate pair is JSON by its grammar; it comes out as U+FFFD.
        (Ok(data), Err(_)) => assert!(data.as_json().contains('\u{FFFD}')),
        (Err(failure), Ok(judge)) => match failure.code {
            Code::ExtractFailed => {
                let nulls = judge
                    .as_object()
                    .is_some_and(|o| !o.is_empty() && o.values().all(Value::is_null));
                assert!(judge.is_null() || nulls, "{failure}");
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
