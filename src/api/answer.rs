//! `/resumen`, `/valor` and `/insignia`: the snapshot or a part of it, or a live answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::HeaderMap;
use http::request::Parts;
use tokio::time::timeout_at;

use crate::aggregate::Selection;
use crate::domain::{Name, Snapshot};
use crate::process::Deadline;
use crate::render::{LARGE_BODY_BYTES, Rendering, ValueFlaw, find_nearest_value_path};
use crate::server::{
    AccessGrant, ProblemDetails, ProblemKind, ServerContext, respond_with_rendering,
};

use super::answer_request::{AnswerRequest, written_value_path};
use super::state::AppState;

/// The snapshot or a part of it. The query decides between what is known and a live answer.
pub(super) async fn get_answer(
    State(state): State<Arc<AppState>>,
    Extension(grant): Extension<AccessGrant>,
    head: Parts,
) -> Result<Response, ProblemDetails> {
    let server = &state.server;
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let request = AnswerRequest::parse(server, path, query, &head.headers)?;
    match request.max_age {
        Some(_) => server.access.check_live(&grant)?,
        None => grant.require(request.groups)?,
    }
    let selection = &request.selection;
    // Also for a snapshot: it bounds the wait for the first attempts.
    let timeout = selection.timeout.unwrap_or(server.settings.default_timeout);
    let rendering = if let Some(max_age) = request.max_age {
        let deadline = server.clock.deadline(timeout);
        render_live(&state, selection, max_age, deadline).await?
    } else {
        wait_for_first_round(&state, selection.names.as_deref(), timeout).await;
        state.render_snapshot(selection).await?
    };
    if let Some(flaw) = rendering.value_flaw {
        return Err(value_problem(&state, selection, flaw, path));
    }
    let work = &state.background_work;
    work.prepare_coding(&rendering, &head.headers).await?;
    Ok(respond_with_rendering(&rendering, &head.headers).map(Body::from))
}

/// What `get_answer` answers a GET of `target` with, if it takes little time: from the snapshot, and
/// small. `None` also if the request is not valid, or there is no value.
pub fn find_rendering(
    server: &ServerContext,
    target: &str,
    headers: &HeaderMap,
) -> Option<Arc<Rendering>> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = AnswerRequest::parse(server, path, query, headers).ok()?;
    if request.max_age.is_some() {
        return None;
    }
    // The router waits for room, or refuses.
    if request.selection != Selection::default() && server.cache.send_budget().is_exceeded() {
        return None;
    }
    let now = server.clock.now();
    let rendering = server.cache.quick_rendering(&request.selection, now)?;
    // A large one is compressed by background threads.
    let is_small = rendering.body.len() <= LARGE_BODY_BYTES;
    (is_small && rendering.value_flaw.is_none()).then_some(rendering)
}

/// The problem of a request for a value that does not exist.
fn value_problem(
    state: &AppState,
    selection: &Selection,
    flaw: ValueFlaw,
    path: &str,
) -> ProblemDetails {
    let snapshot = state.server.cache.snapshot();
    let name = selection.names.as_ref().and_then(|names| names.first());
    let position = name.and_then(|name| snapshot.source_set().position(name.as_str()));
    let view = position.map(|position| snapshot.source_view(position, state.server.clock.now()));
    match flaw {
        ValueFlaw::Missing => {
            let failure = view.and_then(|view| view.failure);
            let detail = failure.map_or_else(
                || "no attempt has ended yet".to_owned(),
                |failure| format!("{}: {}", failure.code, failure.message),
            );
            ProblemDetails::new(ProblemKind::MissingValue, detail)
        }
        ValueFlaw::UnknownPath => {
            let wanted = written_value_path(path);
            let data = view
                .and_then(|view| view.reading)
                .map(|reading| reading.data);
            let nearest = data.and_then(|data| find_nearest_value_path(data.as_json(), wanted));
            let detail = "the source's data has no value at this path";
            ProblemDetails::new(ProblemKind::UnknownPath, detail)
                .with_got(wanted)
                .with_suggestion(nearest.as_deref())
        }
    }
}

/// Fetches the sources, or all of them, and renders what is known at the deadline or when all have
/// finished.
async fn render_live(
    state: &AppState,
    selection: &Selection,
    max_age: Duration,
    deadline: Deadline,
) -> Result<Arc<Rendering>, ProblemDetails> {
    let names = selection.names.clone().unwrap_or_else(|| {
        let snapshot = state.server.cache.snapshot();
        let states = snapshot.source_states().iter();
        states.map(|state| state.source.name.clone()).collect()
    });
    let result = state.live.fetch_sources(&names, max_age, deadline).await;
    state.render_live(result, &selection.form, deadline).await
}

/// Waits until every source of the response has a reading or a finished attempt, at most `timeout`.
async fn wait_for_first_round(state: &AppState, sources: Option<&[Name]>, timeout: Duration) {
    if state.server.is_first_round_done() {
        return;
    }
    let cache = &state.server.cache;
    let deadline = state.server.clock.deadline(timeout);
    // Subscribed before the first check, so that no change between the check and the wait is
    // missed.
    let mut changes = cache.subscribe();
    while !are_sources_ready(&cache.snapshot(), sources) {
        if !matches!(timeout_at(deadline.at, changes.changed()).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// Whether the named sources, or all of them, have a reading or a finished attempt. A source that a
/// reload has removed since the query was parsed is not waited for.
fn are_sources_ready(snapshot: &Snapshot, sources: Option<&[Name]>) -> bool {
    match sources {
        Some(names) => names
            .iter()
            .filter_map(|name| snapshot.source_set().position(name.as_str()))
            .all(|position| snapshot.is_ready_to_answer(position)),
        None => (0..snapshot.source_states().len())
            .all(|position| snapshot.is_ready_to_answer(position)),
    }
}
