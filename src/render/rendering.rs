//! A rendered summary.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;

use crate::domain::{ClockShift, Code, Freshness, Name, ShownFailure, Snapshot, Time};
use crate::process::SendBudget;
use crate::text::{UnitStyle, format_duration};

use super::badge_body::write_badge;
use super::body_form::BodyForm;
use super::cache_headers;
use super::cache_headers::ValueDate;
use super::encoded_bodies::EncodedBodies;
use super::flat_body::write_flat;
use super::render_mode::{LiveSourceResult, ReadingOrigin, RenderMode};
use super::summary_body::{SummaryHeader, SummaryRow, write_summary};
use super::value_body::{ValueFlaw, write_value};
use super::version::{SummaryVersion, VersionHasher};

/// Time for which a rendering is served. Ages are written as of its end, so they are never
/// understated, and overstated by at most this time.
const RENDERING_LIFETIME: Duration = Duration::from_millis(20);

/// Media types of the bodies.
const JSON: &str = "application/json";
const SVG: &str = "image/svg+xml";

/// A rendered summary, or a part of it, shared by all requests until [`Self::valid_until`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rendering {
    /// The bytes of the body, in the form that was requested.
    pub body: Bytes,
    /// Value of `Content-Type`.
    pub content_type: &'static str,
    /// Value of `Vary`.
    pub vary: &'static str,
    /// Why there is no value to show; the body is empty then. `None` in other forms.
    pub value_flaw: Option<ValueFlaw>,
    /// When the shown value was fetched, for a body that does not tell it.
    pub value_date: Option<ValueDate>,
    /// Hash over the content; see [`SummaryVersion`].
    pub version: SummaryVersion,
    /// Time as of which ages are written.
    pub generated_at: Time,
    /// Last instant at which the rendering may be served; equal to `generated_at`.
    pub valid_until: Time,
    /// Last instant before the version changes by age alone. `None` if age changes nothing any
    /// more.
    pub unchanged_until: Option<Time>,
    /// Whether every source is fresh and shows no failure.
    pub is_complete: bool,
    /// Whether every source has a fresh or stale reading.
    pub is_all_ok: bool,
    /// Value of `ETag`.
    pub etag: HeaderValue,
    /// Value of `Cache-Status`.
    pub cache_status: HeaderValue,
    /// Value of `CDN-Cache-Control`, if the response has one.
    pub cdn_cache_control: Option<HeaderValue>,
    /// Value of `Server-Timing`, if the response has one.
    pub server_timing: Option<HeaderValue>,
    /// The body in other encodings, each made when it is first requested.
    pub encoded_bodies: Arc<EncodedBodies>,
}

/// Length of the JSON text around the data of a source, in bytes: typical with a failure.
const ROW_BYTES: usize = 320;

/// Length of the JSON text before the first source, in bytes.
const HEADER_BYTES: usize = 512;

/// Length of the flat state of a source, in bytes, and how many times as long as its data the flat
/// members are, at a guess.
const FLAT_ROW_BYTES: usize = 96;
const FLAT_GROWTH: usize = 2;

/// Returns the length of the body of these sources, in bytes, or of the data that is read for it, if
/// that is more. Names, messages and attributions count as of typical length.
pub fn estimate_body_bytes(snapshot: &Snapshot, selection: &[usize], form: &BodyForm) -> usize {
    let states = snapshot.source_states();
    let data_bytes = selection.iter().filter_map(|position| {
        let reading = states[*position].reading.as_ref()?;
        Some(reading.data.as_json().len())
    });
    let data_bytes: usize = data_bytes.sum();
    match form {
        BodyForm::Summary => HEADER_BYTES + selection.len() * ROW_BYTES + data_bytes,
        BodyForm::Flat => selection.len() * FLAT_ROW_BYTES + data_bytes * FLAT_GROWTH,
        BodyForm::Value { .. } | BodyForm::Badge { .. } => data_bytes,
    }
}

