//! Serves one connection: the fast path first, then hyper.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hyper_util::rt::TokioIo;

use super::client_stream::ClientStream;
use super::connection_places::ConnectionPermit;
use super::connection_state::ConnectionState;
use super::problem::{ProblemDetails, ProblemKind};
use super::response::encode_response;
use super::service::ConnectionService;
use super::socket::ClientSocket;
use super::worker_state::WorkerState;

/// What the state of hyper takes for one connection, in bytes: its buffers, and the head of a request.
const HYPER_BYTES: usize = 24 << 10;

/// Serves a connection until it closes. A request that the fast path does not support is served by
/// hyper, whose state exists until the connection is idle again.
pub(super) async fn run_connection(
    stream: ClientStream,
    connection: Arc<ConnectionState>,
    worker: Arc<WorkerState>,
    permit: ConnectionPermit,
) {
    let budget = Arc::clone(worker.context.cache.send_budget());
    let scope = permit.scope();
    let socket = ClientSocket::new(stream, Arc::clone(&connection), scope, budget);
    if permit.is_reserved() {
        connection.begin_reading();
        let permit = Arc::new(permit);
        let reserved = Some(Arc::clone(&permit));
        let serving = Box::pin(serve_with_hyper(socket, &connection, &worker, reserved));
        // It goes on if it has moved to a regular place.
        if let Some((socket, unanswered)) = serving.await {
            serve_from_fast_path(socket, unanswered, &connection, &worker).await;
        }
        drop(permit);
    } else {
        serve_from_fast_path(socket, Vec::new(), &connection, &worker).await;
        drop(permit);
    }
}

/// Serves requests, whose first bytes may have been read, until the connection closes.
async fn serve_from_fast_path(
    mut socket: ClientSocket,
    mut unanswered: Vec<u8>,
    connection: &Arc<ConnectionState>,
    worker: &Arc<WorkerState>,
) {
    loop {
        match worker.fast_path.serve(&mut socket, unanswered).await {
            Ok(Some(bytes)) => {
                socket.replay_bytes(bytes);
                // Boxed, so that a connection on the fast path does not hold memory for hyper's state.
                let serving = Box::pin(serve_with_hyper(socket, connection, worker, None));
                let Some(idle) = serving.await else {
                    return;
                };
                (socket, unanswered) = idle;
            }
            Ok(None) => return socket.close().await,
            // The client has reset the connection.
            Err(_) => return,
        }
    }
}

/// Serves requests until the connection is idle. Then returns the socket and the bytes that were read
/// after the last request; `None` if the connection has ended.
async fn serve_with_hyper(
    socket: ClientSocket,
    connection: &Arc<ConnectionState>,
    worker: &Arc<WorkerState>,
    reserved: Option<Arc<ConnectionPermit>>,
) -> Option<(ClientSocket, Vec<u8>)> {
    let _charge = worker.context.cache.send_budget().charge(HYPER_BYTES);
    let logs_requests = worker.context.logs_requests();
    let peer = logs_requests.then(|| socket.peer_ip()).flatten();
    let service = ConnectionService::new(
        Arc::clone(worker),
        Arc::clone(connection),
        socket.scope,
        reserved,
        peer,
    );
    let mut http = worker.http.serve_connection(TokioIo::new(socket), service);
    let mut is_idle = false;
    let result = poll_fn(|cx| {
        let polled = http.poll_without_shutdown(cx);
        if polled.is_pending() && connection.is_idle() {
            is_idle = true;
            // Ends an idle connection of hyper, not the socket.
            Pin::new(&mut http).graceful_shutdown();
            return http.poll_without_shutdown(cx);
        }
        polled
    })
    .await;
    let parts = http.into_parts();
    let mut socket = parts.io.into_inner();
    if is_idle && result.is_ok() {
        return Some((socket, parts.read_buf.into()));
    }
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
    None
}
