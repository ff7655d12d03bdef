//! The HTTP server: starts the workers and the accept loop, and drains them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio_util::sync::CancellationToken;

use super::acceptor::Acceptor;
use super::listener::HttpListener;
use super::server_context::ServerContext;
use super::worker::Worker;

/// How long the listener stays open after readiness begins to fail, at most an eighth of the
/// shutdown grace. A load balancer may still send new connections in that time.
const CLOSE_DELAY: Duration = Duration::from_millis(250);

/// The workers and the accept loop in front of them.
pub struct HttpServer {
    context: Arc<ServerContext>,
    acceptor: Arc<Acceptor>,
}

impl HttpServer {
    /// Starts `threads` workers that answer requests with `router`. The workers inherit the calling
    /// thread's priority.
    ///
    /// Must be called within a tokio runtime, which registers `listener`.
    pub fn start(
        listener: HttpListener,
        context: Arc<ServerContext>,
        router: &Router,
        threads: usize,
    ) -> io::Result<Self> {
        let workers = (0..threads.max(1))
            .map(|number| Worker::start(number, &context, router.clone()))
            .collect::<io::Result<_>>()?;
        let acceptor = Acceptor::new(listener, workers, context.settings.max_connections)?;
        Ok(Self {
            context,
            acceptor: Arc::new(acceptor),
        })
    }

    /// Serves until `drain` is cancelled. Then readiness fails, the listener closes after
    /// `CLOSE_DELAY`, and the requests in progress are finished within the configured grace.
    pub async fn run(self, drain: CancellationToken) {
        let Self { context, acceptor } = self;
        let accept = || {
            let (context, acceptor) = (Arc::clone(&context), Arc::clone(&acceptor));
            let drain = drain.clone();
            async move {
                let closing = wait_for_close(&context, &drain);
                acceptor.accept_until(closing).await;
            }
        };
        context
            .supervisor
            .supervise_until("accept loop", &drain, accept)
            .await;
        let workers = Arc::into_inner(acceptor)
            .map(Acceptor::close_listener)
            .unwrap_or_default();
        // Every worker must see its queue closed before the first one is awaited: they drain in
        // parallel.
        let finished: Vec<_> = workers.into_iter().map(Worker::finish).collect();
        for worker_finished in finished {
            // An error means that the thread has ended already.
            let _ = worker_finished.await;
        }
    }
}

/// Waits until the listener must close: the drain, and the delay after it.
async fn wait_for_close(context: &ServerContext, drain: &CancellationToken) {
    drain.cancelled().await;
    // Readiness fails before the listener closes, so that a load balancer can see it.
    context.start_drain();
    tokio::time::sleep(CLOSE_DELAY.min(context.settings.shutdown_grace / 8)).await;
}
