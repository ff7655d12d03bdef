//! `healthcheck`: one question to a running service, for container health checks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use url::{Position, Url};

use super::arguments::HealthcheckArguments;
use super::terminal;
use super::terminal::CommandError;

/// The total: a service that needs longer is not healthy.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(3);

/// The most of an answer that is read.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Asks once.
pub(super) fn run(arguments: &HealthcheckArguments) -> Result<ExitCode, CommandError> {
    let url = match &arguments.url {
        Some(url) => with_default_path(url.clone()),
        None => local_health_url(arguments.listen.and_then(|listen| listen.0))?,
    };
    let shown = format!(
        "http://{}{}",
        &url[Position::BeforeHost..Position::AfterPort],
        url.path()
    );
    let asked = terminal::build_small_runtime()?
        .block_on(async { tokio::time::timeout(TOTAL_TIMEOUT, check_health(&url)).await });
    match asked {
        Ok(Ok(())) => terminal::print_stdout(format!("ok: {shown}\n"))?,
        Ok(Err(error)) => return Err(error.context(format!("{shown} is not healthy")).into()),
        Err(_) => {
            return Err(anyhow::anyhow!(
                "{shown} is not healthy: no answer within {} s",
                TOTAL_TIMEOUT.as_secs()
            )
            .into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `/salud` unless the URL names another path.
fn with_default_path(mut url: Url) -> Url {
    if url.path() == "/" {
        url.set_path("/salud");
    }
    url
}

/// `/salud` of a service of this machine that listens there; on all addresses means on loopback too.
fn local_health_url(listen: Option<SocketAddr>) -> anyhow::Result<Url> {
    let mut address = listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)));
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    if address.port() == 0 {
        bail!("port 0 says nothing about where the service listens; give --url");
    }
    Url::parse(&format!("http://{address}/salud")).context("failed to make a URL of the address")
}

async fn check_health(url: &Url) -> anyhow::Result<()> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host, port))
        .await
        .context("failed to connect")?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .context("failed to speak HTTP")?;
    let _connection = AbortOnDropHandle::new(TaskTracker::new().spawn(connection));
    let request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(USER_AGENT, concat!("resumen/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .context("failed to make the request")?;
    let answer = sender
        .send_request(request)
        .await
        .context("failed to get an answer")?;
    let status = answer.status();
    if status == StatusCode::OK {
        return Ok(());
    }
    let body = Limited::new(answer.into_body(), MAX_BODY_BYTES)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    bail!("HTTP {status}{}", problem_detail(&body.unwrap_or_default()))
}

/// What a problem document tells, escaped.
fn problem_detail(body: &[u8]) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let detail = problem
        .as_ref()
        .and_then(|problem| problem.get("detail")?.as_str());
    detail
        .map(|text| {
            format!(
                ": {}",
                text.chars().take(200).collect::<String>().escape_debug()
            )
        })
        .unwrap_or_default()
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
