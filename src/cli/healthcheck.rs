//! `healthcheck`: sends one request to a running service, for container health checks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use url::{Position, Url};

use super::arguments::HealthcheckArguments;
use super::command::{self, CommandError};
use super::terminal::print_stdout;
use crate::config::ListenAddress;
use crate::domain::{Name, Provider, ProviderRequest, Redactor};
use crate::fetch::{Fetch as _, HttpFetch};
use crate::process::Clock;

/// Time limit for connecting, the request and the response together.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum size of the body of a response, in bytes.
const MAX_BODY_BYTES: u64 = 64 * 1024;

/// Sends one request. Returns an error unless the response is 200.
pub(super) fn run(arguments: &HealthcheckArguments) -> Result<ExitCode, CommandError> {
    let url = match &arguments.url {
        Some(url) => with_default_path(url.clone()),
        None => local_health_url(arguments.listen.clone().and_then(|listen| listen.0))?,
    };
    // Without user, password and query: those may be secrets.
    let authority = &url[Position::BeforeHost..Position::AfterPort];
    let shown = format!("http://{authority}{}", url.path());
    command::build_small_runtime()?
        .block_on(check_health(&url, Clock::start()))
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
fn local_health_url(listen: Option<ListenAddress>) -> anyhow::Result<Url> {
    let mut address = match listen {
        None => SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
        Some(listen) => listen.ip().context("a Unix socket has no URL")?,
    };
    // A wildcard is an address to listen on, not one to connect to.
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

async fn check_health(url: &Url, clock: Clock) -> anyhow::Result<()> {
    let provider = Provider {
        name: Name::new("resumen")?,
        extract: ".".into(),
        request: ProviderRequest {
            // A container's own name resolves to a private address.
            allow_private: true,
            max_body: MAX_BODY_BYTES,
            ..ProviderRequest::get(url.clone())
        },
    };
    let fetch = HttpFetch::new(clock, Redactor::default());
    let response = fetch
        .fetch(&provider, clock.deadline(TOTAL_TIMEOUT).into())
        .await;
    response
        .map(drop)
        .map_err(|error| anyhow!("{}", error.failure.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspecified_address_uses_loopback() {
        let url = |listen: &str| {
            local_health_url(crate::config::parse_listen(listen).ok())
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
        assert!(local_health_url(crate::config::parse_listen("127.0.0.1:0").ok()).is_err());
    }
}
