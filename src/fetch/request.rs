//! HTTP requests from configured ones.

use bytes::Bytes;
use http::Method;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap,
    HeaderName, HeaderValue, USER_AGENT,
};
use reqwest::{Body, Request};
use url::{Position, Url, form_urlencoded};

use crate::domain::{
    BodyFormat, Code, Failure, ProviderRequest, RequestBody, RequestTime, encode_url_part,
};

use super::credentials::{basic_credentials, remove_unsent_parts};

const DEFAULT_USER_AGENT: &str = concat!("resumen/", env!("CARGO_PKG_VERSION"));

/// Returns the request to send, with its dates at `time`. Configured headers override the
/// default ones.
pub(super) fn build_request(
    request: &ProviderRequest,
    time: RequestTime<'_>,
) -> Result<Request, Failure> {
    let method = Method::from_bytes(request.method.as_bytes()).map_err(unwritable)?;
    let body = request
        .body
        .as_ref()
        .map(|body| resolve_body(body, time))
        .transpose()?;
    let mut written = Request::new(method, resolve_url(request, time)?);
    *written.headers_mut() = request_headers(request, time, body.as_ref().map(Bytes::len))?;
    *written.body_mut() = body.map(Body::from);
    Ok(written)
}

/// Returns the URL without user, password and fragment. The query of `request` is appended.
fn resolve_url(request: &ProviderRequest, time: RequestTime<'_>) -> Result<Url, Failure> {
    let mut url = match &request.url_text {
        None => request.url.clone(),
        Some(text) => Url::parse(&text.resolve_url(time)?).map_err(unwritable)?,
    };
    remove_unsent_parts(&mut url);
    if !request.query.is_empty() {
        let mut query = url.query().unwrap_or_default().to_owned();
        for (name, value) in &request.query {
            let value = value.resolve(time)?;
            if !query.is_empty() {
                query.push('&');
            }
            query += &[&encode_url_part(name), "=", &encode_url_part(&value)].concat();
        }
        url.set_query(Some(&query));
    }
    Ok(url)
}

fn resolve_body(body: &RequestBody, time: RequestTime<'_>) -> Result<Bytes, Failure> {
    let text = match body {
        RequestBody::Text(text) => text.resolve(time)?.into_owned(),
        RequestBody::Form(fields) => {
            let mut form = form_urlencoded::Serializer::new(String::new());
            for (name, value) in fields {
                form.append_pair(name, &value.resolve(time)?);
            }
            form.finish()
        }
    };
    Ok(text.into())
}

fn unwritable(_: impl std::error::Error) -> Failure {
    unwritable_request()
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

/// Returns the headers of a request whose body has `length` bytes; `None` without a body.
fn request_headers(
    request: &ProviderRequest,
    time: RequestTime<'_>,
    length: Option<usize>,
) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    // Inserted first, because some devices read only the first header. With HTTP/2 it equals
    // `:authority` (RFC 9113, section 8.3.1).
    let host = HeaderValue::try_from(host_and_port(&request.url)).map_err(unwritable)?;
    headers.insert(HOST, host);
    // Appended, not inserted: a configured list may repeat a name.
    for (name, value) in &request.headers {
        let value = value.resolve(time)?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(unwritable)?;
        let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(unwritable)?;
        // Keeps credentials out of `Debug` output and out of the compression table of HTTP/2.
        value.set_sensitive(true);
        headers.append(name, value);
    }
    let mut set_default = |name, value| {
        headers.entry(name).or_insert(value);
    };
    set_default(USER_AGENT, HeaderValue::from_static(DEFAULT_USER_AGENT));
    set_default(
        ACCEPT,
        HeaderValue::from_static(accepted_types(&request.format)),
    );
    set_default(ACCEPT_ENCODING, HeaderValue::from_static("gzip, br, zstd"));
    let media_type = match &request.body {
        Some(RequestBody::Text(_)) => Some("application/json"),
        Some(RequestBody::Form(_)) => Some("application/x-www-form-urlencoded"),
        None => None,
    };
    if let Some(media_type) = media_type {
        set_default(CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    if let Some(credentials) = basic_credentials(&request.url, request.credentials.as_ref()) {
        set_default(AUTHORIZATION, credentials);
    }
    // Without a body, hyper omits the length, which RFC 9110, section 8.6, recommends.
    let length = length.unwrap_or_default();
    if matches!(&*request.method, "POST" | "PUT" | "PATCH") || length > 0 {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(headers)
}

/// Returns the `Accept` of a format. Except for JSON, a server without a matching type may send another one: the types of
/// these formats differ between servers.
const fn accepted_types(format: &BodyFormat) -> &'static str {
    match format {
        BodyFormat::Json => "application/json",
        BodyFormat::JsonLines => "application/x-ndjson, application/jsonl, */*;q=0.5",
        BodyFormat::Text => "text/plain, */*;q=0.5",
        BodyFormat::Csv(_) => "text/csv, */*;q=0.5",
        BodyFormat::Xml => "application/xml, text/xml, application/*;q=0.9, */*;q=0.5",
        BodyFormat::Html { .. } => "text/html, application/xhtml+xml, */*;q=0.5",
        BodyFormat::Prometheus => {
            "text/plain;version=0.0.4, application/openmetrics-text;q=0.8, */*;q=0.5"
        }
    }
}

/// Returns the host, with the port if it is not the default of the scheme.
fn host_and_port(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AuthValues, Credentials, Time};

    #[test]
    fn debug_output_hides_credentials() {
        let url = Url::parse("http://localhost/").unwrap();
        let mut with_user = ProviderRequest::get(url.clone());
        with_user.headers = vec![("X-Key".into(), "api-key-value".into())];
        with_user.credentials = Some(Credentials {
            username: "user".into(),
            password: "password".into(),
        });
        let values = AuthValues {
            fields: vec![("token".into(), "token-value".into())],
            cookies: vec![("sid".into(), "cookie-value".into())],
        };
        let with_token = ProviderRequest::get(url).authorize(&values).unwrap();
        for request in [with_user, with_token] {
            let time = RequestTime {
                now: Time::default(),
                time_zone: None,
            };
            let headers = build_request(&request, time).unwrap().headers().clone();
            assert!(headers[AUTHORIZATION].is_sensitive());
            let shown = format!("{headers:?}");
            assert!(!shown.contains("-value"), "{shown}");
        }
    }
}
