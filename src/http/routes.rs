//! The one list of routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::header::ALLOW;
use http::{Method, StatusCode, Uri};

use crate::fetch::Fetch;

use super::openapi::{Operation, Terms};
use super::problem::{Kind, METHODS, Problem};
use super::suggest::nearest_path;
use super::{Site, fuentes, metrics, openapi, panel, resumen, salud, stream};

macro_rules! routes {
    ($($path:literal => $handler:expr, $operation:expr;)*) => {
        /// The paths in the order of the list.
        pub(super) const PATHS: [&str; [$($path),*].len()] = [$($path),*];

        /// What is told of each, in the same order.
        pub(super) const OPERATIONS: [fn(&Terms<'_>) -> Operation; PATHS.len()] = [$($operation),*];

        /// How metrics call the routes: their paths, and at the end whatever has none.
        pub(super) const LABELS: [&str; PATHS.len() + 1] = [$($path,)* "other"];

        /// Everything that is served.
        pub(super) fn router<F: Fetch>(site: Arc<Site<F>>) -> Router {
            Router::new()
                $(.route($path, allowing($handler)))*
                .fallback(not_found)
                .method_not_allowed_fallback(method_not_allowed)
                .with_state(site)
        }
    };
}

// A route is one line here: its handler answers GET, from which HEAD and OPTIONS follow; then what `/openapi.json` tells.
routes! {
    "/" => get(panel::front::<F>), openapi::panel;
    "/panel/history.json" => get(panel::history::<F>), openapi::panel_history;
    "/panel/{version}/{file}" => get(panel::asset::<F>), openapi::panel_file;
    "/resumen" => get(resumen::answer::<F>), openapi::resumen;
    "/resumen/stream" => get(stream::answer::<F>), openapi::stream;
    "/salud" => get(salud::alive::<F>), openapi::alive;
    "/salud/listo" => get(salud::ready::<F>), openapi::ready;
    "/salud/fuentes" => get(fuentes::answer::<F>), openapi::fuentes;
    "/metrics" => get(metrics::answer::<F>), openapi::metrics;
    "/openapi.json" => get(openapi::answer::<F>), openapi::description;
}

/// The label of whatever has no route.
pub(super) const OTHER: usize = PATHS.len();

/// The label of a path.
pub(super) fn label(path: &str) -> usize {
    let is = |known: &str| match known.split_once('{') {
        Some((prefix, _)) => path.starts_with(prefix),
        None => known == path,
    };
    PATHS.into_iter().position(is).unwrap_or(OTHER)
}

fn allowing<F: Fetch>(route: MethodRouter<Arc<Site<F>>>) -> MethodRouter<Arc<Site<F>>> {
    route.options(options::<F>)
}

async fn options<F: Fetch>(State(site): State<Arc<Site<F>>>) -> Response {
    let mut response = (StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into_response();
    site.cors.mark_preflight(response.headers_mut());
    response
}

async fn not_found(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    if path == "*" && method == Method::OPTIONS {
        return (StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into_response();
    }
    // Patterns are nothing that anyone could ask for.
    let plain = PATHS.into_iter().filter(|known| !known.contains('{'));
    let expected = plain.clone().collect::<Vec<_>>().join(", ");
    let problem = Problem::new(Kind::NotFound, "no route has this path")
        .got(path)
        .expected(expected);
    problem
        .suggestion(nearest_path(path, plain))
        .into_response()
}

async fn method_not_allowed(method: Method) -> Problem {
    Problem::new(
        Kind::MethodNotAllowed,
        "this route answers GET, HEAD and OPTIONS",
    )
    .got(method.as_str())
}
