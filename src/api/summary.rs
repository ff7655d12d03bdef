//! `/resumen`: the snapshot, or a live answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::request::Parts;
use tokio::time::timeout_at;

use crate::domain::{Name, Snapshot};
use crate::process::Deadline;
use crate::render::Rendering;
use crate::server::{AccessGrant, ProblemDetails, SNAPSHOT_GROUPS, respond_with_rendering};

use super::query::SummaryQuery;
use super::state::AppState;

/// `/resumen`. The query decides between the snapshot and a live answer.
pub(super) async fn get_summary(
    State(state): State<Arc<AppState>>,
    Extension(grant): Extension<AccessGrant>,
    head: Parts,
) -> Result<Response, ProblemDetails> {
    let server = &state.server;
    let query = SummaryQuery::parse(
        head.uri.query().unwrap_or_default(),
        server.cache.snapshot().source_set(),
        server.settings.max_timeout,
    )?;
    match query.max_age {
        Some(_) => server.access.check_live(&grant)?,
        None => grant.require(SNAPSHOT_GROUPS)?,
    }
    // Also for a snapshot: it bounds the wait for the first attempts.
    let timeout = query.timeout.unwrap_or(server.settings.default_timeout);
    let rendering = if let Some(max_age) = query.max_age {
        let deadline = server.clock.deadline(timeout);
        render_live(&state, query.sources, max_age, deadline).await?
    } else {
        wait_for_first_round(&state, query.sources.as_deref(), timeout).await;
        state
            .render_snapshot(query.sources.as_deref(), query.timeout)
            .await?
    };
    let work = &state.background_work;
    work.prepare_coding(&rendering, &head.headers).await?;
    Ok(respond_with_rendering(&rendering, &head.headers).map(Body::from))
}

/// Fetches the sources, or all of them, and renders what is known at the deadline or when all have
/// finished.
async fn render_live(
    state: &AppState,
    sources: Option<Vec<Name>>,
    max_age: Duration,
    deadline: Deadline,
) -> Result<Arc<Rendering>, ProblemDetails> {
    let names = sources.unwrap_or_else(|| {
        let snapshot = state.server.cache.snapshot();
        let states = snapshot.source_states().iter();
        states.map(|state| state.source.name.clone()).collect()
    });
    let result = state.live.fetch_sources(&names, max_age, deadline).await;
    state.render_live(result, deadline).await
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
