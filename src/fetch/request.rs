//! From the request of the configuration to the one that is sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap,
    HeaderName, HeaderValue, USER_AGENT,
};
use percent_encoding::percent_decode_str;
use reqwest::{Body, Request};
use url::{Position, Url};

use crate::domain::{Code, Failure, ProviderRequest};

const DEFAULT_USER_AGENT: &str = concat!("resumen/", env!("CARGO_PKG_VERSION"));

/// The request as it is sent. A header of the configuration's `headers` replaces the default one.
pub(super) fn build_request(request: &ProviderRequest) -> Result<Request, Failure> {
    try_build_request(request).map_err(|_| unwritable_request())
}

/// The failure of a request that no valid configuration has.
pub(super) fn unwritable_request() -> Failure {
    Failure::new(Code::HttpProtocol, "the request cannot be written in HTTP")
}

/// Whether sending the request twice has the effect of sending it once.
pub(super) fn is_repeatable(request: &ProviderRequest) -> bool {
    matches!(&*request.method, "GET" | "HEAD")
}

/// `Basic` credentials, percent-encoded in a URL.
pub(super) fn basic_credentials(user: &str, password: Option<&str>) -> Option<HeaderValue> {
    if user.is_empty() && password.is_none() {
        return None;
    }
    let mut credentials: Vec<u8> = percent_decode_str(user).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(password.unwrap_or_default()));
    let mut value =
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(&credentials))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn try_build_request(request: &ProviderRequest) -> Result<Request, http::Error> {
    let method = Method::from_bytes(request.method.as_bytes())?;
    let mut url = request.url.clone();
    // Both succeed for a URL with a host. Credentials are sent as a header, a fragment never.
    let _ = (url.set_username(""), url.set_password(None));
    url.set_fragment(None);
    let mut written = Request::new(method, url);
    *written.headers_mut() = request_headers(request)?;
    if let Some(body) = &request.body {
        *written.body_mut() = Some(Body::from(Bytes::copy_from_slice(body.as_bytes())));
    }
    Ok(written)
}

fn request_headers(request: &ProviderRequest) -> Result<HeaderMap, http::Error> {
    let mut headers = HeaderMap::new();
    // The first line of the head: some devices read no further. By HTTP/2 it equals `:authority` (RFC 9113, 8.3.1).
    headers.insert(HOST, HeaderValue::try_from(host_and_port(&request.url))?);
    for (name, value) in &request.headers {
        headers.append(
            HeaderName::from_bytes(name.as_bytes())?,
            HeaderValue::from_bytes(value.as_bytes())?,
        );
    }
    let mut set_default = |name, value| {
        headers.entry(name).or_insert(value);
    };
    set_default(USER_AGENT, HeaderValue::from_static(DEFAULT_USER_AGENT));
    set_default(ACCEPT, HeaderValue::from_static("application/json"));
    set_default(ACCEPT_ENCODING, HeaderValue::from_static("gzip, br, zstd"));
    if request.body.is_some() {
        set_default(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(credentials) = basic_credentials(request.url.username(), request.url.password()) {
        set_default(AUTHORIZATION, credentials);
    }
    // hyper writes the length of a body, and none without one (RFC 9110, 8.6: it should).
    let length = request.body.as_ref().map_or(0, |body| body.len());
    if matches!(&*request.method, "POST" | "PUT" | "PATCH") || length > 0 {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(headers)
}

/// The host, with the port if it is not the scheme's own.
fn host_and_port(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}
