//! The HTTP interface over real sockets.

pub mod admin_listener;
pub mod client_crowds;
pub mod connection_costs;
pub mod connection_limits;
pub mod consumer_docs;
pub mod error_docs;
pub mod event_stream;
pub mod event_stream_load;
pub mod expensive_requests;
pub mod fast_path_equivalence;
pub mod fuzz_access;
pub mod fuzz_generator;
pub mod fuzz_headers;
pub mod fuzz_http2;
pub mod fuzz_oracle;
pub mod fuzz_parser;
pub mod fuzz_paths;
pub mod fuzz_queries;
pub mod fuzz_runner;
pub mod fuzz_transport;
pub mod handler_panics;
pub mod health_places;
pub mod hostile_clients;
pub mod openapi_conformance;
pub mod panel_assets;
pub mod panel_browser;
pub mod panel_layout;
pub mod panel_shapes;
pub mod panel_values;
pub mod request_corpus;
pub mod request_fuzz;
pub mod response_headers;
pub mod schemathesis;
pub mod service_contract;
pub mod single_values;
pub mod slow_clients;
mod source_page;
mod unix_clients;

use resumen::config::{AccessGroup, AccessToken, TokenDigest};

use crate::support::scripted_fetch::{ScriptedFetch, test_schedule, test_source};
use crate::support::test_server::{TestServer, default_server_settings};

/// A server whose three sources have readings.
pub fn server_with_readings() -> TestServer {
    let server = server_without_readings();
    publish_readings(&server);
    server
}

pub fn server_without_readings() -> TestServer {
    start_server(default_server_settings())
}

pub fn start_server(settings: resumen::config::ServerSettings) -> TestServer {
    let sources =
        ["btc", "clima", "usd"].map(|name| test_source(name, &["provider"], test_schedule()));
    TestServer::start(settings, &sources, ScriptedFetch::default())
}

pub fn publish_readings(server: &TestServer) {
    server.publish_reading("btc", r#"{"usd":97123.45}"#);
    server.publish_reading("clima", r#"{"temperatura_c":21.3}"#);
    server.publish_reading("usd", r#"{"ARS":1043.50,"EUR":0.92}"#);
}

/// The token `NAME-0123456789abcdef` that grants these groups.
pub fn access_token(name: &str, groups: &[AccessGroup]) -> AccessToken {
    AccessToken {
        name: name.into(),
        digest: TokenDigest::of(format!("{name}-0123456789abcdef").as_bytes()),
        groups: groups.to_vec(),
    }
}
