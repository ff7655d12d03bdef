//! `/openapi.json`: an `OpenAPI` 3.1 document of everything that is served, made from the same lists as the answers: the
//! routes, the kinds of problems, the codes of failures, the names and limits of this configuration.
//!
//! A route cannot be added without a description (`routes` wants one in its line), and tests hold the descriptions to
//! what the running service answers.

mod document;
mod headers;
mod operation;
mod operations;
mod parameters;
mod pattern;
mod schemas;

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};

use crate::fetch::Fetch;

use super::Site;
use super::query;
use super::whole::whole;

pub(super) use operation::{Operation, Terms};
pub(super) use operations::{
    alive, description, fuentes, metrics, panel, panel_file, panel_history, ready, resumen, stream,
};

/// The document, for the sources and limits of this moment.
pub(super) async fn answer<F: Fetch>(
    State(site): State<Arc<Site<F>>>,
    RawQuery(query): RawQuery,
) -> Response {
    if let Err(problem) = query::nothing_but_busters(query.as_deref().unwrap_or_default()) {
        return problem.into_response();
    }
    let snapshot = site.cache.snapshot();
    let terms = Terms {
        files: site.page.names().collect(),
        sources: snapshot
            .roster()
            .sources()
            .iter()
            .map(|source| source.name.as_str())
            .collect(),
        default_timeout: site.settings.default_timeout,
        max_timeout: site.settings.max_timeout,
    };
    whole("application/json", document::document(&terms).to_string())
}
