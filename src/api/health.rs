//! `/salud` and `/salud/listo`: liveness and readiness of the service, independent of the
//! providers.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use crate::server::{ProblemDetails, ProblemKind, no_store_response};

use super::state::AppState;

/// Maximum age of the refresher's latest liveness beat.
const LIVENESS_TIMEOUT: Duration = Duration::from_secs(10);

/// `/salud`: 200, or 503 if the refresher's liveness beat has stopped.
pub(super) async fn get_liveness(
    State(state): State<Arc<AppState>>,
) -> Result<Response, ProblemDetails> {
    let since_heartbeat = state.liveness_beat.since_last_beat();
    if since_heartbeat > LIVENESS_TIMEOUT {
        let detail = format!(
            "the refresher's last heartbeat was {} s ago",
            since_heartbeat.as_secs()
        );
        return Err(ProblemDetails::new(ProblemKind::RefresherStuck, detail));
    }
    Ok(ok_response())
}

/// `/salud/listo`: 200 once there is data to serve, 503 before that and during the drain.
pub(super) async fn get_readiness(
    State(state): State<Arc<AppState>>,
) -> Result<Response, ProblemDetails> {
    if state.server.is_draining() {
        let detail = "the service finishes the requests in progress and accepts no new ones";
        return Err(ProblemDetails::new(ProblemKind::Draining, detail));
    }
    if !state.is_ready() {
        let detail = "the first attempts at the sources have not finished";
        return Err(ProblemDetails::new(ProblemKind::NotReady, detail));
    }
    Ok(ok_response())
}

fn ok_response() -> Response {
    no_store_response("application/json", r#"{"status":"ok"}"#)
}
