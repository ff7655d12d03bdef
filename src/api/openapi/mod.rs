//! `/openapi.json`: an `OpenAPI` 3.1 document of every endpoint.
//!
//! The document is built from the same lists as the responses: routes, problem kinds, failure
//! codes, and the names and limits of the running configuration. A route without a description does
//! not compile, and a test compares the descriptions with the responses of a running service.

mod document;
mod operation;
mod operations;
mod parameters;
mod pattern;
mod response_headers;
mod schemas;

pub(super) use document::{RouteDescription, build_document};
pub(super) use operation::DocumentContext;
pub(super) use operations::{
    describe_liveness, describe_metrics, describe_openapi, describe_panel, describe_panel_asset,
    describe_panel_history, describe_readiness, describe_source_health, describe_stream,
    describe_summary,
};
