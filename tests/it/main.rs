//! The integration tests, one binary.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]
#![allow(
    unreachable_pub,
    reason = "support is a module of this binary, written like a library"
)]

#[path = "../support/mod.rs"]
mod support;

mod adopt;
mod bounds;
mod canaries;
mod check;
mod clock_steps;
mod commands;
mod config;
mod containment;
mod deploy;
mod derived;
mod descriptors;
mod documents;
mod express;
mod faults;
mod fetch;
mod fetch_bounds;
mod fetch_network;
mod fetch_proxy;
mod fetch_request;
mod fetch_reuse;
mod fleet;
mod fleet_outage;
mod fleet_partition;
mod fleet_schedules;
mod flights;
mod foreign;
mod fuzz;
mod http;
mod inject;
mod keep;
mod layers;
mod merge;
mod moments;
mod monitoring;
mod mounted;
mod panel;
mod panel_looks;
mod program;
mod proxies;
mod race;
mod running;
mod schemathesis;
mod service;
mod soak;
mod state;
mod supervision;
mod survival;
mod threads;
