//! HTTP requests from configured ones.

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, USER_AGENT,
};
use http::{Method, Request, Uri};
use http_body_util::Full;
use url::{Position, Url};

use crate::domain::{Code, Failure, ProviderRequest};

use super::connect_target::ConnectTarget;
use super::credentials::basic_credentials;

const DEFAULT_USER_AGENT: &str = concat!("resumen/", env!("CARGO_PKG_VERSION"));

/// Returns the request to send to `target`. Configured headers override the default ones.
pub(super) fn build_request(
    request: &ProviderRequest,
    target: &ConnectTarget,
) -> Result<Request<Full<Bytes>>, Failure> {
    try_build_request(request, target).map_err(|_| unwritable_request())
}

/// Returns the failure of a request that HTTP/1.1 cannot represent; validation excludes it.
pub(super) fn unwritable_request() -> Failure {
    Failure::new(
        Code::HttpProtocol,
        "the request cannot be written in HTTP/1.1",
    )
}

fn try_build_request(
    request: &ProviderRequest,
    target: &ConnectTarget,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let url = &request.url;
    let plain_proxy = target.proxy.as_ref().filter(|_| !target.is_https);
    let body = request
        .body
        .as_ref()
        .map(|body| Bytes::copy_from_slice(body.as_bytes()))
        .unwrap_or_default();
    let mut built = Request::new(Full::new(body));
    *built.method_mut() = Method::from_bytes(request.method.as_bytes())?;
    *built.uri_mut() = request_uri(url, plain_proxy.is_some())?;
    *built.headers_mut() = request_headers(request)?;
    if let Some(credentials) = plain_proxy.and_then(basic_credentials) {
        built
            .headers_mut()
            .entry(PROXY_AUTHORIZATION)
            .or_insert(credentials);
    }
    Ok(built)
}

/// Returns the request target: origin-form, or absolute-form for a proxy (RFC 9112, section 3.2),
/// without userinfo and fragment.
fn request_uri(url: &Url, absolute: bool) -> Result<Uri, http::Error> {
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let uri = if absolute {
        format!("{}://{}{path}", url.scheme(), host_and_port(url))
    } else {
        path.to_owned()
    };
    Ok(uri.parse::<Uri>()?)
}

fn request_headers(request: &ProviderRequest) -> Result<HeaderMap, http::Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        headers.append(
            HeaderName::from_bytes(name.as_bytes())?,
            HeaderValue::from_bytes(value.as_bytes())?,
        );
    }
    let mut default = |name, value| {
        headers.entry(name).or_insert(value);
    };
    default(HOST, HeaderValue::try_from(host_and_port(&request.url))?);
    default(USER_AGENT, HeaderValue::from_static(DEFAULT_USER_AGENT));
    default(ACCEPT, HeaderValue::from_static("application/json"));
    default(ACCEPT_ENCODING, HeaderValue::from_static("gzip, br, zstd"));
    if request.body.is_some() {
        default(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(credentials) = basic_credentials(&request.url) {
        default(AUTHORIZATION, credentials);
    }
    Ok(headers)
}

/// Returns the host, with the port if it is not the default of the scheme.
fn host_and_port(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}
