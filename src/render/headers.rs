//! The header values that depend on what an answer holds.

use std::fmt::Write;
use std::time::Duration;

use http::HeaderValue;

use crate::domain::{Snapshot, Time};

use super::body::Row;
use super::note::Note;
use super::{Mode, Version};

/// `ETag`: weak, since encodings of the same version differ (RFC 9110 §8.8.3).
pub(super) fn etag(version: Version) -> HeaderValue {
    value(&format!("W/\"{version}\""))
}

/// `Cache-Status` (RFC 9211).
pub(super) fn cache_status(mode: &Mode<'_>, rows: &[Row<'_>]) -> HeaderValue {
    if let Mode::Live { collapsed, .. } = mode {
        return HeaderValue::from_static(match collapsed {
            true => "resumen; fwd=request; collapsed",
            false => "resumen; fwd=request",
        });
    }
    match rows.iter().filter_map(|row| row.state.left).min() {
        Some(left) => value(&format!("resumen; hit; ttl={}", left.div_euclid(1000))),
        None => HeaderValue::from_static("resumen; fwd=miss"),
    }
}

/// `CDN-Cache-Control` (RFC 9213): until the next planned refresh of any source of the answer. None on live answers and
/// when no source is ok.
pub(super) fn cdn_cache_control(
    mode: &Mode<'_>,
    snapshot: &Snapshot,
    selection: &[usize],
    rows: &[Row<'_>],
    as_of: Time,
) -> Option<HeaderValue> {
    if matches!(mode, Mode::Live { .. }) || !rows.iter().any(|row| row.state.reading.is_some()) {
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
        .map(|row| row.entry.source.shelf.max_stale)
        .min()
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let text = format!(
        "public, max-age={fresh}, stale-while-revalidate={revalidate}, stale-if-error={grace}"
    );
    Some(value(&text))
}

/// `Server-Timing`: what this request waited for, and why a flight gave nothing. None if it waited for nothing.
pub(super) fn server_timing(mode: &Mode<'_>, rows: &[Row<'_>]) -> Option<HeaderValue> {
    let Mode::Live { notes, .. } = mode else {
        return None;
    };
    let mut text = String::new();
    for (row, note) in rows.iter().zip(*notes) {
        let Some(waited) = note.waited else { continue };
        let comma = if text.is_empty() { "" } else { ", " };
        let millis = waited.as_secs_f64() * 1000.0;
        let _ = write!(text, "{comma}{};dur={millis:.1}", row.entry.source.name);
        if let Some(code) = trouble(note) {
            let _ = write!(text, ";desc=\"{code}\"");
        }
    }
    (!text.is_empty()).then(|| value(&text))
}

fn trouble(note: &Note) -> Option<&'static str> {
    match (&note.late, note.failed) {
        (Some(_), _) => Some("timeout"),
        (None, failed) => failed.map(crate::domain::Code::as_str),
    }
}

/// Every text here is made of names, numbers and our own words.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
