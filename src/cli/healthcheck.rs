//! `healthcheck`: sends one request to a running service, for container health checks.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::time::timeout;
use url::{Position, Url};

use super::arguments::HealthcheckArguments;
use super::command::{self, CommandError, read_env_var};
use super::terminal::print_stdout;
use crate::config::{self, ListenAddress};
use crate::domain::{Name, Provider, ProviderRequest, Redactor};
use crate::fetch::{Fetch as _, HttpFetch};
use crate::process::Clock;
use crate::server::probe_health;

/// Time limit for connecting, the request and the response together.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum size of the body of a response, in bytes.
const MAX_BODY_BYTES: u64 = 64 * 1024;

/// Sends one request. Returns an error unless the response is 200.
pub(super) fn run(arguments: &HealthcheckArguments) -> Result<ExitCode, CommandError> {
    let runtime = command::build_small_runtime()?;
    let shown = if let Some(url) = &arguments.url {
        let url = with_default_path(url.clone());
        // Without user, password and query: those may be secrets.
        let authority = &url[Position::BeforeHost..Position::AfterPort];
        let shown = format!("http://{authority}{}", url.path());
        runtime
            .block_on(check_url(&url, Clock::start()))
            .with_context(|| format!("{shown} is not healthy"))?;
        shown
    } else {
        let target = HealthTarget::find(arguments)?;
        let probe = probe_health(&target.address, target.uses_tls);
        runtime
            .block_on(async { timeout(TOTAL_TIMEOUT, probe).await })
            .unwrap_or_else(|_| Err(anyhow!("no answer within 3 s")))
            .with_context(|| format!("{} is not healthy", target.address))?;
        target.address.to_string()
    };
    print_stdout(format!("ok: {shown}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// The listener that is asked without `--url`.
struct HealthTarget {
    address: ListenAddress,
    uses_tls: bool,
}

impl HealthTarget {
    /// The address of `admin_listen`, else that of `--listen`, else that of `listen`. Of the
    /// configuration only `[server]` counts, and its problems do not: the service goes on while its file
    /// is being edited, and so must its health checks.
    fn find(arguments: &HealthcheckArguments) -> anyhow::Result<Self> {
        let path = config::find_path(arguments.configuration.path().as_deref(), &read_env_var);
        let server = config::load_server_settings(&path, &read_env_var);
        let listen = arguments.listen.clone().and_then(|listen| listen.0);
        let address = server.admin_listen.or(listen).unwrap_or(server.listen);
        let ip = address.ip();
        if ip.is_some_and(|ip| ip.port() == 0) {
            bail!("port 0 is not the port that the service listens on; give --url");
        }
        let requires_certificate = server
            .tls
            .as_ref()
            .is_some_and(|tls| tls.client_ca_pem.is_some());
        if ip.is_some() && requires_certificate {
            bail!(
                "clients of {address} need a certificate (`client_ca_file`); for health checks, set \
                 server.admin_listen to a Unix socket, such as \"unix:/run/resumen/admin.sock\""
            );
        }
        Ok(Self {
            address,
            uses_tls: server.tls.is_some(),
        })
    }
}

/// Sets the path to `/salud` if the URL has none.
fn with_default_path(mut url: Url) -> Url {
    if url.path() == "/" {
        url.set_path("/salud");
    }
    url
}

async fn check_url(url: &Url, clock: Clock) -> anyhow::Result<()> {
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
