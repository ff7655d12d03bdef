//! The accept loop of the simulated providers.

use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::simulated_response::respond;
use crate::domain::Time;
use crate::process::Clock;

/// Pause after a failed accept, so that the loop does not spin while no file descriptor is free.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serves the simulated providers on `listener` until `stop` is cancelled, which also closes the open connections.
pub async fn serve(listener: TcpListener, clock: Clock, stop: CancellationToken) {
    let started = clock.now();
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serve_connection(stream, clock, started);
                connections.spawn(stop.clone().run_until_cancelled_owned(connection));
            }
            Err(error) => {
                tracing::warn!(error = error.to_string(), "failed to accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    // `wait` returns only after `close`; the connections end by `stop`.
    connections.close();
    connections.wait().await;
}

async fn serve_connection(stream: TcpStream, clock: Clock, started: Time) {
    let service = service_fn(move |request| {
        tracing::debug!(method = %request.method(), uri = %request.uri(), "request received");
        respond(request, clock, started)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(error = error.to_string(), "connection closed early");
    }
}
