//! `/salud` and its kin: how the service itself is, whatever the providers do.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};

use crate::fetch::Fetch;

use super::Site;
use super::problem::{Kind, Problem};
use super::whole::whole;

/// How long the refresher may be silent.
const SILENCE: Duration = Duration::from_secs(10);

const OK: &str = r#"{"status":"ok"}"#;

/// Liveness.
pub(super) async fn alive<F: Fetch>(State(site): State<Arc<Site<F>>>) -> Response {
    let silent = site.pulse.silence();
    if silent > SILENCE {
        let detail = format!("its last sign of life is {} s old", silent.as_secs());
        return Problem::new(Kind::Lifeless, detail).into_response();
    }
    ok()
}

/// Readiness.
pub(super) async fn ready<F: Fetch>(State(site): State<Arc<Site<F>>>) -> Response {
    if site.is_draining() {
        return Problem::new(
            Kind::Draining,
            "requests in progress are finished, new ones go elsewhere",
        )
        .into_response();
    }
    if !site.is_ready() {
        return Problem::new(Kind::NotReady, "the first round has not ended").into_response();
    }
    ok()
}

fn ok() -> Response {
    whole("application/json", OK)
}
