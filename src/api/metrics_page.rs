//! `/metrics`: the encoded registry, in the text format of Prometheus or as `OpenMetrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::VARY;
use http::{HeaderMap, HeaderValue};
use prometheus_client::encoding::prometheus_text;

use crate::server::{ProblemDetails, ProblemKind, media_preference, no_store_response};

use super::shared_pages::PageKind;
use super::state::AppState;

const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The page of metrics. `OpenMetrics` only if the client prefers it; a client that accepts neither
/// format gets the text format.
pub(super) async fn get_metrics(
    State(state): State<Arc<AppState>>,
    request: HeaderMap,
) -> Result<Response, ProblemDetails> {
    let prefers_open_metrics = media_preference(&request, OPEN_METRICS_TYPE)
        > media_preference(&request, prometheus_text::CONTENT_TYPE);
    let (kind, content_type) = if prefers_open_metrics {
        (PageKind::OpenMetrics, OPEN_METRICS_TYPE)
    } else {
        (PageKind::PrometheusText, prometheus_text::CONTENT_TYPE)
    };
    let encoder = Arc::clone(&state.metrics_encoder);
    let encode = move || encoder.encode(kind == PageKind::OpenMetrics).ok();
    // Prometheus must not take a part of the page for the whole.
    let page = state
        .get_or_make_page(kind, encode)
        .await?
        .ok_or_else(|| ProblemDetails::new(ProblemKind::Internal, "a metric cannot be encoded"))?;
    let mut response = no_store_response(content_type, page);
    let vary = HeaderValue::from_static("Accept");
    response.headers_mut().insert(VARY, vary);
    Ok(response)
}
