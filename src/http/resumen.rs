//! `/resumen`: the snapshot, or a live answer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts as Head;
use http_body_util::Full;
use tokio::time::timeout_at;

use crate::clock::Deadline;
use crate::domain::{Name, Snapshot};
use crate::fetch::Fetch;
use crate::render::{Mode, Rendering, render};

use super::Site;
use super::query::Query;
use super::representation::respond;
use super::site::all_settled;

/// Answers with or without parameters.
pub(super) async fn answer<F: Fetch>(State(site): State<Arc<Site<F>>>, head: Head) -> Response {
    let raw = head.uri.query().unwrap_or_default();
    let query = match Query::parse(
        raw,
        site.cache.snapshot().roster(),
        site.settings.max_timeout,
    ) {
        Ok(query) => query,
        Err(problem) => return problem.into_response(),
    };
    let rendering = match query.max_age {
        Some(max_age) => Arc::new(live(&site, &query, max_age).await),
        None => snapshot(&site, &query).await,
    };
    respond(&rendering, &head.headers)
        .map(Full::new)
        .into_response()
}

async fn live<F: Fetch>(site: &Site<F>, query: &Query, max_age: Duration) -> Rendering {
    let deadline = site
        .clock
        .deadline(query.timeout.unwrap_or(site.settings.default_timeout));
    let names = query
        .sources
        .clone()
        .unwrap_or_else(|| all_names(&site.cache.snapshot()));
    let gathered = site.live.gather(&names, max_age, deadline).await;
    let mode = Mode::Live {
        timeout: deadline.limit,
        notes: &gathered.notes,
        collapsed: gathered.collapsed,
    };
    render(
        &gathered.snapshot,
        &gathered.selection,
        &mode,
        site.clock.now(),
    )
}

async fn snapshot<F: Fetch>(site: &Site<F>, query: &Query) -> Arc<Rendering> {
    let timeout = query.timeout.unwrap_or(site.settings.default_timeout);
    wait_for_first_round(site, query, site.clock.deadline(timeout)).await;
    site.cache
        .selected(query.sources.as_deref(), query.timeout, site.clock.now())
}

/// Waits while some source of the answer has neither ended an attempt nor a restored reading, at most until the
/// deadline.
async fn wait_for_first_round<F: Fetch>(site: &Site<F>, query: &Query, deadline: Deadline) {
    let settled = || {
        let snapshot = site.cache.snapshot();
        let positions = positions(&snapshot, query.sources.as_deref());
        all_settled(&snapshot, positions)
    };
    if site.is_settled() || settled() {
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
fn positions<'s>(
    snapshot: &'s Snapshot,
    names: Option<&'s [Name]>,
) -> Box<dyn Iterator<Item = usize> + 's> {
    match names {
        Some(names) => Box::new(
            names
                .iter()
                .filter_map(|name| snapshot.roster().position(name.as_str())),
        ),
        None => Box::new(0..snapshot.entries().len()),
    }
}

fn all_names(snapshot: &Snapshot) -> Vec<Name> {
    snapshot
        .entries()
        .iter()
        .map(|entry| entry.source.name.clone())
        .collect()
}
