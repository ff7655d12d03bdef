//! Random requests: each response must be the one that an independent oracle expects, and never a 5xx.
//! Connections that begin with a plain request are sent twice, over the fast path and over hyper, whose
//! responses must be equal but for the ages of their renderings. The same without and with tokens, plain,
//! by TLS, and by HTTP/2.
//!
//! `RESUMEN_FUZZ=10000000 cargo test --release --test it request_fuzz -- --nocapture` sets the number of
//! requests; `RESUMEN_FUZZ_SEED` repeats a seed.

use std::net::SocketAddr;
use std::time::Duration;

use resumen::config::ServerSettings;
use resumen::domain::{Code, Schedule};

use super::fuzz_access::{AUTHORIZATION_FIELDS, ORACLE_TOKENS, OracleToken};
use super::fuzz_generator::RequestGenerator;
use super::fuzz_http2::run_http2_client;
use super::fuzz_oracle::ResponseOracle;
use super::fuzz_queries::SOURCE_DATA;
use super::fuzz_runner::{FuzzRunner, FuzzTally};
use super::fuzz_transport::FuzzTransport;
use super::{access_token, request_corpus};
use crate::support::scripted_fetch::{ScriptedAction, ScriptedFetch, test_schedule, test_source};
use crate::support::test_server::{TestServer, default_server_settings};
use crate::support::tls_client::{CertificateFiles, TestAuthority};

/// Number of requests by default: plain without tokens, and of each of the other kinds.
const DEFAULT_REQUESTS: u64 = 20_000;
const DEFAULT_VARIANT_REQUESTS: u64 = 4_000;

/// Number of concurrent clients.
const CLIENT_COUNT: u64 = 2;

/// Credentials that are accepted, with their line end.
const ACCEPTED: &str = "Authorization: Bearer every-0123456789abcdef\r\n";

/// How clients connect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FuzzProtocol {
    Plain,
    Tls,
    Http2,
}

/// What a run tests.
#[derive(Clone, Copy)]
struct FuzzVariant {
    protocol: FuzzProtocol,
    tokens: &'static [OracleToken],
}

/// A server whose responses do not change during the test: live requests fail at once, and no reading
/// becomes stale.
fn start_stable_server(settings: ServerSettings) -> TestServer {
    let hour = Duration::from_secs(3600);
    let schedule = Schedule {
        interval: hour,
        min_interval: hour,
        ..test_schedule()
    };
    let sources = ["btc", "clima", "usd"].map(|name| test_source(name, &["provider"], schedule));
    let fetch = ScriptedFetch::default();
    fetch.set_script("provider", |_| {
        ScriptedAction::Fail(Code::HttpStatus, Duration::ZERO)
    });
    let server = TestServer::start(settings, &sources, fetch);
    for name in ["btc", "clima", "usd"] {
        server.publish_reading(name, SOURCE_DATA);
        server.publish_failure(name, Code::HttpStatus, "HTTP 503 Service Unavailable");
    }
    server
}

#[allow(
    clippy::disallowed_methods,
    reason = "a setting of the test, not of the program"
)]
fn number_from_environment(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable}={text}"))
    })
}

impl FuzzVariant {
    fn settings(self, certificate: &CertificateFiles) -> ServerSettings {
        let tokens = self.tokens.iter();
        ServerSettings {
            tls: (self.protocol != FuzzProtocol::Plain).then(|| certificate.server_settings()),
            tokens: tokens
                .map(|(text, groups)| access_token(text.split('-').next().unwrap(), groups))
                .collect(),
            ..default_server_settings()
        }
    }