impl Rendering {
    /// Counts the body in `budget`, and its encodings when they are made. To be called before the
    /// rendering is shared.
    #[must_use]
    pub fn counted_in(mut self, budget: &Arc<SendBudget>) -> Self {
        self.body = budget.share(self.body);
        let bodies = EncodedBodies::new(self.body.clone());
        self.encoded_bodies = Arc::new(bodies.counted_in(budget));
        self
    }
}

/// Renders the sources at the positions of `selection`, in that order. A form with one value shows that
/// of the first source.
pub fn render_summary(
    snapshot: &Snapshot,
    selection: &[usize],
    form: &BodyForm,
    mode: &RenderMode<'_>,
    now: Time,
) -> Rendering {
    let unchanged_until = selection
        .iter()
        .filter_map(|position| snapshot.unchanged_until(*position, now))
        .min();
    // Freshness must be true during the whole lifetime, so the lifetime ends before freshness
    // changes.
    let latest = now.plus(RENDERING_LIFETIME);
    let as_of = unchanged_until.map_or(latest, |until| until.min(latest));
    let rows: Vec<SummaryRow<'_>> = selection
        .iter()
        .enumerate()
        .map(|(index, position)| summary_row(snapshot, *position, mode, index, as_of))
        .collect();
    let row = rows.first();
    let badge = match form {
        BodyForm::Badge { path, label } => Some(write_badge(row, path, label)),
        _ => None,
    };
    let version = hash_rows(&rows, snapshot.clock_shift(), form, badge.as_ref());
    let is_complete = rows
        .iter()
        .all(|row| row.view.freshness == Freshness::Fresh && row.view.failure.is_none());
    let header = SummaryHeader {
        version,
        generated_at: as_of,
        clock_shift: snapshot.clock_shift(),
        is_complete,
    };
    let capacity = || estimate_body_bytes(snapshot, selection, form);
    let written = match form {
        BodyForm::Summary => Ok((JSON, write_summary(&header, mode, &rows, capacity()))),
        BodyForm::Flat => Ok((JSON, write_flat(&rows, as_of, capacity()))),
        BodyForm::Value { path, is_json } => write_value(row, path, *is_json),
        BodyForm::Badge { .. } => Ok((SVG, badge.unwrap_or_default().into())),
    };
    let value_flaw = written.as_ref().err().copied();
    let (content_type, body) = written.unwrap_or_default();
    let body = Bytes::from(body);
    let fetched_at = row.and_then(|row| Some(row.view.reading?.fetched_at));
    let fetched_at = fetched_at.filter(|_| matches!(form, BodyForm::Value { .. }));
    let value_date =
        fetched_at.map(|at| cache_headers::value_date(at, as_of, snapshot.clock_shift()));
    let age = fetched_at.map_or(Duration::ZERO, |at| as_of.since(at));
    Rendering {
        content_type,
        vary: form.vary(),
        value_flaw,
        value_date,
        encoded_bodies: Arc::new(EncodedBodies::new(body.clone())),
        body,
        version,
        generated_at: as_of,
        valid_until: as_of,
        unchanged_until,
        is_complete,
        is_all_ok: rows.iter().all(|row| row.view.reading.is_some()),
        etag: cache_headers::etag(version),
        cache_status: cache_headers::cache_status(mode, &rows),
        cdn_cache_control: cache_headers::cdn_cache_control(
            mode, snapshot, selection, &rows, as_of, age,
        ),
        server_timing: match mode {
            RenderMode::Snapshot { .. } => None,
            RenderMode::Live { source_results, .. } => {
                cache_headers::server_timing(snapshot, selection, source_results)
            }
        },
    }
}

