//! The panel: the page, its files and the history of its charts.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, StatusCode};
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::{Source, SourceIdentity};
use crate::panel::{PanelAsset, appearance_document, definition_document};
use crate::server::{
    ProblemDetails, ProblemKind, matches_etag, no_store_response, select_form, set_content_encoding,
};

use super::query::unknown_source_problem;
use super::state::AppState;

/// Only the panel's own files run, and they connect only to this server. Trusted Types are
/// forbidden, so that no script can turn a provider's text into markup.
const PANEL_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The images of a page, and of one whose configuration shows the images of a provider.
const OWN_IMAGES: &str = "img-src 'self' data:";
const ALL_IMAGES: &str = "img-src 'self' data: https: http:";

/// For the page: a browser revalidates it on every load and gets a 304 while it is unchanged.
const CACHE_REVALIDATE: &str = "no-cache";

/// For files whose path contains their version.
const CACHE_IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// `/`: the page.
pub(super) async fn get_panel(
    State(state): State<Arc<AppState>>,
    request: HeaderMap,
) -> Result<Response, ProblemDetails> {
    page_response(&state, &state.panel_assets.index, &request)
}

/// `/fuente/{source}`: the page of one source.
pub(super) async fn get_source_page(
    State(state): State<Arc<AppState>>,
    name: Result<Path<String>, PathRejection>,
    request: HeaderMap,
) -> Result<Response, ProblemDetails> {
    find_source(&state, name)?;
    page_response(&state, &state.panel_assets.source_page, &request)
}

/// `/panel/fuente/{source}`: what the configuration says about the providers of a source, and its history.
pub(super) async fn get_source_definition(
    State(state): State<Arc<AppState>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, ProblemDetails> {
    let source = find_source(&state, name)?;
    let identity = SourceIdentity::from_source(&source);
    let history = state.panel_history.source_json(&identity);
    let document = definition_document(&source, history.as_deref());
    Ok(no_store_response("application/json", document))
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
    let Path((version, name)) = path.map_err(|_| undecodable_path())?;
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

/// axum's own rejection is plain text with 400; every error here is a problem document.
fn undecodable_path() -> ProblemDetails {
    let detail = "the path is not percent-encoded UTF-8";
    ProblemDetails::new(ProblemKind::NotFound, detail)
}

fn find_source(
    state: &AppState,
    name: Result<Path<String>, PathRejection>,
) -> Result<Arc<Source>, ProblemDetails> {
    let Path(name) = name.map_err(|_| undecodable_path())?;
    let snapshot = state.server.cache.snapshot();
    let source_set = snapshot.source_set();
    let source = source_set.get(&name).map(Arc::clone);
    source.ok_or_else(|| unknown_source_problem(ProblemKind::NoSuchSource, &name, source_set))
}

/// The content policy of the pages, by the configuration: who may embed them, and whether they show images of
/// other servers.
fn page_policy(state: &AppState) -> Bytes {
    let source_set = Arc::clone(state.server.cache.snapshot().source_set());
    let build = || {
        let origins = state.server.settings.frame_ancestors.join(" ");
        let sources = source_set.sources().iter();
        let mut paths = sources.flat_map(|source| &source.appearance.paths);
        let has_images = paths.any(|(_, path)| path.kind.as_deref() == Some("image"));
        let images = if has_images { ALL_IMAGES } else { OWN_IMAGES };
        format!("{PANEL_CSP}; {images}; frame-ancestors 'self' {origins}")
    };
    state.panel_policy.get_or_build(&source_set, build)
}

fn page_response(
    state: &AppState,
    page: &PanelAsset,
    request: &HeaderMap,
) -> Result<Response, ProblemDetails> {
    let policy = page_policy(state);
    // A browser keeps the policy with the page, so a page under another policy is another page.
    let etag = format!(
        "W/\"{}-{:x}\"",
        state.panel_assets.version,
        xxh3_64(&policy)
    );
    let etag = HeaderValue::try_from(etag).unwrap_or_else(|_| HeaderValue::from_static("W/\"\""));
    let mut response = if matches_etag(request, &etag) {
        // A 304 carries the headers of the 200 that it stands for (RFC 9110 §15.4.5).
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        add_asset_headers(response.headers_mut(), CACHE_REVALIDATE);
        response
    } else {
        asset_response(page, request, CACHE_REVALIDATE)?
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, etag);
    if let Ok(policy) = HeaderValue::from_maybe_shared(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
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
