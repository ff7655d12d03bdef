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

use crate::fetch::Fetch;
use crate::http::Site;
use crate::http::problem::{Kind, Problem};
use crate::http::representation::{form, mark_coding, none_match};

use super::page::File;

/// Only our own files run and only our own routes are asked; text cannot become markup, whatever a script does.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Asked for again each time; unchanged it costs a 304.
const ALWAYS_ASK: &str = "no-cache";

/// Under a name that holds its version a file never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The page.
pub(in crate::http) async fn front<F: Fetch>(
    State(site): State<Arc<Site<F>>>,
    request: HeaderMap,
) -> Response {
    let tag = HeaderValue::from_str(&format!("W/\"{}\"", site.page.version));
    let tag = tag.unwrap_or_else(|_| HeaderValue::from_static("W/\"\""));
    let mut response = if request.contains_key(IF_NONE_MATCH) && none_match(&request, &tag) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        describe(response.headers_mut(), ALWAYS_ASK);
        response
    } else {
        whole(&site.page.front, &request, ALWAYS_ASK)
    };
    // A refusal is no version of the page.
    if response.status() == StatusCode::OK || response.status() == StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// A file of the page. After an upgrade, and between replicas of different releases, a page may ask for another version
/// than ours; what we have serves it better than nothing, but is not to be kept under that name.
pub(in crate::http) async fn asset<F: Fetch>(
    State(site): State<Arc<Site<F>>>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: HeaderMap,
) -> Response {
    let Ok(Path((version, name))) = path else {
        return Problem::new(Kind::NotFound, "the path is not percent-encoded UTF-8")
            .into_response();
    };
    let keep = if version == site.page.version {
        FOR_EVER
    } else {
        "no-store"
    };
    match site.page.file(&name) {
        Some(file) => whole(file, &request, keep),
        None => Problem::new(Kind::NotFound, "the panel has no such file")
            .got(&name)
            .into_response(),
    }
}

/// What the panel's lines begin with.
pub(in crate::http) async fn history<F: Fetch>(
    State(site): State<Arc<Site<F>>>,
    request: HeaderMap,
) -> Response {
    whole(&site.history.file(site.clock.now()), &request, "no-store")
}

fn whole(file: &File, request: &HeaderMap, keep: &'static str) -> Response {
    let (body, coding) = match form(&file.body, &file.forms, request) {
        Ok(form) => form,
        Err(problem) => return problem.into_response(),
    };
    let length = HeaderValue::from(body.len());
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.kind));
    headers.insert(CONTENT_LENGTH, length);
    mark_coding(headers, coding);
    describe(headers, keep);
    response
}

fn describe(headers: &mut HeaderMap, keep: &'static str) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(keep));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
