//! Serves one connection: the fast path first, then hyper.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::rustls::ServerConfig;

use super::client_stream::ClientStream;
use super::connection_places::ConnectionPermit;
use super::connection_state::ConnectionState;
use super::problem::{ProblemDetails, ProblemKind};
use super::response::encode_response;
use super::route_access::ListenerScope;
use super::service::ConnectionService;
use super::socket::ClientSocket;
use super::tls::{Handshake, accept_client};
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
    let scope = permit.scope();
    if permit.is_reserved() {
        connection.begin_reading();
    }
    let (stream, is_http2) = match (stream, worker.context.tls()) {
        (ClientStream::Tcp(stream), Some(config)) => {
            // Boxed, so that other connections do not hold memory for a handshake.
            let Some(accepted) = Box::pin(accept_tls(stream, config, &connection, &worker)).await
            else {
                return;
            };
            accepted
        }
        (stream, _) => (stream, false),
    };
    let budget = Arc::clone(worker.context.cache.send_budget());
    let socket = ClientSocket::new(stream, Arc::clone(&connection), scope, budget);
    if !is_http2 && !permit.is_reserved() {
        serve_from_fast_path(socket, Vec::new(), &connection, &worker).await;
        drop(permit);
        return;
    }
    let permit = Arc::new(permit);
    let reserved = permit.is_reserved().then(|| Arc::clone(&permit));
    if is_http2 {
        Box::pin(serve_http2(socket, &connection, &worker, reserved)).await;
    } else {
        let serving = Box::pin(serve_with_hyper(socket, &connection, &worker, reserved));
        // It goes on if it has moved to a regular place.
        if let Some((socket, unanswered)) = serving.await {
            serve_from_fast_path(socket, unanswered, &connection, &worker).await;
        }
    }
    drop(permit);
}

/// Performs the handshake. Returns the stream and whether it speaks HTTP/2; `None` if there is none, in
/// which case a client that speaks plain HTTP has an answer.
async fn accept_tls(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    connection: &Arc<ConnectionState>,
    worker: &Arc<WorkerState>,
) -> Option<(ClientStream, bool)> {
    let budget = worker.context.cache.send_budget();
    match accept_client(stream, config, connection, budget).await {
        Ok(Handshake::Http1(stream)) => Some((stream, false)),
        Ok(Handshake::Http2(stream)) => Some((stream, true)),
        Ok(Handshake::PlainText(stream)) => {
            let scope = ListenerScope::Public;
            let budget = Arc::clone(budget);
            let socket = ClientSocket::new(stream, Arc::clone(connection), scope, budget);
            let detail = "this address speaks HTTPS: the URL must begin with `https://`";
            refuse_connection(socket, detail, worker).await;
            None
        }
        Err(error) => {
            tracing::debug!(error = error.to_string(), "TLS handshake failed");
            None
        }
    }
}

/// Answers 400 and closes the connection.
async fn refuse_connection(mut socket: ClientSocket, detail: &str, worker: &WorkerState) {
    let problem = ProblemDetails::new(ProblemKind::BadFraming, detail).with_connection_close();
    let bytes = encode_response(&problem.to_response(), worker.context.clock.wall_time());
    // The connection closes next, also on an error.
    let _ = socket.write_all(&bytes).await;
    record_bad_head(StatusCode::BAD_REQUEST, worker);
    socket.close().await;
}

/// Counts a response that never reaches the service.
fn record_bad_head(status: StatusCode, worker: &WorkerState) {
    let route = worker.context.request_metrics.unmatched_route();
    worker
        .counters
        .record_response(route, status, Duration::ZERO);
}

/// The service of the connection of `socket`.
fn new_service(
    socket: &ClientSocket,
    connection: &Arc<ConnectionState>,
    worker: &Arc<WorkerState>,
    reserved: Option<Arc<ConnectionPermit>>,
) -> ConnectionService {
    let logs_requests = worker.context.logs_requests();
    let peer = logs_requests.then(|| socket.peer_ip()).flatten();
    ConnectionService::new(
        Arc::clone(worker),
        Arc::clone(connection),
        socket.scope,
        reserved,
        peer,
    )
}

/// Serves requests by HTTP/2 until the connection closes.
async fn serve_http2(
    mut socket: ClientSocket,
    connection: &Arc<ConnectionState>,
    worker: &Arc<WorkerState>,
    reserved: Option<Arc<ConnectionPermit>>,
) {
    socket.begin_http2();
    let _charge = worker.context.cache.send_budget().charge(HYPER_BYTES);
    let service = new_service(&socket, connection, worker, reserved);
    let mut http = worker.http2.serve_connection(TokioIo::new(socket), service);
    let mut draining = pin!(worker.context.wait_for_drain());
    let mut is_closing = false;
    // An error is one of the client, which hyper has told it.
    let _ = poll_fn(|cx| {
        if !is_closing {
            // A place in the reserve is for one request.
            let is_done = connection.is_reserved() && connection.has_begun_response();
            if is_done || draining.as_mut().poll(cx).is_ready() {
                is_closing = true;
                Pin::new(&mut http).graceful_shutdown();
            }
        }
        Pin::new(&mut http).poll(cx)
    })
    .await;
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
    let service = new_service(&socket, connection, worker, reserved);
    let mut http = worker.http1.serve_connection(TokioIo::new(socket), service);
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
    let socket = parts.io.into_inner();
    if is_idle && result.is_ok() {
        return Some((socket, parts.read_buf.into()));
    }
    if let Err(error) = result
        && error.is_parse()
    {
        if error.is_parse_version_h2() {
            // hyper closes without a response to the preface of HTTP/2.
            let detail = "the server supports HTTP/2 only where TLS has agreed on it";
            refuse_connection(socket, detail, worker).await;
            return None;
        }
        // hyper's own 400 and 431 never reach the service, so they are counted here.
        let status = if error.is_parse_too_large() {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        } else {
            StatusCode::BAD_REQUEST
        };
        record_bad_head(status, worker);
    }
    socket.close().await;
    None
}
