//! An answer's bytes, and until when they are true.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;

use crate::domain::{Code, Freshness, ShownFailure, Snapshot, Time};
use crate::text::format_duration;

use super::compressed::EncodedBodies;
use super::live_note::{LiveSourceResult, ReadingOrigin};
use super::summary_body;
use super::summary_body::{SummaryHeader, SummaryRow};
use super::version::SummaryVersion;
use super::{cache_headers, version};

/// How long a rendering may be served. Ages are written as of its end, so they are never understated, and at most this
/// much overstated; the contract allows 25 ms.
const RENDERING_LIFETIME: Duration = Duration::from_millis(20);

/// How an answer came about.
#[derive(Debug, Clone, Copy)]
pub enum RenderMode<'a> {
    /// Read from the snapshot.
    Snapshot {
        /// The deadline for the first round.
        timeout: Duration,
    },
    /// After a fan-out for this request.
    Live {
        /// The request's deadline.
        timeout: Duration,
        /// What the round did, one for each source of the selection.
        source_results: &'a [LiveSourceResult],
        /// Whether every flight was joined rather than started.
        is_collapsed: bool,
    },
}

/// One rendered answer. Shared by every request that it is true for.
#[derive(Debug)]
pub struct Rendering {
    /// The JSON text.
    pub body: Bytes,
    /// The hash over what it tells.
    pub version: SummaryVersion,
    /// The instant as of which its ages are written.
    pub generated_at: Time,
    /// The last instant at which it may be served; the same as `generated_at`.
    pub valid_until: Time,
    /// The last instant before its version changes by age alone; none if it never does.
    pub unchanged_until: Option<Time>,
    /// Whether every source is ok, not stale, and did not fail last time.
    pub is_complete: bool,
    /// Whether every source is ok.
    pub is_all_ok: bool,
    /// `ETag`
    pub etag: HeaderValue,
    /// `Cache-Status`
    pub cache_status: HeaderValue,
    /// `CDN-Cache-Control`
    pub cdn_cache_control: Option<HeaderValue>,
    /// `Server-Timing`
    pub server_timing: Option<HeaderValue>,
    /// The body in content codings, as far as somebody asked for them.
    pub encoded_bodies: EncodedBodies,
}

impl RenderMode<'_> {
    pub(super) fn timeout(&self) -> Duration {
        match self {
            Self::Snapshot { timeout } | Self::Live { timeout, .. } => *timeout,
        }
    }
}

/// Renders the sources at the positions of `selection`, in that order.
pub fn render_summary(
    snapshot: &Snapshot,
    selection: &[usize],
    mode: &RenderMode<'_>,
    now: Time,
) -> Rendering {
    let changes_after = selection
        .iter()
        .filter_map(|at| snapshot.unchanged_until(*at, now))
        .min();
    let as_of = changes_after.map_or(now.plus(RENDERING_LIFETIME), |edge| {
        edge.min(now.plus(RENDERING_LIFETIME))
    });
    let rows: Vec<SummaryRow<'_>> = (0..selection.len())
        .map(|i| source_row(snapshot, selection[i], mode, i, as_of))
        .collect();
    let mut hasher = version::VersionHasher::default();
    for row in &rows {
        hasher.add_source(&row.source_state.source.name, &row.view);
    }
    let version = hasher.finish();
    let complete = rows
        .iter()
        .all(|row| row.view.freshness == Freshness::Fresh && row.view.failure.is_none());
    let head = SummaryHeader {
        version,
        generated_at: as_of,
        is_complete: complete,
    };
    Rendering {
        body: summary_body::write_summary(&head, mode, &rows).into(),
        version,
        generated_at: as_of,
        valid_until: as_of,
        unchanged_until: changes_after,
        is_complete: complete,
        is_all_ok: rows.iter().all(|row| row.view.reading.is_some()),
        etag: cache_headers::etag(version),
        cache_status: cache_headers::cache_status(mode, &rows),
        cdn_cache_control: cache_headers::cdn_cache_control(
            mode, snapshot, selection, &rows, as_of,
        ),
        server_timing: cache_headers::server_timing(mode, &rows),
        encoded_bodies: EncodedBodies::default(),
    }
}

fn source_row<'a>(
    snapshot: &'a Snapshot,
    position: usize,
    mode: &RenderMode<'_>,
    index: usize,
    as_of: Time,
) -> SummaryRow<'a> {
    let entry = &snapshot.source_states()[position];
    let mut state = snapshot.source_view(position, as_of);
    let mut origin = ReadingOrigin::Snapshot;
    if let RenderMode::Live {
        timeout,
        source_results: notes,
        ..
    } = mode
        && let Some(note) = notes.get(index)
    {
        origin = note.origin;
        if let Some(late) = &note.late_source {
            state.failure = Some(late_source_failure(
                late.as_str(),
                entry.source.name.as_str(),
                *timeout,
            ));
        }
    }
    SummaryRow {
        source_state: entry,
        view: state,
        origin,
    }
}

/// The failure of a source that was not back when this request's deadline passed; it says nothing of the attempt, which
/// goes on.
fn late_source_failure(late: &str, name: &str, timeout: Duration) -> ShownFailure<'static> {
    let input = if late == name {
        String::new()
    } else {
        format!("input `{late}`: ")
    };
    let message = format!(
        "{input}no answer within this request's {}; the attempt goes on",
        format_duration(timeout)
    );
    ShownFailure {
        code: Code::Timeout,
        message: Cow::Owned(message),
        failing_since: None,
    }
}
