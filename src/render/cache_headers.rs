//! The header values that depend on what an answer holds.

use std::fmt::Write;
use std::time::Duration;

use http::HeaderValue;

use crate::domain::{Snapshot, Time};

use super::live_note::LiveSourceResult;
use super::rendering::RenderMode;
use super::summary_body::SummaryRow;
use super::version::SummaryVersion;

/// `ETag`: weak, since encodings of the same version differ (RFC 9110 §8.8.3).
pub(crate) fn etag(version: SummaryVersion) -> HeaderValue {
    header_value(&format!("W/\"{version}\""))
}

/// `Cache-Status` (RFC 9211).
pub(crate) fn cache_status(mode: &RenderMode<'_>, rows: &[SummaryRow<'_>]) -> HeaderValue {
    if let RenderMode::Live {
        is_collapsed: collapsed,
        ..
    } = mode
    {
        return HeaderValue::from_static(match collapsed {
            true => "resumen; fwd=request; collapsed",
            false => "resumen; fwd=request",
        });
    }
    match rows.iter().filter_map(|row| row.view.remaining_ms).min() {
        Some(left) => header_value(&format!("resumen; hit; ttl={}", left.div_euclid(1000))),
        None => HeaderValue::from_static("resumen; fwd=miss"),
    }
}

/// `CDN-Cache-Control` (RFC 9213): until the next planned refresh of any source of the answer. None on live answers and
/// when no source is ok.
pub(crate) fn cdn_cache_control(
    mode: &RenderMode<'_>,
    snapshot: &Snapshot,
    selection: &[usize],
    rows: &[SummaryRow<'_>],
    as_of: Time,
) -> Option<HeaderValue> {
    if matches!(mode, RenderMode::Live { .. }) || !rows.iter().any(|row| row.view.reading.is_some())
    {
        return None;
    }
    let next = selection
        .iter()
        .filter_map(|at| snapshot.next_attempt(*at))
        .min();
    let fresh = next.map_or(0, |next| next.since(as_of).as_secs());
    let revalidate = fresh.max(1);
    let grace = rows
        .iter()
        .map(|row| row.source_state.source.freshness_policy.max_stale)
        .min()
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let text = format!(
        "public, max-age={fresh}, stale-while-revalidate={revalidate}, stale-if-error={grace}"
    );
    Some(header_value(&text))
}

/// `Server-Timing`: what this request waited for, and why a flight gave nothing. None if it waited for nothing.
pub(crate) fn server_timing(mode: &RenderMode<'_>, rows: &[SummaryRow<'_>]) -> Option<HeaderValue> {
    let RenderMode::Live {
        source_results: notes,
        ..
    } = mode
    else {
        return None;
    };
    let mut text = String::new();
    for (row, note) in rows.iter().zip(*notes) {
        let Some(waited) = note.wait_duration else {
            continue;
        };
        let comma = if text.is_empty() { "" } else { ", " };
        let millis = waited.as_secs_f64() * 1000.0;
        let _ = write!(
            text,
            "{comma}{};dur={millis:.1}",
            row.source_state.source.name
        );
        if let Some(code) = failure_reason(note) {
            let _ = write!(text, ";desc=\"{code}\"");
        }
    }
    (!text.is_empty()).then(|| header_value(&text))
}

fn failure_reason(note: &LiveSourceResult) -> Option<&'static str> {
    match (&note.late_source, note.failure_code) {
        (Some(_), _) => Some("timeout"),
        (None, failed) => failed.map(crate::domain::Code::as_str),
    }
}

/// Every text here is made of names, numbers and our own words.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