/// Returns the version of a body of these sources.
fn hash_rows(
    rows: &[SummaryRow<'_>],
    shift: ClockShift,
    form: &BodyForm,
    badge: Option<&String>,
) -> SummaryVersion {
    let mut hasher = VersionHasher::default();
    for row in rows {
        hasher.add_source(&row.source_state.source.name, &row.view, shift);
    }
    if let Some(path) = form.value_path() {
        hasher.add_path(path);
    }
    // The appearance of a badge depends on the configuration, too.
    if let Some(badge) = badge {
        hasher.add_path(std::slice::from_ref(badge));
    }
    hasher.finish()
}

impl Rendering {
    /// Returns this live answer for a request that waited as `source_results` tell. The sources of
    /// `selection` are those that were rendered.
    #[must_use]
    pub fn with_wait_times(
        &self,
        snapshot: &Snapshot,
        selection: &[usize],
        source_results: &[LiveSourceResult],
    ) -> Self {
        Self {
            server_timing: cache_headers::server_timing(snapshot, selection, source_results),
            ..self.clone()
        }
    }
}

/// Returns the source at `position` as of `as_of`, with the result of the live round at `index`.
fn summary_row<'a>(
    snapshot: &'a Snapshot,
    position: usize,
    mode: &RenderMode<'_>,
    index: usize,
    as_of: Time,
) -> SummaryRow<'a> {
    let mut row = SummaryRow {
        source_state: &snapshot.source_states()[position],
        view: snapshot.source_view(position, as_of),
        origin: ReadingOrigin::Snapshot,
    };
    if let RenderMode::Live {
        timeout,
        source_results,
        ..
    } = mode
        && let Some(result) = source_results.get(index)
    {
        row.origin = result.origin;
        if let Some(late) = &result.late_source {
            let name = &row.source_state.source.name;
            row.view.failure = Some(late_source_failure(late, name, *timeout));
        }
    }
    row
}

/// Returns the failure of the source `name` in a response that did not wait for the flight of
/// `late`. The attempt itself goes on, so its health is unknown.
fn late_source_failure(late: &Name, name: &Name, timeout: Duration) -> ShownFailure<'static> {
    let input = if late == name {
        String::new()
    } else {
        format!("input `{late}`: ")
    };
    let message = format!(
        "{input}no answer within this request's {}; the attempt goes on",
        format_duration(timeout, UnitStyle::Message)
    );
    ShownFailure {
        code: Code::Timeout,
        message: Cow::Owned(message),
        failing_since: None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use crate::domain::{
        DerivedComputation, FreshnessPolicy, JsonData, Source, SourceKind, SourceSet,
    };

    use super::*;

    const NOW: Time = Time::from_millis(1_795_330_510_000);

    /// A rendering of a source `s` with this data, which was fetched `age` ago.
    pub(in crate::render) fn rendering_of(json: &str, form: &BodyForm, age: Duration) -> Rendering {
        let limit = Duration::from_secs(60);
        let name = Name::new("s").unwrap();
        let source = Source {
            name: name.clone(),
            kind: SourceKind::Derived {
                inputs: Vec::new(),
                extract: ".".into(),
            },
            freshness_policy: FreshnessPolicy {
                ttl: limit,
                max_stale: limit,
            },
            attribution: None,
            appearance: Arc::default(),
            metrics: Arc::default(),
        };
        let source_set = Arc::new(SourceSet::new(vec![Arc::new(source)]));
        let computation = DerivedComputation {
            identity: source_set.identity(0),
            input_versions: vec![(name.clone(), NOW)],
            computed_at: NOW,
            duration: Duration::ZERO,
            result: Ok(JsonData::from_checked(json)),
        };
        let snapshot = Snapshot::new(source_set).with_computation(&name, &computation);
        let mode = RenderMode::Snapshot { timeout: limit };
        render_summary(&snapshot, &[0], form, &mode, NOW.plus(age))
    }

    /// A cache subtracts `Age` from `max-age`.
    #[test]
    fn lifetime_of_value_begins_at_its_age() {
        let age = Duration::from_secs(40);
        let path = Vec::new();
        let form = BodyForm::Value {
            path,
            is_json: false,
        };
        let lifetime = |rendering: Rendering| {
            let control = rendering.cdn_cache_control.unwrap();
            control.to_str().unwrap().to_owned()
        };
        let rest = "stale-while-revalidate=1, stale-if-error=60";
        let value = rendering_of("1", &form, age);
        assert_eq!(value.value_date.as_ref().unwrap().age, "40");
        assert_eq!(lifetime(value), format!("public, max-age=41, {rest}"));
        let summary = rendering_of("1", &BodyForm::Summary, age);
        assert_eq!(lifetime(summary), format!("public, max-age=1, {rest}"));
    }
}
