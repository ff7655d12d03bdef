//! Values of the response headers that depend on the content of a summary.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use http::HeaderValue;
use httpdate::fmt_http_date;

use crate::domain::{ClockShift, Code, Snapshot, Time};

use super::render_mode::{LiveSourceResult, RenderMode};
use super::summary_body::SummaryRow;
use super::version::SummaryVersion;

/// Values of the headers that tell the age of a single value.
#[derive(Debug, Clone)]
pub struct ValueDate {
    /// Value of `Age`: whole seconds (RFC 9111, section 5.1).
    pub age: HeaderValue,
    /// Value of `Last-Modified`: when the request for the value was sent.
    pub last_modified: HeaderValue,
}

/// Returns the age as of `as_of` of a value that was fetched at `fetched_at`.
pub(super) fn value_date(fetched_at: Time, as_of: Time, shift: ClockShift) -> ValueDate {
    let millis = shift.apply(fetched_at).as_millis().max(0).unsigned_abs();
    let date = UNIX_EPOCH + Duration::from_millis(millis);
    ValueDate {
        age: HeaderValue::from(as_of.since(fetched_at).as_secs()),
        last_modified: header_value(&fmt_http_date(date)),
    }
}

/// Returns the value of `ETag`: weak, because the encodings of one version differ (RFC 9110,
/// section 8.8.3).
pub(super) fn etag(version: SummaryVersion) -> HeaderValue {
    header_value(&format!("W/\"{version}\""))
}

/// Returns the value of `Cache-Status` (RFC 9211).
pub(super) fn cache_status(mode: &RenderMode<'_>, rows: &[SummaryRow<'_>]) -> HeaderValue {
    if let RenderMode::Live { is_collapsed, .. } = mode {
        return HeaderValue::from_static(if *is_collapsed {
            "resumen; fwd=request; collapsed"
        } else {
            "resumen; fwd=request"
        });
    }
    match rows.iter().filter_map(|row| row.view.remaining_ms).min() {
        // Rounded down, so the value is negative as soon as a source is stale.
        Some(remaining) => {
            header_value(&format!("resumen; hit; ttl={}", remaining.div_euclid(1000)))
        }
        None => HeaderValue::from_static("resumen; fwd=miss"),
    }
}

/// Returns the value of `CDN-Cache-Control` (RFC 9213), valid until the next planned attempt at a
/// source of the selection. `None` in live mode and if no source has a reading. `age` is the value of
/// the response's `Age`, or zero: a cache counts its lifetime from so long ago (RFC 9111, section 4.2.3).
pub(super) fn cdn_cache_control(
    mode: &RenderMode<'_>,
    snapshot: &Snapshot,
    selection: &[usize],
    rows: &[SummaryRow<'_>],
    as_of: Time,
    age: Duration,
) -> Option<HeaderValue> {
    let has_reading = rows.iter().any(|row| row.view.reading.is_some());
    if matches!(mode, RenderMode::Live { .. }) || !has_reading {
        return None;
    }
    let next = selection
        .iter()
        .filter_map(|position| snapshot.next_attempt(*position))
        .min();
    // At least 1 s: a cache that may keep nothing sends every request here while an attempt is due.
    let remaining = next.map_or(0, |next| next.since(as_of).as_secs()).max(1);
    let max_age = age.as_secs() + remaining;
    let if_error = rows
        .iter()
        .map(|row| row.source_state.source.freshness_policy.max_stale)
        .min()
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let text = format!(
        "public, max-age={max_age}, stale-while-revalidate={remaining}, stale-if-error={if_error}"
    );
    Some(header_value(&text))
}

/// Returns the value of `Server-Timing`: per source, the wait and the code of the failure. `None`
/// if the request waited for no flight.
pub(super) fn server_timing(
    snapshot: &Snapshot,
    selection: &[usize],
    source_results: &[LiveSourceResult],
) -> Option<HeaderValue> {
    let mut text = String::new();
    for (position, result) in selection.iter().zip(source_results) {
        let Some(waited) = result.wait_duration else {
            continue;
        };
        let comma = if text.is_empty() { "" } else { ", " };
        let millis = waited.as_secs_f64() * 1000.0;
        let _ = write!(
            text,
            "{comma}{};dur={millis:.1}",
            snapshot.source_states()[*position].source.name
        );
        if let Some(code) = failure_code(result) {
            let _ = write!(text, ";desc=\"{code}\"");
        }
    }
    (!text.is_empty()).then(|| header_value(&text))
}

fn failure_code(result: &LiveSourceResult) -> Option<Code> {
    if result.late_source.is_some() {
        Some(Code::Timeout)
    } else {
        result.failure_code
    }
}

/// Returns `text` as a header value. Every text here consists of names, numbers and literals, which
/// are valid.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
