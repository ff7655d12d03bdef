//! The egress proxy: tunnels for `https`, credentials for both schemes.

use bytes::Bytes;
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

use crate::domain::{Code, Failure};

use super::link::{self, HEAD};
use super::paced::Paced;
use super::request::basic;

/// The `Proxy-Authorization` of a proxy's URL, if it has a user.
pub(super) fn authorization(proxy: &Url) -> Option<HeaderValue> {
    basic(proxy.username(), proxy.password())
}

/// Asks the proxy at the other end of `stream` for a tunnel to `authority` (`host:port`).
pub(super) async fn tunnel(
    stream: Paced<TcpStream>,
    proxy: &Url,
    authority: &str,
) -> Result<Paced<TcpStream>, Failure> {
    let request =
        ask(proxy, authority).map_err(|_| failed("the request for a tunnel cannot be written"))?;
    let (mut sender, mut connection) = http1::Builder::new()
        .max_buf_size(HEAD)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|_| failed("the proxy broke off the connection"))?;
    let answer = link::drive(sender.send_request(request), |cx| {
        connection.poll_without_shutdown(cx).is_ready()
    })
    .await;
    let status = answer
        .map_err(|error| failed(format!("the proxy gave no tunnel: {error}")))?
        .status();
    if !status.is_success() {
        return Err(refused(status));
    }
    let parts = connection.into_parts();
    if !parts.read_buf.is_empty() {
        return Err(failed("the proxy sent bytes before the tunnel's first"));
    }
    Ok(parts.io.into_inner())
}

fn ask(proxy: &Url, authority: &str) -> Result<Request<Empty<Bytes>>, http::Error> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(authority.parse::<Uri>()?)
        .header(HOST, authority);
    if let Some(credentials) = authorization(proxy) {
        request = request.header(PROXY_AUTHORIZATION, credentials);
    }
    request.body(Empty::new())
}

fn refused(status: StatusCode) -> Failure {
    let remedy = match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => ": it wants a user and a password in `proxy`",
        _ => "",
    };
    failed(format!(
        "the proxy gave no tunnel (HTTP {}){remedy}",
        status.as_str()
    ))
}

fn failed(message: impl Into<std::sync::Arc<str>>) -> Failure {
    Failure::new(Code::ConnectFailed, message)
}
