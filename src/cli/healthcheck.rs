//! `healthcheck`: sends one request to a running service, for container health checks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Collected, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use url::{Position, Url};

use super::arguments::HealthcheckArguments;
use super::command::{self, CommandError};
use super::terminal::print_stdout;

/// Time limit for connecting, the request and the response together.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum size of the body of an error response.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Maximum number of characters of a problem's detail in the error.
const MAX_DETAIL_CHARS: usize = 200;

/// Sends one request. Returns an error unless the response is 200.
pub(super) fn run(arguments: &HealthcheckArguments) -> Result<ExitCode, CommandError> {
    let url = match &arguments.url {
        Some(url) => with_default_path(url.clone()),
        None => local_health_url(arguments.listen.and_then(|listen| listen.0))?,
    };
    // Without user, password and query: those may be secrets.
    let authority = &url[Position::BeforeHost..Position::AfterPort];
    let shown = format!("http://{authority}{}", url.path());
    command::build_small_runtime()?
        .block_on(async { timeout(TOTAL_TIMEOUT, check_health(&url)).await })
        .unwrap_or_else(|_| Err(anyhow!("no answer within {} s", TOTAL_TIMEOUT.as_secs())))
        .with_context(|| format!("{shown} is not healthy"))?;
    print_stdout(format!("ok: {shown}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Sets the path to `/salud` if the URL has none.
fn with_default_path(mut url: Url) -> Url {
    if url.path() == "/" {
        url.set_path("/salud");
    }
    url
}

/// Returns the URL of `/salud` of the service on this machine that listens on `listen`, by default port 8080.
fn local_health_url(listen: Option<SocketAddr>) -> anyhow::Result<Url> {
    let mut address = listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)));
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    if address.port() == 0 {
        bail!("port 0 is not the port that the service listens on; give --url");
    }
    Url::parse(&format!("http://{address}/salud")).context("failed to build the URL")
}

async fn check_health(url: &Url) -> anyhow::Result<()> {
    // A URL has an IPv6 address in brackets, the resolver takes it without.
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host, port))
        .await
        .context("failed to connect")?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.context("failed to start HTTP")?;
    // The connection's task does the I/O of `sender`; it ends with this function.
    let _connection = AbortOnDropHandle::new(TaskTracker::new().spawn(connection));
    let request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(USER_AGENT, concat!("resumen/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .context("failed to build the request")?;
    let response = sender
        .send_request(request)
        .await
        .context("failed to get a response")?;
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(());
    }
    let body = Limited::new(response.into_body(), MAX_BODY_BYTES)
        .collect()
        .await;
    let body = body.map(Collected::to_bytes).unwrap_or_default();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    if let Some(detail) = problem["detail"].as_str() {
        // The response may come from another program than expected: its text is shortened and escaped.
        let detail: String = detail.chars().take(MAX_DETAIL_CHARS).collect();
        bail!("HTTP {status}: {}", detail.escape_debug());
    }
    bail!("HTTP {status}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspecified_address_uses_loopback() {
        let url = |listen: &str| {
            local_health_url(Some(listen.parse().unwrap()))
                .unwrap()
                .to_string()
        };
        assert_eq!(
            local_health_url(None).unwrap().as_str(),
            "http://127.0.0.1:8080/salud"
        );
        assert_eq!(url("0.0.0.0:9"), "http://127.0.0.1:9/salud");
        assert_eq!(url("[::]:9"), "http://[::1]:9/salud");
        assert_eq!(url("10.1.2.3:80"), "http://10.1.2.3/salud");
        assert!(local_health_url(Some(([127, 0, 0, 1], 0).into())).is_err());
    }
}
