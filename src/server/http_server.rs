//! The HTTP server: starts the workers and the accept loop, and drains them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio_util::sync::CancellationToken;

use crate::config::ListenAddress;

use super::acceptor::Acceptor;
use super::connection_places::ConnectionPlaces;
use super::descriptor_limit::ConnectionLimits;
use super::listener::HttpListener;
use super::route_access::ListenerScope;
use super::server_context::ServerContext;
use super::unix_socket::SocketFile;
use super::worker::Worker;

/// How long the listener stays open after readiness begins to fail, at most an eighth of the
/// shutdown grace. A load balancer may still send new connections in that time.
const CLOSE_DELAY: Duration = Duration::from_millis(250);

/// The sockets that a server listens on.
pub struct HttpListeners {
    /// The socket of `server.listen`.
    pub main: HttpListener,
    /// The socket of `server.admin_listen`, if there is one.
    pub admin: Option<HttpListener>,
}

impl HttpListeners {
    /// The bound addresses, with their actual ports.
    pub fn addresses(&self) -> (ListenAddress, Option<ListenAddress>) {
        let admin = self.admin.as_ref();
        let admin = admin.map(|admin| admin.address().clone());
        (self.main.address().clone(), admin)
    }

    /// Takes the files of Unix sockets, each of which is removed when its value is dropped.
    pub fn take_socket_files(&mut self) -> Vec<SocketFile> {
        let listeners = std::iter::once(&mut self.main).chain(&mut self.admin);
        listeners
            .filter_map(HttpListener::take_socket_file)
            .collect()
    }
}

/// The workers and the accept loops in front of them.
pub struct HttpServer {
    context: Arc<ServerContext>,
    workers: Arc<Vec<Worker>>,
    main: Arc<Acceptor>,
    admin: Option<Arc<Acceptor>>,
}

impl HttpServer {
    /// Starts `threads` workers that answer requests with `router`. The workers inherit the calling
    /// thread's priority.
    ///
    /// Must be called within a tokio runtime, which registers the listeners.
    pub fn start(
        listeners: HttpListeners,
        context: Arc<ServerContext>,
        router: &Router,
        threads: usize,
    ) -> io::Result<Self> {
        let workers = (0..threads.max(1))
            .map(|number| Worker::start(number, &context, router.clone()))
            .collect::<io::Result<_>>()?;
        let workers = Arc::new(workers);
        let main_scope = match listeners.admin {
            Some(_) => ListenerScope::Public,
            None => ListenerScope::Everything,
        };
        let ConnectionLimits {
            connections,
            reserve,
        } = context.connection_limits;
        let accept = |listener, places| {
            let acceptor = Acceptor::new(listener, Arc::clone(&workers), places, &context);
            acceptor.map(Arc::new)
        };
        let main_places = ConnectionPlaces::new(main_scope, connections, reserve);
        // Few clients ask for the reports, so as many places as in a reserve suffice.
        let admin_places = ConnectionPlaces::new(ListenerScope::Admin, reserve, reserve);
        let admin = listeners
            .admin
            .map(|listener| accept(listener, admin_places));
        Ok(Self {
            main: accept(listeners.main, main_places)?,
            admin: admin.transpose()?,
            context,
            workers,
        })
    }

    /// Serves until `drain` is cancelled. Then readiness fails, the listeners close after
    /// `CLOSE_DELAY`, and the requests in progress are finished within the configured grace.
    pub async fn run(self, drain: CancellationToken) {
        let Self {
            context,
            workers,
            main,
            admin,
        } = self;
        let accept_admin = async {
            if let Some(admin) = admin {
                accept_until_drain(&context, admin, "admin accept loop", &drain).await;
            }
        };
        let accept_main = accept_until_drain(&context, main, "accept loop", &drain);
        tokio::join!(accept_main, accept_admin);
        let workers = Arc::into_inner(workers).unwrap_or_default();
        // Every worker must see its queue closed before the first one is awaited: they drain in
        // parallel.
        let finished: Vec<_> = workers.into_iter().map(Worker::finish).collect();
        for worker_finished in finished {
            // An error means that the thread has ended already.
            let _ = worker_finished.await;
        }
    }
}

/// Accepts connections until the listener must close, and closes it.
async fn accept_until_drain(
    context: &Arc<ServerContext>,
    acceptor: Arc<Acceptor>,
    name: &'static str,
    drain: &CancellationToken,
) {
    let accept = || {
        let (context, acceptor) = (Arc::clone(context), Arc::clone(&acceptor));
        let drain = drain.clone();
        async move {
            let closing = wait_for_close(&context, &drain);
            acceptor.accept_until(closing).await;
        }
    };
    let supervisor = &context.supervisor;
    supervisor.supervise_until(name, drain, accept).await;
    if let Some(acceptor) = Arc::into_inner(acceptor) {
        acceptor.close_listener();
    }
}

/// Waits until the listener must close: the drain, and the delay after it.
async fn wait_for_close(context: &ServerContext, drain: &CancellationToken) {
    drain.cancelled().await;
    // Readiness fails before the listener closes, so that a load balancer can see it.
    context.start_drain();
    tokio::time::sleep(CLOSE_DELAY.min(context.settings.shutdown_grace / 8)).await;
}
