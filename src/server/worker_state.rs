//! The state that the connections of one worker share.

use std::sync::Arc;

use axum::Router;
use hyper::server::conn::http1;

use crate::metrics::ThreadCounters;

use super::fast_path::FastPath;
use super::server_context::ServerContext;

/// Maximum size of a connection's read and write buffers, in bytes. A longer head gets a 431.
const MAX_BUFFER: usize = 16 * 1024;

/// Maximum number of header fields. More get a 431.
const MAX_HEADERS: usize = 64;

/// Shared by the connections of one worker.
pub(super) struct WorkerState {
    pub(super) context: Arc<ServerContext>,
    pub(super) counters: Arc<ThreadCounters>,
    pub(super) fast_path: FastPath,
    pub(super) router: Router,
    pub(super) http: http1::Builder,
}

impl WorkerState {
    /// The state of a worker that counts in `counters`.
    pub(super) fn new(
        context: Arc<ServerContext>,
        counters: Arc<ThreadCounters>,
        router: Router,
    ) -> Self {
        let mut http = http1::Builder::new();
        http.max_buf_size(MAX_BUFFER)
            .max_headers(MAX_HEADERS)
            .half_close(true)
            // The worker's sweep keeps the deadlines.
            .header_read_timeout(None);
        Self {
            fast_path: FastPath::new(Arc::clone(&context), Arc::clone(&counters)),
            context,
            counters,
            router,
            http,
        }
    }
}