    /// Sends requests for at most 5 s: without a refresher, the server reports a failure after 10 s.
    fn run_clients(self, seed: u64, request_count: u64) -> FuzzTally {
        let authority = TestAuthority::new("server authority");
        let server = start_stable_server(self.settings(&authority.issue()));
        let transport = match self.protocol {
            FuzzProtocol::Plain => FuzzTransport::Plain,
            _ => FuzzTransport::Tls(authority.client_config(None, &[])),
        };
        let etag = read_etag(&transport, server.address);
        let clock = server.core.clock;
        let end = clock.instant() + Duration::from_secs(5);
        let is_enough = &|tally: &FuzzTally| {
            tally.requests >= request_count.div_ceil(CLIENT_COUNT) || clock.instant() > end
        };
        let run_client = &|client| {
            let requests = request_corpus::load_cases().into_iter();
            let requests = requests.map(|(_, case)| case.bytes).collect();
            let credentials: &[&str] = if self.tokens.is_empty() {
                &[]
            } else {
                &AUTHORIZATION_FIELDS
            };
            let seed = seed.wrapping_add(client);
            let generator = RequestGenerator::new(seed, &etag, requests, credentials);
            let oracle = ResponseOracle {
                etag: etag.clone(),
                tokens: self.tokens,
            };
            if self.protocol == FuzzProtocol::Http2 {
                let config = authority.client_config(None, &["h2"]);
                return run_http2_client(server.address, &config, generator, &oracle, is_enough);
            }
            FuzzRunner::new(server.address, transport.clone(), generator, oracle)
                .run_until(is_enough)
        };
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENT_COUNT)
                .map(|client| scope.spawn(move || run_client(client)))
                .collect();
            clients
                .into_iter()
                .map(|client| client.join().unwrap())
                .fold(FuzzTally::default(), FuzzTally::merge_counts)
        })
    }

    #[allow(clippy::print_stderr, reason = "prints the tally")]
    fn assert_matches_oracle(self, default_requests: u64) {
        let request_count = number_from_environment("RESUMEN_FUZZ", default_requests);
        let mut seed = number_from_environment("RESUMEN_FUZZ_SEED", fastrand::u64(..));
        let mut total = FuzzTally::default();
        while total.requests < request_count {
            eprintln!("seed {seed}");
            let tally = self.run_clients(seed, request_count - total.requests);
            total = total.merge_counts(tally);
            seed = seed.wrapping_add(CLIENT_COUNT);
        }
        eprintln!("{total}");
        let is_compared = self.protocol == FuzzProtocol::Http2 || total.compared_connections > 0;
        assert!(
            is_compared && total.statuses.keys().all(|status| *status < 500),
            "{total}"
        );
    }
}

/// Fetches the sources live, so that they have their failure, and returns the tag of the snapshot.
fn read_etag(transport: &FuzzTransport, address: SocketAddr) -> String {
    let request = ["/resumen?fresh=1", "/resumen"]
        .map(|target| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{ACCEPTED}\r\n"))
        .concat();
    let received = transport.exchange(address, request.as_bytes(), &[request.len()]);
    let text = String::from_utf8(received.unwrap()).unwrap();
    let (_, rest) = text.rsplit_once("etag: ").unwrap();
    rest.lines().next().unwrap().to_owned()
}

#[test]
fn random_requests_match_oracle() {
    let variant = FuzzVariant {
        protocol: FuzzProtocol::Plain,
        tokens: &[],
    };
    variant.assert_matches_oracle(DEFAULT_REQUESTS);
}

#[test]
fn random_requests_with_tokens() {
    let variant = FuzzVariant {
        protocol: FuzzProtocol::Plain,
        tokens: &ORACLE_TOKENS,
    };
    variant.assert_matches_oracle(DEFAULT_VARIANT_REQUESTS);
}

#[test]
fn random_requests_over_tls() {
    let variant = FuzzVariant {
        protocol: FuzzProtocol::Tls,
        tokens: &ORACLE_TOKENS,
    };
    variant.assert_matches_oracle(DEFAULT_VARIANT_REQUESTS);
}

#[test]
fn random_requests_over_http2() {
    let variant = FuzzVariant {
        protocol: FuzzProtocol::Http2,
        tokens: &ORACLE_TOKENS,
    };
    variant.assert_matches_oracle(DEFAULT_VARIANT_REQUESTS);
}
