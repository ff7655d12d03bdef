//! The command line: commands, options and help. Completions and the manual page are generated from it.

#![allow(
    clippy::doc_markdown,
    reason = "the doc comments are help texts for a terminal"
)]

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use url::Url;

use crate::config::{ListenAddress, parse_listen};

/// The commit of the build, from the variable `RESUMEN_REVISION` of the build; empty if that is unset.
pub(super) const REVISION: &str = match option_env!("RESUMEN_REVISION") {
    Some(revision) => revision,
    None => "",
};

/// The version for `--version`, with the revision if it is known.
static VERSION: LazyLock<String> = LazyLock::new(|| match REVISION {
    "" => env!("CARGO_PKG_VERSION").to_owned(),
    revision => format!("{} ({revision})", env!("CARGO_PKG_VERSION")),
});

const AFTER_HELP: &str = "\
Examples:
  resumen demo                          try it: needs no network and no configuration
  resumen check --config my.toml        validate the configuration and count its calls
  resumen once --config my.toml         fetch every source once and print a table
  resumen --config my.toml              serve on port 8080
  curl localhost:8080/resumen           the summary, from memory
  curl 'localhost:8080/resumen?fresh=1' the summary, fetched for this request

Environment:
  RESUMEN_CONFIG      configuration file, overridden by --config
  RESUMEN_LISTEN      listening address, overridden by --listen
  RESUMEN_LOG         off, error, warn, info, debug, trace or target=level, comma-separated [info]
  RESUMEN_LOG_FORMAT  text or json [text]
  NO_COLOR            if not empty, no colours

Signals: SIGTERM and SIGINT drain and stop, a second one stops at once. SIGHUP reloads the
configuration, as does a change of the file or of a file that it names.
Exit codes: 0 success, 1 failure at run time, 2 bad usage or configuration.";

/// One fast answer from many slow, unreliable APIs.
///
/// Fetches every source from its providers in the background, keeps the last good readings with their ages, and serves
/// dashboards from memory. Without a command, it serves.
#[derive(Debug, Parser)]
#[command(name = "resumen", version = VERSION.as_str(), after_help = AFTER_HELP)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(super) struct CliArguments {
    #[command(subcommand)]
    command: Option<CliCommand>,
    #[command(flatten)]
    serve: ServeArguments,
}

impl CliArguments {
    /// Returns the command; `serve` by default.
    pub(super) fn into_command(self) -> CliCommand {
        self.command.unwrap_or(CliCommand::Serve(self.serve))
    }
}

/// A command with its options.
#[derive(Debug, Subcommand)]
pub(super) enum CliCommand {
    /// Run the service (the default)
    Serve(ServeArguments),
    /// Run the service against simulated providers, without network or configuration
    Demo(DemoArguments),
    /// Run only the simulated providers, with changing values and faults on request
    #[command(
        after_help = "Example:\n  resumen simulate & curl 'http://127.0.0.1:8081/btc?delay=250ms&fail=0.2'\n\n\
        GET / lists the endpoints and the fault parameters."
    )]
    Simulate(SimulateArguments),
    /// Fetch every source once and print the summary
    #[command(after_help = "Exit code: 0 if every source is ok, 1 otherwise.\n\n\
        Examples:\n  resumen once\n  resumen once --timeout 2.5 --format json | jq .resultados.btc")]
    Once(OnceArguments),
    /// Validate the configuration and print the calls per day to each provider
    #[command(after_help = "Opens no socket unless --live is given.\n\n\
        Exit code: 0 if the configuration is valid, 2 if not, 1 if a provider failed with --live.")]
    Check(CheckArguments),
    /// Check that a running service is alive; for container health checks
    #[command(
        after_help = "Exit code: 0 if the service is alive, 1 if not, after at most 3 seconds.\n\n\
        Example, in a Dockerfile:\n  HEALTHCHECK CMD [\"resumen\", \"healthcheck\"]"
    )]
    Healthcheck(HealthcheckArguments),
    /// Print the completion script of a shell
    #[command(after_help = "Example:\n  resumen completions bash > /etc/bash_completion.d/resumen")]
    Completions {
        /// Shell to complete in
        shell: Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  resumen man | man -l -")]
    Man,
}

/// The option `--config`
#[derive(Debug, Clone, Args)]
pub(super) struct ConfigArguments {
    /// Configuration file [default: config/resumen.toml, else /etc/resumen/resumen.toml]
    #[arg(
        long,
        value_name = "PATH",
        env = "RESUMEN_CONFIG",
        hide_env_values = true
    )]
    config: Option<OsString>,
}

/// The options of `serve`
#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    pub(super) configuration: ConfigArguments,
    /// Address to listen on, overrides the configuration; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", env = "RESUMEN_LISTEN", hide_env_values = true, value_parser = parse_optional_listen)]
    pub(super) listen: Option<ListenArgument>,
    /// Share the port with other processes that were started with this option; the kernel distributes the connections
    #[arg(long)]
    pub(super) reuse_port: bool,
}

/// The options of `demo`
#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Address to listen on; port 0 selects a free port [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", env = "RESUMEN_LISTEN", hide_env_values = true, value_parser = parse_optional_listen)]
    pub(super) listen: Option<ListenArgument>,
}

