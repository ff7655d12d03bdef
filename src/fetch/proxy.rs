//! Tunnels through the HTTP proxy (CONNECT), for `https` providers.

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

use crate::domain::{Code, Failure};

use super::credentials::basic_credentials;
use super::throttle::ThrottledStream;
use super::upstream_connection;
use super::upstream_connection::MAX_HEAD_BYTES;

/// Requests a tunnel to `authority` (`host:port`) from the proxy that `stream` is connected to.
/// Returns the stream, which then reaches `authority`.
pub(super) async fn open_tunnel(
    stream: ThrottledStream<TcpStream>,
    proxy: &Url,
    authority: &str,
) -> Result<ThrottledStream<TcpStream>, Failure> {
    let request = build_connect_request(proxy, authority)
        .map_err(|_| connect_failure("the request for a tunnel cannot be written"))?;
    let (mut sender, mut connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|_| connect_failure("the proxy broke off the connection"))?;
    let response = upstream_connection::drive_until_ready(sender.send_request(request), |cx| {
        connection.poll_without_shutdown(cx).is_ready()
    })
    .await;
    let status = response
        .map_err(|error| connect_failure(format!("the proxy gave no tunnel: {error}")))?
        .status();
    if !status.is_success() {
        return Err(tunnel_refused_failure(status));
    }
    // Bytes read ahead would be lost to the TLS handshake, and a proxy has none to send before it.
    let parts = connection.into_parts();
    if !parts.read_buf.is_empty() {
        return Err(connect_failure(
            "the proxy sent bytes before the tunnel's first",
        ));
    }
    Ok(parts.io.into_inner())
}

fn build_connect_request(
    proxy: &Url,
    authority: &str,
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(authority.parse::<Uri>()?)
        .header(HOST, authority);
    if let Some(credentials) = basic_credentials(proxy) {
        request = request.header(PROXY_AUTHORIZATION, credentials);
    }
    request.body(Empty::new())
}

fn tunnel_refused_failure(status: StatusCode) -> Failure {
    let remedy = match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => ": set a user and a password in `proxy`",
        _ => "",
    };
    connect_failure(format!(
        "the proxy gave no tunnel (HTTP {}){remedy}",
        status.as_str()
    ))
}

fn connect_failure(message: impl Into<std::sync::Arc<str>>) -> Failure {
    Failure::new(Code::ConnectFailed, message)
}
