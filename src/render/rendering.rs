//! An answer's bytes, and until when they are true.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;

use crate::domain::{Code, Freshness, Snapshot, Time, Trouble, spell};

use super::body::{self, Head, Row};
use super::forms::Forms;
use super::note::{Note, Origin};
use super::{Version, headers, version};

/// How long a rendering may be served. Ages are written as of its end, so they are never understated, and at most this
/// much overstated; the contract allows 25 ms.
const QUANTUM: Duration = Duration::from_millis(20);

/// How an answer came about.
#[derive(Debug, Clone, Copy)]
pub enum Mode<'a> {
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
        notes: &'a [Note],
        /// Whether every flight was joined rather than started.
        collapsed: bool,
    },
}

/// One rendered answer. Shared by every request that it is true for.
#[derive(Debug)]
pub struct Rendering {
    /// The JSON text.
    pub body: Bytes,
    /// The hash over what it tells.
    pub version: Version,
    /// The instant as of which its ages are written.
    pub generated_at: Time,
    /// The last instant at which it may be served; the same as `generated_at`.
    pub valid_until: Time,
    /// The last instant before its version changes by age alone; none if it never does.
    pub changes_after: Option<Time>,
    /// Whether every source is ok, not stale, and did not fail last time.
    pub complete: bool,
    /// Whether every source is ok.
    pub all_ok: bool,
    /// `ETag`
    pub etag: HeaderValue,
    /// `Cache-Status`
    pub cache_status: HeaderValue,
    /// `CDN-Cache-Control`
    pub cdn_cache_control: Option<HeaderValue>,
    /// `Server-Timing`
    pub server_timing: Option<HeaderValue>,
    /// The body in content codings, as far as somebody asked for them.
    pub forms: Forms,
}

impl Mode<'_> {
    pub(super) fn timeout(&self) -> Duration {
        match self {
            Self::Snapshot { timeout } | Self::Live { timeout, .. } => *timeout,
        }
    }
}

/// Renders the sources at the positions of `selection`, in that order.
pub fn render(snapshot: &Snapshot, selection: &[usize], mode: &Mode<'_>, now: Time) -> Rendering {
    let changes_after = selection
        .iter()
        .filter_map(|at| snapshot.holds_until(*at, now))
        .min();
    let as_of = changes_after.map_or(now.after(QUANTUM), |edge| edge.min(now.after(QUANTUM)));
    let rows: Vec<Row<'_>> = (0..selection.len())
        .map(|i| row(snapshot, selection[i], mode, i, as_of))
        .collect();
    let mut hasher = version::Hasher::default();
    for row in &rows {
        hasher.add(&row.entry.source.name, &row.state);
    }
    let version = hasher.finish();
    let complete = rows
        .iter()
        .all(|row| row.state.freshness == Freshness::Fresh && row.state.error.is_none());
    let head = Head {
        version,
        generated_at: as_of,
        complete,
    };
    Rendering {
        body: body::write(&head, mode, &rows).into(),
        version,
        generated_at: as_of,
        valid_until: as_of,
        changes_after,
        complete,
        all_ok: rows.iter().all(|row| row.state.reading.is_some()),
        etag: headers::etag(version),
        cache_status: headers::cache_status(mode, &rows),
        cdn_cache_control: headers::cdn_cache_control(mode, snapshot, selection, &rows, as_of),
        server_timing: headers::server_timing(mode, &rows),
        forms: Forms::default(),
    }
}

fn row<'a>(
    snapshot: &'a Snapshot,
    position: usize,
    mode: &Mode<'_>,
    index: usize,
    as_of: Time,
) -> Row<'a> {
    let entry = &snapshot.entries()[position];
    let mut state = snapshot.state(position, as_of);
    let mut origin = Origin::Snapshot;
    if let Mode::Live { timeout, notes, .. } = mode
        && let Some(note) = notes.get(index)
    {
        origin = note.origin;
        if let Some(late) = &note.late {
            state.error = Some(too_late(
                late.as_str(),
                entry.source.name.as_str(),
                *timeout,
            ));
        }
    }
    Row {
        entry,
        state,
        origin,
    }
}

/// The failure of a source that was not back when this request's deadline passed; it says nothing of the attempt, which
/// goes on.
fn too_late(late: &str, name: &str, timeout: Duration) -> Trouble<'static> {
    let input = if late == name {
        String::new()
    } else {
        format!("input `{late}`: ")
    };
    let message = format!(
        "{input}no answer within this request's {}; the attempt goes on",
        spell(timeout)
    );
    Trouble {
        code: Code::Timeout,
        message: Cow::Owned(message),
        since: None,
    }
}
