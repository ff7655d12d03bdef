//! From the configuration's request to the one that is sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, USER_AGENT,
};
use http::{Method, Request, Uri};
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use url::{Position, Url};

use crate::domain;
use crate::domain::{Code, Failure};

use super::connector::ConnectTarget;
use super::proxy;

const DEFAULT_USER_AGENT: &str = concat!("resumen/", env!("CARGO_PKG_VERSION"));

/// The request that is sent to `target`. What the configuration's `headers` state wins over everything.
pub(super) fn build_request(
    request: &domain::ProviderRequest,
    target: &ConnectTarget,
) -> Result<Request<Full<Bytes>>, Failure> {
    try_build_request(request, target).map_err(|_| unwritable_request())
}

/// The failure of a request that no valid configuration has.
pub(super) fn unwritable_request() -> Failure {
    Failure::new(
        Code::HttpProtocol,
        "the request cannot be written in HTTP/1.1",
    )
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

fn try_build_request(
    request: &domain::ProviderRequest,
    target: &ConnectTarget,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let url = &request.url;
    let plain_proxy = target.proxy.as_ref().filter(|_| !target.is_https);
    let body = request
        .body
        .as_ref()
        .map(|body| Bytes::copy_from_slice(body.as_bytes()))
        .unwrap_or_default();
    let mut written = Request::new(Full::new(body));
    *written.method_mut() = Method::from_bytes(request.method.as_bytes())?;
    *written.uri_mut() = request_uri(url, plain_proxy.is_some())?;
    *written.headers_mut() = request_headers(request)?;
    if let Some(credentials) = plain_proxy.and_then(proxy::proxy_authorization) {
        written
            .headers_mut()
            .entry(PROXY_AUTHORIZATION)
            .or_insert(credentials);
    }
    Ok(written)
}

/// Origin-form, or for a plain proxy absolute-form; never userinfo or fragment.
fn request_uri(url: &Url, absolute: bool) -> Result<Uri, http::Error> {
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let uri = if absolute {
        format!("{}://{}{path}", url.scheme(), host_and_port(url))
    } else {
        path.to_owned()
    };
    Ok(uri.parse::<Uri>()?)
}

fn request_headers(request: &domain::ProviderRequest) -> Result<HeaderMap, http::Error> {
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
    if let Some(credentials) = basic_credentials(request.url.username(), request.url.password()) {
        default(AUTHORIZATION, credentials);
    }
    Ok(headers)
}

/// The host, with the port if it is not the scheme's own.
fn host_and_port(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}