/// The options of `simulate`
#[derive(Debug, Args)]
pub(super) struct SimulateArguments {
    /// Address to listen on; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081", value_parser = parse_tcp_listen)]
    pub(super) listen: SocketAddr,
}

/// The options of `once`
#[derive(Debug, Args)]
pub(super) struct OnceArguments {
    #[command(flatten)]
    pub(super) configuration: ConfigArguments,
    /// Maximum time to wait, such as 4 or 2.5 [default: server.default_timeout]
    #[arg(long, value_name = "SECONDS", value_parser = parse_timeout_seconds)]
    pub(super) timeout: Option<Duration>,
    /// Output format [default: table on a terminal, else json]
    #[arg(long, value_name = "FORMAT")]
    pub(super) format: Option<OnceFormat>,
}

/// The output format of `once`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OnceFormat {
    /// Table for a terminal
    Table,
    /// The body of GET /resumen
    Json,
}

/// The options of `check`
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    pub(super) configuration: ConfigArguments,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: CheckFormat,
    /// Also fetch each provider once and show its raw body and the extracted data
    #[arg(long)]
    pub(super) live: bool,
    /// Print the JSON Schema of the configuration file instead, without reading a configuration
    #[arg(long, conflicts_with = "live")]
    pub(super) schema: bool,
}

/// The output format of `check`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CheckFormat {
    /// Tables for a terminal
    Text,
    /// One JSON object
    Json,
}

/// The options of `healthcheck`
#[derive(Debug, Args)]
pub(super) struct HealthcheckArguments {
    #[command(flatten)]
    pub(super) configuration: ConfigArguments,
    /// URL to fetch [default: /salud of the service on this machine, at server.admin_listen, else server.listen]
    #[arg(long, value_name = "URL", value_parser = parse_http_url)]
    pub(super) url: Option<Url>,
    /// Address that the service was started with, unless it has an admin_listen
    #[arg(long, value_name = "ADDRESS", env = "RESUMEN_LISTEN", hide_env_values = true, value_parser = parse_optional_listen, conflicts_with = "url")]
    pub(super) listen: Option<ListenArgument>,
}

/// A listening address. `None` if the text is empty: a compose file passes an unset variable on as an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListenArgument(pub(super) Option<ListenAddress>);

impl ConfigArguments {
    /// Returns the path of `--config`; `None` if it is missing or empty.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let path = self.config.as_ref().filter(|path| !path.is_empty());
        path.map(PathBuf::from)
    }
}

fn parse_optional_listen(text: &str) -> Result<ListenArgument, String> {
    if text.is_empty() {
        return Ok(ListenArgument(None));
    }
    parse_listen(text).map(|address| ListenArgument(Some(address)))
}

fn parse_tcp_listen(text: &str) -> Result<SocketAddr, String> {
    let ip = parse_listen(text)?.ip();
    ip.ok_or_else(|| "expected an address and a port, such as `127.0.0.1:8081`".to_owned())
}

/// Parses seconds in the syntax of the query parameter `timeout`.
fn parse_timeout_seconds(text: &str) -> Result<Duration, String> {
    let is_number =
        |part: &str| (1..=9).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    // The digits are checked because `f64` also parses signs, exponents, `inf` and `NaN`.
    text.parse()
        .ok()
        .filter(|_| is_number(whole) && is_number(fraction))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "expected seconds above 0, such as 4 or 2.5".to_owned())
}

fn parse_http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok();
    // No `https`: the health check runs beside the service, behind the proxy that terminates TLS.
    url.filter(|url| url.scheme() == "http" && url.has_host())
        .ok_or_else(|| "expected a URL such as http://127.0.0.1:8080/salud".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn clap_definition_is_valid() {
        CliArguments::command().debug_assert();
    }

    #[test]
    fn serve_is_default_command() {
        let arguments =
            CliArguments::parse_from(["resumen", "--config", "x.toml", "--listen", "127.0.0.1:0"]);
        let CliCommand::Serve(serve) = arguments.into_command() else {
            panic!("not serve")
        };
        assert_eq!(serve.configuration.path(), Some("x.toml".into()));
        assert_eq!(
            serve.listen,
            Some(ListenArgument(parse_listen("127.0.0.1:0").ok()))
        );
    }

    #[test]
    fn empty_option_is_ignored() {
        let arguments = CliArguments::parse_from(["resumen", "--config", "", "--listen", ""]);
        let CliCommand::Serve(serve) = arguments.into_command() else {
            panic!("not serve")
        };
        assert_eq!(
            (serve.configuration.path(), serve.listen),
            (None, Some(ListenArgument(None)))
        );
    }

    #[test]
    fn timeout_matches_query_syntax() {
        assert_eq!(
            parse_timeout_seconds("2.5"),
            Ok(Duration::from_millis(2_500))
        );
        for bad in [
            "",
            "0",
            "0.0",
            "-1",
            "1e3",
            "NaN",
            "inf",
            "4s",
            ".5",
            "5.",
            "1,5",
            "+2",
            "1234567890",
        ] {
            assert!(parse_timeout_seconds(bad).is_err(), "{bad}");
        }
    }
}
