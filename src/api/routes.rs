//! The routes: the one list of paths and handlers.

use std::sync::Arc;

use axum::Extension;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::ALLOW;
use http::{Method, StatusCode, Uri};

use crate::config::AccessGroup::{Admin, Data, Live, Panel, Stream};
use crate::server::{ALLOWED_METHODS, ListenerScope, ProblemDetails, ProblemKind, RouteAccess};
use crate::text::find_nearest_path;

use super::state::AppState;
use super::{answer, health, metrics_page, openapi, panel_pages, source_health, stream};

const EVERYONE: RouteAccess = RouteAccess::Everyone;
const PANEL: RouteAccess = RouteAccess::AnyOf(&[Panel]);
/// The handler distinguishes the snapshot from a live answer.
const SUMMARY: RouteAccess = RouteAccess::AnyOf(&[Data, Panel, Live]);
const VALUE: RouteAccess = RouteAccess::AnyOf(&[Data, Live]);
const DATA: RouteAccess = RouteAccess::AnyOf(&[Data]);
const STREAM: RouteAccess = RouteAccess::AnyOf(&[Stream, Panel]);
/// The panel's page shows the next attempt of each source.
const SOURCE_HEALTH: RouteAccess = RouteAccess::AnyOf(&[Admin, Panel]);
const ADMIN: RouteAccess = RouteAccess::AnyOf(&[Admin]);

macro_rules! routes {
    ($($path:literal $access:ident => $handler:expr;)*) => {
        /// The paths of the routes, in the order of the list. Also the labels of the request
        /// metrics.
        pub const ROUTE_PATHS: [&str; [$($path),*].len()] = [$($path),*];

        /// Who may request the routes, in the order of the list.
        pub const ROUTE_ACCESS: [RouteAccess; ROUTE_PATHS.len()] = [$($access),*];

        /// The router of every endpoint.
        pub fn router(state: Arc<AppState>) -> Router {
            Router::new()
                $(.route(&to_pattern($path), get($handler).options(handle_options)))*
                .fallback(handle_not_found)
                .method_not_allowed_fallback(handle_method_not_allowed)
                .with_state(state)
        }
    };
}

// Each line: path, who may request it, handler of GET (axum derives HEAD from it).
routes! {
    "/" PANEL => panel_pages::get_panel;
    "/fuente/{source}" PANEL => panel_pages::get_source_page;
    "/panel/appearance.json" PANEL => panel_pages::get_panel_appearance;
    "/panel/fuente/{source}" PANEL => panel_pages::get_source_definition;
    "/panel/history.json" PANEL => panel_pages::get_panel_history;
    "/panel/{version}/{file}" PANEL => panel_pages::get_panel_asset;
    "/resumen" SUMMARY => answer::get_answer;
    "/resumen/stream" STREAM => stream::get_event_stream;
    "/valor/{path}" VALUE => answer::get_answer;
    "/insignia/{path}" DATA => answer::get_answer;
    "/salud" EVERYONE => health::get_liveness;
    "/salud/listo" EVERYONE => health::get_readiness;
    "/healthz" EVERYONE => health::get_liveness;
    "/readyz" EVERYONE => health::get_readiness;
    "/salud/fuentes" SOURCE_HEALTH => source_health::get_source_health;
    "/metrics" ADMIN => metrics_page::get_metrics;
    "/openapi.json" ADMIN => openapi::get_openapi_document;
}

/// The pattern of the router for a path of the list: `{path}` takes all segments that follow.
fn to_pattern(path: &str) -> String {
    path.replace("{path}", "{*path}")
}

async fn handle_options(State(state): State<Arc<AppState>>) -> Response {
    let mut response = (StatusCode::NO_CONTENT, [(ALLOW, ALLOWED_METHODS)]).into_response();
    let cors = &state.server.cors;
    cors.add_preflight_headers(response.headers_mut());
    response
}

async fn handle_not_found(
    method: Method,
    uri: Uri,
    Extension(scope): Extension<ListenerScope>,
) -> Response {
    let path = uri.path();
    // `OPTIONS *` applies to the server as a whole (RFC 9110 §9.3.7).
    if path == "*" && method == Method::OPTIONS {
        return (StatusCode::NO_CONTENT, [(ALLOW, ALLOWED_METHODS)]).into_response();
    }
    // A pattern such as `/panel/{version}/{file}` is not a path that a client can request.
    let routes = ROUTE_PATHS.into_iter().zip(ROUTE_ACCESS);
    let known = routes.filter(|(path, access)| scope.serves(*access) && !path.contains('{'));
    let paths = known.map(|(path, _)| path);
    ProblemDetails::new(ProblemKind::NotFound, "no route has this path")
        .with_got(path)
        .with_expected(paths.clone().collect::<Vec<_>>().join(", "))
        .with_suggestion(find_nearest_path(path, paths))
        .into_response()
}

async fn handle_method_not_allowed(method: Method) -> ProblemDetails {
    let detail = "the route supports GET, HEAD and OPTIONS";
    ProblemDetails::new(ProblemKind::MethodNotAllowed, detail).with_got(method.as_str())
}
