//! What the program understands, as the parser, its help, the completions and the man page tell it.

#![allow(
    clippy::doc_markdown,
    reason = "these comments are the help, which is read in a terminal"
)]

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use url::Url;

use crate::config::parse_listen;

/// The commit that the program was built from, if the build was told it (`RESUMEN_REVISION`), else nothing.
pub(super) const REVISION: &str = match option_env!("RESUMEN_REVISION") {
    Some(revision) => revision,
    None => "",
};

/// The version, and the revision if it is known.
static VERSION: LazyLock<String> = LazyLock::new(|| match REVISION {
    "" => env!("CARGO_PKG_VERSION").to_owned(),
    revision => format!("{} ({revision})", env!("CARGO_PKG_VERSION")),
});

const AFTER_HELP: &str = "\
Examples:
  resumen demo                          see it work: no network, no configuration
  resumen check --config my.toml        is my configuration right, and how many calls does it cost?
  resumen once --config my.toml         ask every source once, show a table
  resumen --config my.toml              serve it on port 8080
  curl localhost:8080/resumen           what dashboards read
  curl 'localhost:8080/resumen?fresh=1' ask the providers now

Environment:
  RESUMEN_CONFIG      the configuration file, unless --config is given
  RESUMEN_LISTEN      where to listen, unless --listen is given
  RESUMEN_LOG         off, error, warn, info, debug or trace; target=level; several with commas
  RESUMEN_LOG_FORMAT  text or json [text]
  NO_COLOR            no colours, even on a terminal

Signals: SIGTERM and SIGINT drain and stop, a second one ends at once; SIGHUP reloads, as does a change of the file or
of one that it names.
Exit codes: 0 fine, 1 failed at run time, 2 bad usage or configuration.";

/// One fast, honest answer from many slow, unreliable APIs.
///
/// Asks the providers of every source in the background, keeps the last good readings with their ages, and answers
/// many dashboards from memory. Without a command it serves.
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
    /// The command, `serve` if none was named.
    pub(super) fn into_command(self) -> CliCommand {
        self.command.unwrap_or(CliCommand::Serve(self.serve))
    }
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(super) enum CliCommand {
    /// Run the service (the default)
    Serve(ServeArguments),
    /// Run the service against simulated providers: no network, no configuration
    Demo(DemoArguments),
    /// Run only the simulated providers: moving values, faults on request
    #[command(
        after_help = "Example:\n  resumen simulate & curl 'http://127.0.0.1:8081/btc?delay=250ms&fail=0.2'\n\n\
        GET / lists what there is and every fault that a query can ask for."
    )]
    Simulate(SimulateArguments),
    /// Ask every source once and print the answer
    #[command(after_help = "Exit code: 0 if every source is ok, 1 otherwise.\n\n\
        Examples:\n  resumen once\n  resumen once --timeout 2.5 --format json | jq .resultados.btc")]
    Once(OnceArguments),
    /// Validate the configuration and tell the calls per day that each provider will see
    #[command(after_help = "Opens no socket unless --live is given.\n\n\
        Exit code: 0 if the configuration is valid, 2 if not, 1 if a provider failed with --live.")]
    Check(CheckArguments),
    /// Ask a running service whether it lives; for container health checks
    #[command(
        after_help = "Exit code: 0 if it does, 1 if not, after at most 3 seconds.\n\n\
        Example, in a Dockerfile:\n  HEALTHCHECK CMD [\"resumen\", \"healthcheck\"]"
    )]
    Healthcheck(HealthcheckArguments),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  resumen completions bash > /etc/bash_completion.d/resumen")]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  resumen man | man -l -")]
    Man,
}

/// Which configuration.
#[derive(Debug, Clone, Args)]
pub(super) struct ConfigArguments {
    /// The configuration [default: config/resumen.toml, else /etc/resumen/resumen.toml]
    #[arg(
        long,
        value_name = "PATH",
        env = "RESUMEN_CONFIG",
        hide_env_values = true
    )]
    config: Option<OsString>,
}

/// `serve`
#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    pub(super) configuration: ConfigArguments,
    /// Where to listen; wins over the configuration; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", env = "RESUMEN_LISTEN", hide_env_values = true, value_parser = parse_optional_listen)]
    pub(super) listen: Option<ListenArgument>,
    /// Share the port with another program that was started with this too; while both run, each gets a part of the
    /// connections
    #[arg(long)]
    pub(super) reuse_port: bool,
}

/// `demo`
#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Where to listen; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", env = "RESUMEN_LISTEN", hide_env_values = true, value_parser = parse_optional_listen)]
    pub(super) listen: Option<ListenArgument>,
}

/// `simulate`
#[derive(Debug, Args)]
pub(super) struct SimulateArguments {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081", value_parser = parse_listen)]
    pub(super) listen: SocketAddr,
}

/// `once`
#[derive(Debug, Args)]
pub(super) struct OnceArguments {
    #[command(flatten)]
    pub(super) configuration: ConfigArguments,
    /// Wait at most this long, such as 4 or 2.5 [default: server.default_timeout]
    #[arg(long, value_name = "SECONDS", value_parser = parse_timeout_seconds)]
    pub(super) timeout: Option<Duration>,
    /// How to print it [default: table on a terminal, else json]
    #[arg(long, value_name = "FORMAT")]
    pub(super) format: Option<OnceFormat>,
}

/// How `once` prints its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OnceFormat {
    /// For people
    Table,
    /// As the service answers
    Json,
}

/// `check`
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    pub(super) configuration: ConfigArguments,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: CheckFormat,
    /// Also fetch each provider once and show its raw and its extracted answer
    #[arg(long)]
    pub(super) live: bool,
}

/// How `check` prints its findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CheckFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// `healthcheck`
#[derive(Debug, Args)]
pub(super) struct HealthcheckArguments {
    /// What to ask [default: /salud on the port of RESUMEN_LISTEN, else on port 8080, of this machine]
    #[arg(long, value_name = "URL", value_parser = parse_http_url)]
    pub(super) url: Option<Url>,
    /// Where the service listens, if not asked by its URL
    #[arg(long, value_name = "ADDRESS", env = "RESUMEN_LISTEN", hide_env_values = true, value_parser = parse_optional_listen, conflicts_with = "url")]
    pub(super) listen: Option<ListenArgument>,
}

/// An address to listen on. Empty means not given: compose files pass variables on that nobody has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListenArgument(pub(super) Option<SocketAddr>);

impl ConfigArguments {
    /// The file that was named, if any. An empty name means none.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.config
            .as_ref()
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    }
}

fn parse_optional_listen(text: &str) -> Result<ListenArgument, String> {
    if text.is_empty() {
        return Ok(ListenArgument(None));
    }
    parse_listen(text).map(|address| ListenArgument(Some(address)))
}

/// The seconds of the query parameter `timeout`.
fn parse_timeout_seconds(text: &str) -> Result<Duration, String> {
    let part =
        |part: &str| (1..=9).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let seconds = text.parse().ok().filter(|_| part(whole) && part(fraction));
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration
        .filter(|d| !d.is_zero())
        .ok_or_else(|| "seconds above 0 are needed such as 4 or 2.5".to_owned())
}

fn parse_http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| url.scheme() == "http" && url.has_host());
    url.ok_or_else(|| "a URL is needed such as http://127.0.0.1:8080/salud".to_owned())
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
            Some(ListenArgument(Some(([127, 0, 0, 1], 0).into())))
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
