//! The one list of routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::header::ALLOW;
use http::{Method, StatusCode, Uri};

use super::openapi::{DocumentContext, OperationSpec};
use super::panel_pages;
use super::state::AppState;
use super::{health, metrics_page, openapi, source_health, stream, summary};
use crate::server::{ALLOWED_METHODS, ProblemDetails, ProblemKind};
use crate::text::find_nearest_path;

macro_rules! routes {
    ($($path:literal => $handler:expr, $operation:expr;)*) => {
        /// The paths in the order of the list.
        pub(crate) const ROUTE_PATHS: [&str; [$($path),*].len()] = [$($path),*];

        /// What is told of each, in the same order.
        pub(crate) const ROUTE_OPERATIONS: [fn(&DocumentContext<'_>) -> OperationSpec; ROUTE_PATHS.len()] = [$($operation),*];

        /// How metrics call the routes: their paths, and at the end whatever has none.
        pub(crate) const ROUTE_LABELS: [&str; ROUTE_PATHS.len() + 1] = [$($path,)* "other"];

        /// Everything that is served.
        pub(crate) fn build_router(site: Arc<AppState>) -> Router {
            Router::new()
                $(.route($path, with_options($handler)))*
                .fallback(handle_not_found)
                .method_not_allowed_fallback(handle_method_not_allowed)
                .with_state(site)
        }
    };
}

// A route is one line here: its handler answers GET, from which HEAD and OPTIONS follow; then what `/openapi.json` tells.
routes! {
    "/" => get(panel_pages::get_panel), openapi::describe_panel;
    "/panel/history.json" => get(panel_pages::get_panel_history), openapi::describe_panel_history;
    "/panel/{version}/{file}" => get(panel_pages::get_panel_asset), openapi::describe_panel_asset;
    "/resumen" => get(summary::get_summary), openapi::describe_summary;
    "/resumen/stream" => get(stream::get_event_stream), openapi::describe_stream;
    "/salud" => get(health::get_liveness), openapi::describe_liveness;
    "/salud/listo" => get(health::get_readiness), openapi::describe_readiness;
    "/salud/fuentes" => get(source_health::get_source_health), openapi::describe_source_health;
    "/metrics" => get(metrics_page::get_metrics), openapi::describe_metrics;
    "/openapi.json" => get(openapi::get_openapi_document), openapi::describe_openapi;
}

/// The label of whatever has no route.
pub(crate) const UNMATCHED_ROUTE: usize = ROUTE_PATHS.len();

/// The label of a path.
pub(crate) fn find_route_index(path: &str) -> usize {
    let is = |known: &str| match known.split_once('{') {
        Some((prefix, _)) => path.starts_with(prefix),
        None => known == path,
    };
    ROUTE_PATHS
        .into_iter()
        .position(is)
        .unwrap_or(UNMATCHED_ROUTE)
}

fn with_options(route: MethodRouter<Arc<AppState>>) -> MethodRouter<Arc<AppState>> {
    route.options(handle_options)
}

async fn handle_options(State(site): State<Arc<AppState>>) -> Response {
    let mut response = (StatusCode::NO_CONTENT, [(ALLOW, ALLOWED_METHODS)]).into_response();
    site.cors.add_preflight_headers(response.headers_mut());
    response
}

async fn handle_not_found(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    if path == "*" && method == Method::OPTIONS {
        return (StatusCode::NO_CONTENT, [(ALLOW, ALLOWED_METHODS)]).into_response();
    }
    // Patterns are nothing that anyone could ask for.
    let plain = ROUTE_PATHS.into_iter().filter(|known| !known.contains('{'));
    let expected = plain.clone().collect::<Vec<_>>().join(", ");
    let problem = ProblemDetails::new(ProblemKind::NotFound, "no route has this path")
        .with_got(path)
        .with_expected(expected);
    problem
        .with_suggestion(find_nearest_path(path, plain))
        .into_response()
}

async fn handle_method_not_allowed(method: Method) -> ProblemDetails {
    ProblemDetails::new(
        ProblemKind::MethodNotAllowed,
        "this route answers GET, HEAD and OPTIONS",
    )
    .with_got(method.as_str())
}
