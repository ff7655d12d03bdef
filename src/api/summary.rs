//! `/resumen`: the snapshot, or a live answer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts as Head;
use http_body_util::Full;
use tokio::time::timeout_at;

use crate::domain::{Name, Snapshot};
use crate::process::Deadline;
use crate::render::{RenderMode, Rendering, render_summary};

use super::query::SummaryQuery;
use super::state::AppState;
use super::state::are_all_answerable;
use crate::server::respond_with_rendering;

/// Answers with or without parameters.
pub(crate) async fn get_summary(State(site): State<Arc<AppState>>, head: Head) -> Response {
    let raw = head.uri.query().unwrap_or_default();
    let query = match SummaryQuery::parse(
        raw,
        site.cache.snapshot().source_set(),
        site.settings.max_timeout,
    ) {
        Ok(query) => query,
        Err(problem) => return problem.into_response(),
    };
    let rendering = match query.max_age {
        Some(max_age) => Arc::new(render_live(&site, &query, max_age).await),
        None => render_snapshot(&site, &query).await,
    };
    respond_with_rendering(&rendering, &head.headers)
        .map(Full::new)
        .into_response()
}

async fn render_live(site: &AppState, query: &SummaryQuery, max_age: Duration) -> Rendering {
    let deadline = site
        .clock
        .deadline(query.timeout.unwrap_or(site.settings.default_timeout));
    let names = query
        .sources
        .clone()
        .unwrap_or_else(|| list_source_names(&site.cache.snapshot()));
    let gathered = site.live.fetch_sources(&names, max_age, deadline).await;
    let mode = RenderMode::Live {
        timeout: deadline.limit,
        source_results: &gathered.notes,
        is_collapsed: gathered.was_collapsed,
    };
    render_summary(
        &gathered.snapshot,
        &gathered.positions,
        &mode,
        site.clock.now(),
    )
}

async fn render_snapshot(site: &AppState, query: &SummaryQuery) -> Arc<Rendering> {
    let timeout = query.timeout.unwrap_or(site.settings.default_timeout);
    wait_for_first_round(site, query, site.clock.deadline(timeout)).await;
    site.cache
        .selected_rendering(query.sources.as_deref(), query.timeout, site.clock.now())
}

/// Waits while some source of the answer has neither ended an attempt nor a restored reading, at most until the
/// deadline.
async fn wait_for_first_round(site: &AppState, query: &SummaryQuery, deadline: Deadline) {
    let settled = || {
        let snapshot = site.cache.snapshot();
        let positions = find_positions(&snapshot, query.sources.as_deref());
        are_all_answerable(&snapshot, positions)
    };
    if site.is_first_round_done() || settled() {
        return;
    }
    let mut changes = site.cache.subscribe();
    while !settled() {
        if !matches!(timeout_at(deadline.at, changes.changed()).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// Where the named sources stand, or all of them. One that a reload removed meanwhile has no place.
fn find_positions<'s>(
    snapshot: &'s Snapshot,
    names: Option<&'s [Name]>,
) -> Box<dyn Iterator<Item = usize> + 's> {
    match names {
        Some(names) => Box::new(
            names
                .iter()
                .filter_map(|name| snapshot.source_set().position(name.as_str())),
        ),
        None => Box::new(0..snapshot.source_states().len()),
    }
}

fn list_source_names(snapshot: &Snapshot) -> Vec<Name> {
    snapshot
        .source_states()
        .iter()
        .map(|entry| entry.source.name.clone())
        .collect()
}
