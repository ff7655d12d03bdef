//! HTTP requests from configured ones.

use bytes::Bytes;
use http::Method;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap,
    HeaderName, HeaderValue, USER_AGENT,
};
use reqwest::{Body, Request};
use url::{Position, Url};

use crate::domain::{Code, Failure, ProviderRequest};

use super::credentials::basic_credentials;

const DEFAULT_USER_AGENT: &str = concat!("resumen/", env!("CARGO_PKG_VERSION"));

/// Returns the request to send. Configured headers override the default ones.
pub(super) fn build_request(request: &ProviderRequest) -> Result<Request, Failure> {
    try_build_request(request).map_err(|_| unwritable_request())
}

/// Returns the failure of a request that HTTP cannot represent; validation excludes it.
pub(super) fn unwritable_request() -> Failure {
    Failure::new(Code::HttpProtocol, "the request cannot be written in HTTP")
}

/// Returns whether the request may be sent twice. Any other request uses a new connection, because
/// it could not be repeated if a pooled one is dead.
pub(super) fn is_repeatable(request: &ProviderRequest) -> bool {
    matches!(&*request.method, "GET" | "HEAD")
}

fn try_build_request(request: &ProviderRequest) -> Result<Request, http::Error> {
    let method = Method::from_bytes(request.method.as_bytes())?;
    let mut url = request.url.clone();
    // Both succeed for a URL with a host. Credentials are sent as a header, a fragment is not sent.
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
    // Inserted first, because some devices read only the first header. With HTTP/2 it equals
    // `:authority` (RFC 9113, section 8.3.1).
    headers.insert(HOST, HeaderValue::try_from(host_and_port(&request.url))?);
    // Appended, not inserted: a configured list may repeat a name.
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
    if let Some(credentials) = basic_credentials(&request.url) {
        set_default(AUTHORIZATION, credentials);
    }
    // Without a body, hyper omits the length, which RFC 9110, section 8.6, recommends.
    let length = request.body.as_ref().map_or(0, |body| body.len());
    if matches!(&*request.method, "POST" | "PUT" | "PATCH") || length > 0 {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(headers)
}

/// Returns the host, with the port if it is not the default of the scheme.
fn host_and_port(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}
