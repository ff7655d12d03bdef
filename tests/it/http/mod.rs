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

use crate::support::scripted::{Scripted, pace, source};
use crate::support::stand::{Stand, settings};

/// A server whose three sources have readings, one of them failing since.
fn served() -> Stand {
    let served = unfilled();
    fill(&served);
    served
}

fn unfilled() -> Stand {
    serve_with(settings())
}

fn serve_with(settings: resumen::config::Server) -> Stand {
    let sources = ["btc", "clima", "usd"].map(|name| source(name, &["provider"], pace()));
    Stand::start(settings, &sources, Scripted::default())
}

fn fill(served: &Stand) {
    served.reading("btc", r#"{"usd":97123.45}"#);
    served.reading("clima", r#"{"temperatura_c":21.3}"#);
    served.reading("usd", r#"{"ARS":1043.50,"EUR":0.92}"#);
}
