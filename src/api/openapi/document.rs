//! The root of the document.

use serde_json::{Map, Value, json};

use crate::server::ProblemKind;

use super::operation::{DocumentContext, OperationSpec, build_shared_responses};
use super::response_headers::{header_components, header_refs};
use super::schemas::schema_components;

const API_DESCRIPTION: &str = "One response from many slow, unreliable APIs.\n\n\
    `/resumen` is answered from memory; `?fresh=1` calls the providers first, under a deadline. Every 4xx and 5xx response \
    is an RFC 9457 problem with a stable `code` and `Cache-Control: no-store`; only a head that cannot be parsed (400) or \
    is too large (431) gets an empty body. `HEAD` is supported wherever `GET` is, `OPTIONS` returns 204 with `Allow`, other \
    methods return 405, and other paths return 404 `not_found` with the nearest path as `suggestion`. Query parameters \
    whose names begin with `_` are ignored.\n\n\
    The names of the sources and the maximum `timeout` in this document are those of the server that it came from.";

/// A route and the function that describes it.
pub(crate) struct RouteDescription {
    /// The path, with parameters in braces.
    pub(crate) path: &'static str,
    /// Returns what `GET` does at the path.
    pub(crate) describe: fn(&DocumentContext<'_>) -> OperationSpec,
}

/// The document of these routes.
pub(crate) fn build_document(routes: &[RouteDescription], context: &DocumentContext<'_>) -> Value {
    let paths: Map<String, Value> = routes
        .iter()
        .map(|route| {
            let operation = (route.describe)(context);
            (route.path.to_owned(), operation.to_path_item())
        })
        .collect();
    let mut responses = build_shared_responses();
    responses.insert("NotFound".into(), build_not_found_response());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": env!("CARGO_PKG_NAME"),
            "summary": env!("CARGO_PKG_DESCRIPTION"),
            "description": API_DESCRIPTION,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT or Apache-2.0", "identifier": env!("CARGO_PKG_LICENSE")},
        },
        "tags": [
            {"name": "summary", "description": "The values of the sources"},
            {"name": "health", "description": "Health of the service and its sources"},
            {"name": "reference", "description": "Metrics and this document"},
            {"name": "panel", "description": "The web page and its files"},
        ],
        "paths": paths,
        "components": {
            "schemas": schema_components(),
            "headers": header_components(),
            "responses": responses,
        },
    })
}

/// The response of every path that is not in the document.
fn build_not_found_response() -> Value {
    json!({
        "description": ProblemKind::NotFound.title(),
        "headers": header_refs(&["Cache-Control"]),
        "content": {"application/problem+json": {"schema": {
            "$ref": "#/components/schemas/Problem",
            "properties": {"status": {"const": 404}, "code": {"const": ProblemKind::NotFound.code()}},
        }}},
    })
}
