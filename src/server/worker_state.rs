//! The state that the connections of one worker share.

use std::sync::Arc;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioExecutor;

use crate::metrics::ThreadCounters;

use super::fast_path::FastPath;
use super::server_context::ServerContext;

/// Maximum size of a connection's read and write buffers, in bytes. A longer head gets a 431.
const MAX_BUFFER: usize = 16 * 1024;

/// Maximum number of header fields. More get a 431.
const MAX_HEADERS: usize = 64;

/// Maximum number of requests of an HTTP/2 connection that are answered at a time.
const MAX_STREAMS: u32 = 32;

/// The smallest window of flow control that a client knows from the start (RFC 9113 §6.9.2), in bytes.
const MIN_WINDOW: u32 = 65_535;

/// Shared by the connections of one worker.
pub(super) struct WorkerState {
    pub(super) context: Arc<ServerContext>,
    pub(super) counters: Arc<ThreadCounters>,
    pub(super) fast_path: FastPath,
    pub(super) router: Router,
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<TokioExecutor>,
}

impl WorkerState {
    /// The state of a worker that counts in `counters`.
    pub(super) fn new(
        context: Arc<ServerContext>,
        counters: Arc<ThreadCounters>,
        router: Router,
    ) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .max_buf_size(MAX_BUFFER)
            .max_headers(MAX_HEADERS)
            .half_close(true)
            // The worker's sweep keeps the deadlines.
            .header_read_timeout(None);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_BUFFER as u32)
            // No handler reads a body.
            .initial_stream_window_size(MIN_WINDOW)
            .initial_connection_window_size(MIN_WINDOW)
            .max_send_buf_size(MAX_BUFFER);
        Self {
            fast_path: FastPath::new(Arc::clone(&context), Arc::clone(&counters)),
            context,
            counters,
            router,
            http1,
            http2,
        }
    }
}
