//! `/salud` and its kin: how the service itself is, whatever the providers do.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::state::AppState;
use crate::server::no_store_response;
use crate::server::{ProblemDetails, ProblemKind};

/// How long the refresher may be silent.
const LIVENESS_TIMEOUT: Duration = Duration::from_secs(10);

const OK_BODY: &str = r#"{"status":"ok"}"#;

/// Liveness.
pub(crate) async fn get_liveness(State(site): State<Arc<AppState>>) -> Response {
    let silent = site.liveness_beat.since_last_beat();
    if silent > LIVENESS_TIMEOUT {
        let detail = format!("its last sign of life is {} s old", silent.as_secs());
        return ProblemDetails::new(ProblemKind::Lifeless, detail).into_response();
    }
    ok_response()
}

/// Readiness.
pub(crate) async fn get_readiness(State(site): State<Arc<AppState>>) -> Response {
    if site.is_draining() {
        return ProblemDetails::new(
            ProblemKind::Draining,
            "requests in progress are finished, new ones go elsewhere",
        )
        .into_response();
    }
    if !site.is_ready() {
        return ProblemDetails::new(ProblemKind::NotReady, "the first round has not ended")
            .into_response();
    }
    ok_response()
}

fn ok_response() -> Response {
    no_store_response("application/json", OK_BODY)
}
