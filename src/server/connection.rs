//! Serves one connection: the fast path first, then hyper.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hyper_util::rt::TokioIo;

use super::client_stream::ClientStream;
use super::connection_permit::ConnectionPermit;
use super::connection_state::ConnectionState;
use super::problem::{ProblemDetails, ProblemKind};
use super::response::encode_response;
use super::service::ConnectionService;
use super::socket::ClientSocket;
use super::worker_state::WorkerState;

/// Serves a connection until it closes. The state of hyper is created with the first request that
/// the fast path does not support.
pub(super) async fn run_connection(
    stream: ClientStream,
    connection: Arc<ConnectionState>,
    worker: Arc<WorkerState>,
    permit: ConnectionPermit,
) {
    let mut socket = ClientSocket::new(stream, Arc::clone(&connection));
    match worker.fast_path.serve(&mut socket).await {
        Ok(Some(bytes)) => {
            socket.replay_bytes(bytes);
            // Boxed, so that a connection that stays on the fast path does not hold memory for
            // hyper's state.
            Box::pin(serve_with_hyper(socket, connection, &worker)).await;
        }
        Ok(None) => socket.close().await,
        // The client has reset the connection.
        Err(_) => {}
    }
    drop(permit);
}

async fn serve_with_hyper(
    socket: ClientSocket,
    connection: Arc<ConnectionState>,
    worker: &Arc<WorkerState>,
) {
    let service = ConnectionService::new(Arc::clone(worker), connection);
    let mut http = worker.http.serve_connection(TokioIo::new(socket), service);
    let result = poll_fn(|cx| http.poll_without_shutdown(cx)).await;
    let mut socket = http.into_parts().io.into_inner();
    if let Err(error) = result
        && error.is_parse()
    {
        if error.is_parse_version_h2() {
            // hyper closes without a response to the preface of HTTP/2.
            let response = ProblemDetails::new(
                ProblemKind::BadFraming,
                "the server does not support HTTP/2",
            )
            .with_connection_close()
            .to_response();
            let bytes = encode_response(&response, worker.context.clock.wall_time());
            // The connection closes next, also on an error.
            let _ = socket.write_all(&bytes).await;
        }
        // hyper's own 400 and 431 never reach the service, so they are counted here.
        let status = if error.is_parse_too_large() {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        } else {
            StatusCode::BAD_REQUEST
        };
        let route = worker.context.request_metrics.unmatched_route();
        worker
            .counters
            .record_response(route, status, Duration::ZERO);
    }
    socket.close().await;
}
