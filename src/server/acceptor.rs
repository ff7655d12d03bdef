//! The accept loop: accepts connections and assigns each to the worker with the fewest.
//!
//! One loop serves all workers, so that the connection limit, descriptor exhaustion and the drain
//! are handled in one place and a burst is spread evenly. At the limit, the connections whose clients
//! have stalled longest are closed, and new ones are accepted in the reserve, so that no client can
//! lock out a health check. While many wait there, requests of others are refused here. While the reserve is
//! full, new clients that have sent no request wait in the kernel's queue.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;
use tokio::time::{Instant, timeout};

use crate::metrics::RequestMetrics;
use crate::process::Clock;

use super::client_limit::{AdmittedStream, ClientLimit, ClientPermit};
use super::connection_places::{ConnectionPlace, ConnectionPlaces};
use super::early_refusal::EarlyRefusal;
use super::listener::{AsyncListener, HttpListener};
use super::server_context::ServerContext;
use super::worker::Worker;

/// How long accepting pauses when descriptors or memory are exhausted. Retrying at once would only
/// burn CPU; a connection that closes in the meantime frees a descriptor.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Minimum time between two eviction requests to the workers. Thousands of new clients would cause as many, each of
/// which is a search.
const EVICTION_INTERVAL: Duration = Duration::from_millis(5);

/// Time between two eviction requests in the reserve: often enough for all of its places in the time that its
/// connections have.
const RESERVE_EVICTION_INTERVAL: Duration = Duration::from_micros(2500);

/// Accepts connections and distributes them to the workers.
pub(super) struct Acceptor {
    listener: AsyncListener,
    workers: Arc<Vec<Worker>>,
    places: Arc<ConnectionPlaces>,
    /// An accepted connection that has no place yet. Kept here so that a restart of the loop does
    /// not lose it.
    unassigned: Mutex<Option<AdmittedStream>>,
    clock: Clock,
    next_eviction: Mutex<Instant>,
    early_refusal: EarlyRefusal,
    client_limit: Arc<ClientLimit>,
    request_metrics: Arc<RequestMetrics>,
    /// Whether the latest accept failed because descriptors or memory were exhausted; the first
    /// failure is logged.
    was_exhausted: AtomicBool,
}

impl Acceptor {
    /// An acceptor that assigns connections to `workers` while there are places.
    pub(super) fn new(
        listener: HttpListener,
        workers: Arc<Vec<Worker>>,
        places: Arc<ConnectionPlaces>,
        context: &Arc<ServerContext>,
    ) -> io::Result<Self> {
        Ok(Self {
            listener: listener.register()?,
            workers,
            places,
            unassigned: Mutex::default(),
            clock: context.clock,
            next_eviction: Mutex::new(context.clock.instant()),
            early_refusal: EarlyRefusal::new(Arc::clone(context)),
            client_limit: Arc::clone(&context.client_limit),
            request_metrics: Arc::clone(&context.request_metrics),
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
                () = self.places.eviction_needed.notified() => self.request_eviction(),
                (stream, place) = self.next_connection() => self.assign(stream, place),
            }
        }
    }

    /// The next connection and its place. Cancel safe: an accepted connection stays in
    /// `unassigned`.
    async fn next_connection(&self) -> (AdmittedStream, ConnectionPlace) {
        loop {
            if self.unassigned.lock().is_none() {
                let Some(accepted) = self.accept().await else {
                    continue;
                };
                *self.unassigned.lock() = Some(accepted);
            }
            let Some(place) = self.take_place().await else {
                // It has its answer.
                *self.unassigned.lock() = None;
                continue;
            };
            if let Some(stream) = self.unassigned.lock().take() {
                return (stream, place);
            }
        }
    }

    /// Accepts a connection. Closes it if its client has the maximum.
    async fn accept(&self) -> Option<AdmittedStream> {
        match self.listener.accept().await {
            Ok(stream) => {
                self.was_exhausted.store(false, Relaxed);
                let admitted = self.client_limit.admit_stream(stream);
                if admitted.is_none() {
                    self.request_metrics.record_refused_connection();
                }
                admitted
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

    /// Takes a place in the reserve if no regular one is free, or waits. Meanwhile, the workers close
    /// connections whose clients stall. `None` if the connection was refused.
    async fn take_place(&self) -> Option<ConnectionPlace> {
        if let Some(place) = self.places.take_regular() {
            return Some(place);
        }
        self.request_eviction();
        // A request that would wait in the reserve is refused there, too, if many wait.
        if !self.places.may_wait() && self.refuse_unassigned() {
            return None;
        }
        if let Some(place) = self.places.take_reserved() {
            return Some(place);
        }
        loop {
            self.workers
                .iter()
                .for_each(Worker::request_reserve_eviction);
            let place = timeout(RESERVE_EVICTION_INTERVAL, self.places.wait_for_place());
            if let Ok(Some(place)) = place.await {
                return Some(place);
            }
            // The request may have arrived meanwhile.
            if self.refuse_unassigned() {
                return None;
            }
        }
    }

    fn refuse_unassigned(&self) -> bool {
        let unassigned = self.unassigned.lock();
        let stream = unassigned.as_ref().map(|(stream, _)| stream);
        stream.is_some_and(|stream| self.early_refusal.refuse(stream))
    }

    /// Requests that each worker closes a connection, and one for each request in the reserve that waits for a
    /// regular place.
    fn request_eviction(&self) {
        let (now, mut next) = (self.clock.instant(), self.next_eviction.lock());
        if now < *next {
            return;
        }
        *next = now + EVICTION_INTERVAL;
        let count = self.places.waiting_count() + 1;
        for worker in self.workers.iter() {
            worker.request_eviction(count);
        }
    }

    /// Closes the listener. Connections that the kernel has completed are
    /// assigned first: closing the listener would reset them.
    pub(super) fn close_listener(mut self) {
        if let Some(stream) = self.unassigned.get_mut().take()
            && let Some(place) = self.places.take_regular()
        {
            self.assign(stream, place);
        }
        let Self {
            listener,
            workers,
            places,
            ..
        } = self;
        let mut pending = listener.into_pending();
        while let Some(place) = places.take_regular()
            && let Some(stream) = pending.next()
        {
            let admitted = (stream, ClientPermit::default());
            assign_to_least_loaded(&workers, admitted, place);
        }
    }

    fn assign(&self, stream: AdmittedStream, place: ConnectionPlace) {
        assign_to_least_loaded(&self.workers, stream, place);
    }
}

fn assign_to_least_loaded(workers: &[Worker], stream: AdmittedStream, place: ConnectionPlace) {
    if let Some(worker) = workers
        .iter()
        .min_by_key(|worker| worker.open_connections())
    {
        worker.assign_connection(stream, place);
    }
}
