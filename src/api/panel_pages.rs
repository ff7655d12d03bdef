//! The panel: the page, its files and the history of its charts.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, StatusCode};

use crate::panel::{PanelAsset, appearance_document};
use crate::server::{
    ProblemDetails, ProblemKind, matches_etag, no_store_response, select_form, set_content_encoding,
};

use super::state::AppState;

/// Only the panel's own files run, and they connect only to this server. Trusted Types are
/// forbidden, so that no script can turn a provider's text into markup.
const PANEL_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; trusted-types 'none'";

/// For the page: a browser revalidates it on every load and gets a 304 while it is unchanged.
const CACHE_REVALIDATE: &str = "no-cache";

/// For files whose path contains their version.
const CACHE_IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// `/`: the page.
pub(super) async fn get_panel(
    State(state): State<Arc<AppState>>,
    request: HeaderMap,
) -> Result<Response, ProblemDetails> {
    let etag = HeaderValue::from_str(&format!("W/\"{}\"", state.panel_assets.version))
        .unwrap_or_else(|_| HeaderValue::from_static("W/\"\""));
    let mut response = if matches_etag(&request, &etag) {
        // A 304 carries the headers of the 200 that it stands for (RFC 9110 §15.4.5).
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        add_asset_headers(response.headers_mut(), CACHE_REVALIDATE);
        response
    } else {
        asset_response(&state.panel_assets.index, &request, CACHE_REVALIDATE)?
    };
    response.headers_mut().insert(ETAG, etag);
    Ok(response)
}

/// `/panel/{version}/{file}`: a file of the page.
///
/// After an upgrade, or behind a load balancer with replicas of several releases, a page may
/// request another version than this server has. The response is then the current file with
/// `no-store`: another version must not be cached as immutable.
pub(super) async fn get_panel_asset(
    State(state): State<Arc<AppState>>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: HeaderMap,
) -> Result<Response, ProblemDetails> {
    // axum's own rejection is plain text with 400; every error here is a problem document.
    let Ok(Path((version, name))) = path else {
        let detail = "the path is not percent-encoded UTF-8";
        return Err(ProblemDetails::new(ProblemKind::NotFound, detail));
    };
    let cache_control = if version == state.panel_assets.version {
        CACHE_IMMUTABLE
    } else {
        "no-store"
    };
    let Some(asset) = state.panel_assets.find_asset(&name) else {
        let detail = "the panel has no file with this name";
        return Err(ProblemDetails::new(ProblemKind::NotFound, detail).with_got(&name));
    };
    asset_response(asset, &request, cache_control)
}

/// `/panel/history.json`: the points that the panel's charts begin with.
pub(super) async fn get_panel_history(
    State(state): State<Arc<AppState>>,
    request: HeaderMap,
) -> Result<Response, ProblemDetails> {
    let now = state.server.clock.now();
    let work = &state.background_work;
    let asset = if let Some(asset) = state.panel_history.recent_asset(now) {
        asset
    } else {
        let history = Arc::clone(&state.panel_history);
        let budget = Arc::clone(state.server.cache.send_budget());
        let make = move || history.history_asset(now, &budget);
        work.panel_history.run(&work.pages, (), make).await?
    };
    work.prepare_form(&asset.forms, &request).await?;
    asset_response(&asset, &request, "no-store")
}

/// `/panel/appearance.json`: the operator's titles, units, limits and so on.
pub(super) async fn get_panel_appearance(State(state): State<Arc<AppState>>) -> Response {
    let source_set = Arc::clone(state.server.cache.snapshot().source_set());
    let build = || appearance_document(source_set.sources().iter().map(AsRef::as_ref));
    let document = state.appearance_document.get_or_build(&source_set, build);
    no_store_response("application/json", document)
}

fn asset_response(
    asset: &PanelAsset,
    request: &HeaderMap,
    cache_control: &'static str,
) -> Result<Response, ProblemDetails> {
    let (body, coding) = select_form(&asset.forms, request)?;
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(CONTENT_LENGTH, length);
    set_content_encoding(headers, coding);
    add_asset_headers(headers, cache_control);
    Ok(response)
}

fn add_asset_headers(headers: &mut HeaderMap, cache_control: &'static str) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache_control));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PANEL_CSP));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
