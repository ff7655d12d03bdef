//! The document as a whole.

use serde_json::{Map, Value, json};

use crate::api::{ROUTE_OPERATIONS, ROUTE_PATHS};
use crate::server::ProblemKind;

use super::operation::{DocumentContext, build_shared_responses};
use super::{response_headers, schemas};

const API_DESCRIPTION: &str = "One fast, honest answer from many slow, unreliable APIs.\n\n\
    `/resumen` is answered from memory; `?fresh=1` asks the providers first, under a deadline. Every 4xx and 5xx answer \
    is an RFC 9457 problem with a stable `code` and `Cache-Control: no-store`; only a head that cannot be parsed (400) or \
    is too large (431) gets an empty body. `HEAD` works wherever `GET` does, `OPTIONS` answers 204 with `Allow`, other \
    methods are 405, other paths are 404 `not_found` with the nearest path as `suggestion`. Query parameters whose names \
    begin with `_` are ignored.\n\n\
    The names of the sources and the largest `timeout` in this document are those of the server that it came from.";

/// The document for these terms.
pub(crate) fn build_document(terms: &DocumentContext<'_>) -> Value {
    let paths = ROUTE_PATHS.into_iter().zip(ROUTE_OPERATIONS);
    let paths: Map<String, Value> = paths
        .map(|(path, describe)| (path.to_owned(), describe(terms).to_path_item()))
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
            {"name": "summary", "description": "What the sources say"},
            {"name": "health", "description": "How the service and its sources are"},
            {"name": "reference", "description": "For other programs"},
            {"name": "panel", "description": "The page for people, and what it is made of"},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas::schema_components(),
            "headers": response_headers::header_components(),
            "responses": responses,
        },
    })
}

/// No path of the document: what every other one is answered with.
fn build_not_found_response() -> Value {
    json!({
        "description": ProblemKind::NotFound.title(),
        "headers": response_headers::header_refs(&["Cache-Control"]),
        "content": {"application/problem+json": {"schema": {
            "$ref": "#/components/schemas/Problem",
            "properties": {"status": {"const": 404}, "code": {"const": ProblemKind::NotFound.code()}},
        }}},
    })
}
