//! The integration tests, one binary.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]
#![allow(
    unreachable_pub,
    reason = "support is a module of this binary, written like a library"
)]

#[path = "../support/mod.rs"]
mod support;

mod architecture;
mod cli;
mod config;
mod http;
mod ops;
mod persistence;
mod replicas;
mod schedule;
mod security;
mod snapshot;
mod upstream;
