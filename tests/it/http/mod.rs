//! The HTTP side as clients see it, over real sockets.

mod answers;
mod connections;
pub mod corpus;
mod crowds;
mod metrics;
mod mishaps;
mod openapi;
mod stream;
mod stream_crowd;

use crate::support::scripted::{ScriptedFetch, test_schedule, test_source};
use crate::support::stand::{TestServer, default_server_settings};

/// A server whose three sources have readings, one of them failing since.
fn server_with_readings() -> TestServer {
    let served = server_without_readings();
    publish_readings(&served);
    served
}

fn server_without_readings() -> TestServer {
    start_server(default_server_settings())
}

fn start_server(settings: resumen::config::ServerSettings) -> TestServer {
    let sources =
        ["btc", "clima", "usd"].map(|name| test_source(name, &["provider"], test_schedule()));
    TestServer::start(settings, &sources, ScriptedFetch::default())
}

fn publish_readings(served: &TestServer) {
    served.publish_reading("btc", r#"{"usd":97123.45}"#);
    served.publish_reading("clima", r#"{"temperatura_c":21.3}"#);
    served.publish_reading("usd", r#"{"ARS":1043.50,"EUR":0.92}"#);
}
