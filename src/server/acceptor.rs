//! The accept loop: one listening socket, connections handed to whichever serving thread has fewest.
//!
//! One loop for all threads, so that the cap, running out of descriptors and the drain each happen in one place, and
//! so that a burst spreads evenly. At the cap those connections make room that have been idle longest, so that no crowd
//! of idle clients can keep a health check out; while none is idle it stops accepting, clients wait in the kernel's
//! queue, and none is turned away.

use std::io;
use std::net::TcpStream;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rustix::io::Errno;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::descriptor_limit;
use super::listener::HttpListener;
use super::worker::{AcceptedConnection, Worker};
use crate::api::AppState;

/// How long accepting rests when the machine is out of descriptors or memory. A connection that ends meanwhile frees
/// one; trying at once would only burn the processor.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How long the door stays open once the service says that it is not ready: a balancer, or a client that was told this
/// address a moment ago, is still answered rather than refused. At most an eighth of the grace.
const CLOSE_DELAY: Duration = Duration::from_millis(250);

/// How often, while somebody waits at the cap, it is asked who is idle.
const EVICTION_INTERVAL: Duration = Duration::from_millis(250);

/// The serving threads and the accept loop before them.
pub struct HttpServer {
    app_state: Arc<AppState>,
    acceptor: Arc<Acceptor>,
}

impl HttpServer {
    /// Starts `threads` serving threads for `site`; they inherit how urgent the calling thread is. To be called within
    /// a runtime, whose reactor watches `listener`.
    pub fn start(listener: HttpListener, site: Arc<AppState>, threads: usize) -> io::Result<Self> {
        let workers = (0..threads.max(1))
            .map(|n| Worker::start(n, &site))
            .collect::<io::Result<_>>()?;
        let listener = TcpListener::from_std(listener.into_inner())?;
        let room = Arc::new(Semaphore::new(descriptor_limit::connection_limit(
            site.settings.max_connections,
        )));
        let door = Acceptor {
            listener,
            workers,
            permits: room,
            unassigned: Mutex::default(),
            was_exhausted: AtomicBool::new(false),
        };
        Ok(Self {
            app_state: site,
            acceptor: Arc::new(door),
        })
    }

    /// Serves until `drain`; then it is no longer ready, closes the door a moment later and finishes what runs, within
    /// the grace of the configuration.
    pub async fn run(self, drain: CancellationToken) {
        let Self {
            app_state: site,
            acceptor: door,
        } = self;
        let accept = || {
            let (door, site, drain) = (Arc::clone(&door), Arc::clone(&site), drain.clone());
            async move { door.accept_until(wait_for_close(&site, &drain)).await }
        };
        site.supervisor
            .supervise_until("accept loop", &drain, accept)
            .await;
        let workers = Arc::into_inner(door)
            .map(Acceptor::close_listener)
            .unwrap_or_default();
        // All are told before any is waited for.
        let ends: Vec<_> = workers.into_iter().map(Worker::finish).collect();
        for end in ends {
            // An error means that the thread is gone already.
            let _ = end.await;
        }
    }
}

/// Waits for the drain, and for the moment after it in which the door stays open.
async fn wait_for_close(site: &AppState, drain: &CancellationToken) {
    drain.cancelled().await;
    // Before the door closes, so that whoever asks can see it.
    site.start_drain();
    tokio::time::sleep(CLOSE_DELAY.min(site.settings.shutdown_grace / 8)).await;
}

struct Acceptor {
    listener: TcpListener,
    workers: Vec<Worker>,
    permits: Arc<Semaphore>,
    /// The one connection that was accepted and has no place yet.
    unassigned: Mutex<Option<TcpStream>>,
    /// Whether accepting failed last time for want of descriptors or memory; said once, not at every try.
    was_exhausted: AtomicBool,
}

impl Acceptor {
    /// Accepts until `closing`.
    async fn accept_until(&self, closing: impl Future<Output = ()>) {
        let mut closing = pin!(closing);
        loop {
            let arrival = tokio::select! {
                biased;
                () = &mut closing => return,
                arrival = self.next_connection() => arrival,
            };
            assign_to_worker(&self.workers, arrival);
        }
    }

    async fn next_connection(&self) -> AcceptedConnection {
        loop {
            if self.lock_unassigned().is_none() {
                let accepted = self.accept().await;
                *self.lock_unassigned() = accepted;
            }
            let permit = self.acquire_permit().await;
            if let Some(stream) = self.lock_unassigned().take() {
                return AcceptedConnection { stream, permit };
            }
        }
    }

    async fn accept(&self) -> Option<TcpStream> {
        match self
            .listener
            .accept()
            .await
            .and_then(|(stream, _)| stream.into_std())
        {
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

    /// A place under the cap, made by whoever is idle if there is none.
    async fn acquire_permit(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                return permit;
            }
            self.workers.iter().for_each(Worker::request_eviction);
            if let Ok(Ok(permit)) =
                timeout(EVICTION_INTERVAL, Arc::clone(&self.permits).acquire_owned()).await
            {
                return permit;
            }
        }
    }

    fn lock_unassigned(&self) -> MutexGuard<'_, Option<TcpStream>> {
        self.unassigned.lock()
    }

    /// Who reset before being accepted is no trouble of ours; what the machine lacks it may have again soon.
    async fn handle_accept_error(&self, error: &io::Error) {
        let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
        if !lacking
            .into_iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
        {
            return;
        }
        if !self.was_exhausted.swap(true, Relaxed) {
            tracing::warn!(%error, "cannot accept connections for now");
        }
        tokio::time::sleep(EXHAUSTED_PAUSE).await;
    }

    /// Closes. Those who were let in by the kernel before would be reset by that, so they are taken first.
    fn close_listener(self) -> Vec<Worker> {
        let waiting = self.lock_unassigned().take();
        if let (Some(stream), Ok(permit)) = (waiting, Arc::clone(&self.permits).try_acquire_owned())
        {
            assign_to_worker(&self.workers, AcceptedConnection { stream, permit });
        }
        if let Ok(listener) = self.listener.into_std() {
            while let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned()
                && let Ok((stream, _)) = listener.accept()
            {
                assign_to_worker(&self.workers, AcceptedConnection { stream, permit });
            }
        }
        self.workers
    }
}

/// Gives a connection to the thread that has fewest.
fn assign_to_worker(workers: &[Worker], arrival: AcceptedConnection) {
    if let Some(worker) = workers
        .iter()
        .min_by_key(|worker| worker.stats.open_connections.load(Relaxed))
    {
        worker.assign_connection(arrival);
    }
}
