//! The accept loop: accepts connections and assigns each to the worker with the fewest.
//!
//! One loop serves all workers, so that the connection limit, descriptor exhaustion and the drain
//! are handled in one place and a burst is spread evenly. At the limit, the connections that have
//! been idle longest are closed, so that idle clients cannot lock out a health check. If no
//! connection is idle, the loop stops accepting and new clients wait in the kernel's queue; none is
//! refused.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::client_stream::AcceptedStream;
use super::descriptor_limit;
use super::listener::{AsyncListener, HttpListener};
use super::worker::Worker;

/// How long accepting pauses when descriptors or memory are exhausted. Retrying at once would only
/// burn CPU; a connection that closes in the meantime frees a descriptor.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Time between two eviction requests to the workers while an accepted connection has no permit.
const EVICTION_INTERVAL: Duration = Duration::from_millis(250);

/// Accepts connections and distributes them to the workers.
pub(super) struct Acceptor {
    listener: AsyncListener,
    workers: Vec<Worker>,
    /// One permit per connection; as many as the connection limit.
    permits: Arc<Semaphore>,
    /// An accepted connection that has no permit yet. Kept here so that a restart of the loop does
    /// not lose it.
    unassigned: Mutex<Option<AcceptedStream>>,
    /// Whether the latest accept failed because descriptors or memory were exhausted; the first
    /// failure is logged.
    was_exhausted: AtomicBool,
}

impl Acceptor {
    /// An acceptor that assigns at most `max_connections` connections at a time, or as many as
    /// descriptors allow.
    pub(super) fn new(
        listener: HttpListener,
        workers: Vec<Worker>,
        max_connections: usize,
    ) -> io::Result<Self> {
        let limit = descriptor_limit::connection_limit(max_connections);
        Ok(Self {
            listener: listener.register()?,
            workers,
            permits: Arc::new(Semaphore::new(limit)),
            unassigned: Mutex::default(),
            was_exhausted: AtomicBool::new(false),
        })
    }

    /// Accepts until `closing` resolves.
    pub(super) async fn accept_until(&self, closing: impl Future<Output = ()>) {
        let mut closing = pin!(closing);
        loop {
            tokio::select! {
                biased;
                () = &mut closing => return,
                (stream, permit) = self.next_connection() => self.assign(stream, permit),
            }
        }
    }

    /// The next connection and its permit. Cancel safe: an accepted connection stays in
    /// `unassigned`.
    async fn next_connection(&self) -> (AcceptedStream, OwnedSemaphorePermit) {
        loop {
            if self.unassigned.lock().is_none() {
                let accepted = self.accept().await;
                *self.unassigned.lock() = accepted;
            }
            let permit = self.acquire_permit().await;
            if let Some(stream) = self.unassigned.lock().take() {
                return (stream, permit);
            }
        }
    }

    async fn accept(&self) -> Option<AcceptedStream> {
        match self.listener.accept().await {
            Ok(stream) => {
                self.was_exhausted.store(false, Relaxed);
                Some(stream)
            }
            Err(error) => {
                self.handle_accept_error(&error).await;
                None
            }
        }
    }

    /// Pauses if descriptors or memory are exhausted. Every other error belongs to one connection
    /// that the client reset before it was accepted.
    async fn handle_accept_error(&self, error: &io::Error) {
        let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
        let code = error.raw_os_error();
        if !exhausted
            .iter()
            .any(|errno| code == Some(errno.raw_os_error()))
        {
            return;
        }
        if !self.was_exhausted.swap(true, Relaxed) {
            tracing::warn!(error = error.to_string(), "accepting connections paused");
        }
        tokio::time::sleep(EXHAUSTED_PAUSE).await;
    }

    /// Waits for a permit. While there is none, the workers close idle connections.
    async fn acquire_permit(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                return permit;
            }
            self.workers.iter().for_each(Worker::request_eviction);
            let released = Arc::clone(&self.permits).acquire_owned();
            if let Ok(Ok(permit)) = timeout(EVICTION_INTERVAL, released).await {
                return permit;
            }
        }
    }

    /// Closes the listener and returns the workers. Connections that the kernel has completed are
    /// assigned first: closing the listener would reset them.
    pub(super) fn close_listener(mut self) -> Vec<Worker> {
        if let Some(stream) = self.unassigned.get_mut().take()
            && let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned()
        {
            self.assign(stream, permit);
        }
        let Self {
            listener,
            workers,
            permits,
            ..
        } = self;
        let mut pending = listener.into_pending();
        while let Ok(permit) = Arc::clone(&permits).try_acquire_owned()
            && let Some(stream) = pending.next()
        {
            assign_to_least_loaded(&workers, stream, permit);
        }
        drop(pending);
        workers
    }

    fn assign(&self, stream: AcceptedStream, permit: OwnedSemaphorePermit) {
        assign_to_least_loaded(&self.workers, stream, permit);
    }
}

fn assign_to_least_loaded(
    workers: &[Worker],
    stream: AcceptedStream,
    permit: OwnedSemaphorePermit,
) {
    if let Some(worker) = workers
        .iter()
        .min_by_key(|worker| worker.open_connections())
    {
        worker.assign_connection(stream, permit);
    }
}
