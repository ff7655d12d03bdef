//! `/openapi.json`: an `OpenAPI` 3.1 document of everything that is served, made from the same lists as the answers: the
//! routes, the kinds of problems, the codes of failures, the names and limits of this configuration.
//!
//! A route cannot be added without a description (`routes` wants one in its line), and tests hold the descriptions to
//! what the running service answers.

mod document;
mod operation;
mod operations;
mod parameters;
mod pattern;
mod response_headers;
mod schemas;

pub(crate) use operation::{DocumentContext, OperationSpec};
pub(crate) use operations::{
    describe_liveness, describe_metrics, describe_openapi, describe_panel, describe_panel_asset,
    describe_panel_history, describe_readiness, describe_source_health, describe_stream,
    describe_summary,
};

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};

use super::query;
use super::state::AppState;
use crate::server::no_store_response;

/// The document, for the sources and limits of this moment.
pub(crate) async fn get_openapi_document(
    State(site): State<Arc<AppState>>,
    RawQuery(query): RawQuery,
) -> Response {
    if let Err(problem) = query::require_no_parameters(query.as_deref().unwrap_or_default()) {
        return problem.into_response();
    }
    let snapshot = site.cache.snapshot();
    let terms = DocumentContext {
        asset_names: site.panel_assets.asset_names().collect(),
        source_names: snapshot
            .source_set()
            .sources()
            .iter()
            .map(|source| source.name.as_str())
            .collect(),
        default_timeout: site.settings.default_timeout,
        max_timeout: site.settings.max_timeout,
    };
    no_store_response(
        "application/json",
        document::build_document(&terms).to_string(),
    )
}
