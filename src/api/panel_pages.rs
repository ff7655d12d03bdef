//! The panel's files as responses.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, StatusCode};

use super::state::AppState;
use crate::server::{ProblemDetails, ProblemKind};
use crate::server::{matches_etag, select_form, set_content_encoding};

use crate::panel::PanelAsset;

/// Only our own files run and only our own routes are asked; text cannot become markup, whatever a script does.
const PANEL_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Asked for again each time; unchanged it costs a 304.
const CACHE_REVALIDATE: &str = "no-cache";

/// Under a name that holds its version a file never changes.
const CACHE_IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// The page.
pub(crate) async fn get_panel(State(site): State<Arc<AppState>>, request: HeaderMap) -> Response {
    let tag = HeaderValue::from_str(&format!("W/\"{}\"", site.panel_assets.version));
    let tag = tag.unwrap_or_else(|_| HeaderValue::from_static("W/\"\""));
    let mut response = if request.contains_key(IF_NONE_MATCH) && matches_etag(&request, &tag) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        add_asset_headers(response.headers_mut(), CACHE_REVALIDATE);
        response
    } else {
        asset_response(&site.panel_assets.index, &request, CACHE_REVALIDATE)
    };
    // A refusal is no version of the page.
    if response.status() == StatusCode::OK || response.status() == StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// A file of the page. After an upgrade, and between replicas of different releases, a page may ask for another version
/// than ours; what we have serves it better than nothing, but is not to be kept under that name.
pub(crate) async fn get_panel_asset(
    State(site): State<Arc<AppState>>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: HeaderMap,
) -> Response {
    let Ok(Path((version, name))) = path else {
        return ProblemDetails::new(
            ProblemKind::NotFound,
            "the path is not percent-encoded UTF-8",
        )
        .into_response();
    };
    let keep = if version == site.panel_assets.version {
        CACHE_IMMUTABLE
    } else {
        "no-store"
    };
    match site.panel_assets.find_asset(&name) {
        Some(file) => asset_response(file, &request, keep),
        None => ProblemDetails::new(ProblemKind::NotFound, "the panel has no such file")
            .with_got(&name)
            .into_response(),
    }
}

/// What the panel's lines begin with.
pub(crate) async fn get_panel_history(
    State(site): State<Arc<AppState>>,
    request: HeaderMap,
) -> Response {
    asset_response(
        &site.panel_history.history_asset(site.clock.now()),
        &request,
        "no-store",
    )
}

fn asset_response(file: &PanelAsset, request: &HeaderMap, keep: &'static str) -> Response {
    let (body, coding) = match select_form(&file.body, &file.forms, request) {
        Ok(form) => form,
        Err(problem) => return problem.into_response(),
    };
    let length = HeaderValue::from(body.len());
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    headers.insert(CONTENT_LENGTH, length);
    set_content_encoding(headers, coding);
    add_asset_headers(headers, keep);
    response
}

fn add_asset_headers(headers: &mut HeaderMap, keep: &'static str) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(keep));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PANEL_CSP));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
