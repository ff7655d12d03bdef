//! One serving thread: a runtime of its own, its connections, and the sweep that keeps their deadlines.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use http::StatusCode;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use tokio::runtime;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use super::accept_queue::{AcceptQueue, QueuedConnection};
use super::connection_state::{CoarseClock, ConnectionState, ConnectionTimeouts};
use super::fast_path;
use super::problem::{ProblemDetails, ProblemKind};
use super::service::{ConnectionService, WorkerState};
use super::socket::ClientSocket;
use crate::api::AppState;
use crate::metrics::ThreadCounters;

/// A connection's read and write buffers grow up to here; longer heads are 431.
const MAX_BUFFER: usize = 16 * 1024;

/// More header fields than this are 431.
const MAX_HEADERS: usize = 64;

/// How precisely deadlines are kept.
const MAX_SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// Who has been idle for less than this keeps its place when others want one.
const MIN_EVICTION_IDLE: Duration = Duration::from_secs(1);

/// Connections that a thread takes on before it goes round those that it has. A new one costs as much as several answers,
/// so a crowd that comes in at once, or gives up and comes again, must not keep all of those waiting that were here before.
const MAX_STARTS_PER_ROUND: usize = 32;

/// How long after the drain began a connection without a request in progress is kept: whoever was just about to ask is
/// answered, and told by that answer that it is the last.
const DRAIN_IDLE_GRACE: Duration = Duration::from_millis(500);

/// An accepted connection and its place under the cap.
pub(crate) struct AcceptedConnection {
    pub(crate) stream: TcpStream,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// What the accept loop wants of a serving thread.
enum WorkerCommand {
    /// Serve a connection.
    Serve(AcceptedConnection),
    /// End some of those that have been idle longest.
    EvictIdle,
}

/// The accept loop's end of a serving thread.
pub(crate) struct Worker {
    pub(crate) stats: Arc<ThreadCounters>,
    commands: mpsc::UnboundedSender<WorkerCommand>,
    finished: oneshot::Receiver<()>,
}

impl Worker {
    /// Starts the `number`th serving thread.
    pub(crate) fn start(number: usize, site: &Arc<AppState>) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (tasks, incoming) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let stats = site.http_metrics.register_thread();
        let mut rota = WorkerLoop::new(site, Arc::clone(&stats));
        let (supervisor, mut incoming) = (site.supervisor.clone(), incoming);
        let body = move || {
            supervisor.supervise_on_thread("serving thread", &runtime, async || {
                rota.run(&mut incoming).await
            });
            // Nobody waiting is fine.
            let _ = end.send(());
        };
        thread::Builder::new()
            .name(format!("serve-{number}"))
            .spawn(body)?;
        Ok(Self {
            stats,
            commands: tasks,
            finished: ended,
        })
    }

    /// Hands over a connection.
    pub(crate) fn assign_connection(&self, arrival: AcceptedConnection) {
        self.stats.open_connections.fetch_add(1, Relaxed);
        self.send_command(WorkerCommand::Serve(arrival));
    }

    /// Asks it to end connections that nobody uses.
    pub(crate) fn request_eviction(&self) {
        self.send_command(WorkerCommand::EvictIdle);
    }

    fn send_command(&self, task: WorkerCommand) {
        if self.commands.send(task).is_err() {
            tracing::error!("a serving thread is gone");
        }
    }

    /// Lets it finish what it does; what is returned tells when it has.
    pub(crate) fn finish(self) -> oneshot::Receiver<()> {
        self.finished
    }
}

/// The connections of one thread.
struct WorkerLoop {
    worker_state: Arc<WorkerState>,
    coarse_clock: Arc<CoarseClock>,
    http_builder: Builder,
    connection_tasks: TaskTracker,
    accept_queue: AcceptQueue,
    connections: Vec<OpenConnection>,
    timeouts: ConnectionTimeouts,
    started_at: Instant,
    /// Between two sweeps.
    sweep_interval: Duration,
}

struct OpenConnection {
    conn: Arc<ConnectionState>,
    abort_handle: AbortHandle,
}

impl WorkerLoop {
    fn new(site: &Arc<AppState>, stats: Arc<ThreadCounters>) -> Self {
        let mut builder = Builder::new();
        builder
            .max_buf_size(MAX_BUFFER)
            .max_headers(MAX_HEADERS)
            .half_close(true)
            .header_read_timeout(None);
        let patience = ConnectionTimeouts {
            head: site.settings.header_timeout,
            idle: site.settings.idle_timeout,
        };
        let every = (patience.head.min(patience.idle) / 8)
            .clamp(Duration::from_millis(5), MAX_SWEEP_INTERVAL);
        Self {
            worker_state: Arc::new(WorkerState::new(Arc::clone(site), stats)),
            coarse_clock: Arc::default(),
            http_builder: builder,
            connection_tasks: TaskTracker::new(),
            accept_queue: AcceptQueue::default(),
            connections: Vec::new(),
            timeouts: patience,
            started_at: site.clock.instant(),
            sweep_interval: every,
        }
    }

    /// Serves until nothing more can come, then what is left. If it is called again after a panic, it goes on.
    async fn run(&mut self, tasks: &mut mpsc::UnboundedReceiver<WorkerCommand>) {
        let mut sweep_at = self.now() + self.sweep_interval;
        loop {
            while let Ok(task) = tasks.try_recv() {
                self.handle_command(task);
            }
            if !self.accept_queue.is_empty() {
                self.start_queued(MAX_STARTS_PER_ROUND);
                // Until all that is ready on this thread has had its turn.
                yield_now().await;
                if self.now() >= sweep_at {
                    self.sweep_connections();
                    sweep_at = self.now() + self.sweep_interval;
                }
                continue;
            }
            tokio::select! {
                biased;
                () = sleep_until(sweep_at), if !self.connections.is_empty() => {
                    self.sweep_connections();
                    sweep_at = self.now() + self.sweep_interval;
                }
                task = tasks.recv() => match task {
                    Some(task) => {
                        if self.connections.is_empty() {
                            sweep_at = self.now() + self.sweep_interval;
                        }
                        self.handle_command(task);
                    }
                    None => break,
                }
            }
        }
        self.start_queued(usize::MAX);
        self.drain_connections().await;
    }

    fn handle_command(&mut self, task: WorkerCommand) {
        // Who is new does not begin with the time that passed since the last sweep.
        self.advance_clock();
        match task {
            WorkerCommand::Serve(AcceptedConnection { stream, permit }) => {
                let place = ConnectionPermit::new(Arc::clone(&self.worker_state.stats), permit);
                self.accept_queue.push_connection(QueuedConnection {
                    accepted_at: self.coarse_clock.now(),
                    stream,
                    permit: place,
                });
            }
            WorkerCommand::EvictIdle => self.evict_idle(),
        }
    }

    /// Takes on at most so many of those who wait, the newest first.
    fn start_queued(&mut self, most: usize) {
        for _ in 0..most {
            let Some(newcomer) = self.accept_queue.pop_newest() else {
                break;
            };
            self.open_connection(newcomer);
        }
    }

    /// Nothing new comes. Ends when the last connection has, or with the grace.
    async fn drain_connections(&mut self) {
        let began = self
            .worker_state
            .app_state
            .drain_started_at()
            .unwrap_or_else(|| self.now());
        let grace = self.worker_state.app_state.settings.shutdown_grace;
        // Others have something to finish after us.
        let hard_end = began + grace.saturating_sub((grace / 10).min(MAX_SWEEP_INTERVAL));
        loop {
            self.sweep_connections();
            let now = self.now();
            if now >= began + DRAIN_IDLE_GRACE {
                self.connections
                    .iter()
                    .filter(|open| open.conn.is_awaiting_request())
                    .for_each(|open| open.abort_handle.abort());
            }
            if now >= hard_end {
                self.connections
                    .iter()
                    .for_each(|open| open.abort_handle.abort());
            }
            self.connection_tasks.close();
            tokio::select! {
                () = self.connection_tasks.wait() => return,
                () = sleep_until(now + self.sweep_interval.min(DRAIN_IDLE_GRACE / 8)) => {}
            }
        }
    }

    /// Forgets the connections that ended and ends those that are overdue.
    fn sweep_connections(&mut self) {
        self.advance_clock();
        let now = self.coarse_clock.now();
        self.accept_queue.remove_expired(now, self.timeouts.head);
        self.connections
            .retain(|open| !open.abort_handle.is_finished());
        self.connections
            .iter()
            .filter(|open| open.conn.is_overdue(now, self.timeouts))
            .for_each(|open| open.abort_handle.abort());
    }

    /// Ends the connections that have waited longest to be taken on, or else those that have been idle longest: a hundredth of all, so that looking through them pays, and at
    /// least one. Who asked a moment ago may be about to ask again.
    fn evict_idle(&mut self) {
        let now = self.coarse_clock.now();
        if self.accept_queue.evict_oldest(now) {
            return;
        }
        // Idling is noted as of the last tick before it began, so it may seem that much longer than it was.
        let least = MIN_EVICTION_IDLE + self.sweep_interval;
        let idle = |open: &OpenConnection| open.conn.idle_for(now).filter(|span| *span >= least);
        let mut idle: Vec<_> = self
            .connections
            .iter()
            .filter_map(|open| Some((idle(open)?, open)))
            .collect();
        idle.sort_unstable_by_key(|(span, _)| std::cmp::Reverse(*span));
        idle.iter()
            .take(self.connections.len().div_ceil(100))
            .for_each(|(_, open)| open.abort_handle.abort());
    }

    fn open_connection(&mut self, newcomer: QueuedConnection) {
        let QueuedConnection {
            accepted_at: since,
            stream,
            permit: place,
        } = newcomer;
        let Ok(stream) = prepare_stream(stream) else {
            return;
        };
        let conn = Arc::new(ConnectionState::new(Arc::clone(&self.coarse_clock), since));
        let attend = run_connection(
            self.http_builder.clone(),
            stream,
            Arc::clone(&conn),
            Arc::clone(&self.worker_state),
            place,
        );
        let task = self.connection_tasks.spawn(attend).abort_handle();
        self.connections.push(OpenConnection {
            conn,
            abort_handle: task,
        });
    }

    fn advance_clock(&self) {
        self.coarse_clock
            .set(self.now().saturating_duration_since(self.started_at));
    }

    fn now(&self) -> Instant {
        self.worker_state.app_state.clock.instant()
    }
}

/// A connection's place in the count and under the cap.
pub(crate) struct ConnectionPermit {
    stats: Arc<ThreadCounters>,
    _permit: OwnedSemaphorePermit,
}

impl ConnectionPermit {
    /// The place of a connection that `stats` counts already.
    pub(crate) fn new(stats: Arc<ThreadCounters>, permit: OwnedSemaphorePermit) -> Self {
        Self {
            stats,
            _permit: permit,
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.stats.open_connections.fetch_sub(1, Relaxed);
    }
}

fn prepare_stream(stream: TcpStream) -> io::Result<tokio::net::TcpStream> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    tokio::net::TcpStream::from_std(stream)
}

/// Serves one connection to its end: plain requests at once, everything from the first other one on by the library,
/// whose state is made only then.
async fn run_connection(
    builder: Builder,
    stream: tokio::net::TcpStream,
    conn: Arc<ConnectionState>,
    hall: Arc<WorkerState>,
    place: ConnectionPermit,
) {
    let mut io = ClientSocket::new(stream, Arc::clone(&conn));
    match fast_path::serve_fast_path(&hall, &mut io).await {
        Ok(Some(bytes)) => {
            io.replay_bytes(bytes);
            let front = ConnectionService::new(Arc::clone(&hall), Arc::clone(&conn));
            Box::pin(serve_with_hyper(&builder, io, &hall, front)).await;
        }
        Ok(None) => io.close().await,
        // Nobody is there to be told.
        Err(_) => {}
    }
    drop(place);
}

/// Serves the rest of a connection by the library.
async fn serve_with_hyper(
    builder: &Builder,
    io: ClientSocket,
    hall: &WorkerState,
    front: ConnectionService,
) {
    let mut connection = builder.serve_connection(TokioIo::new(io), front);
    let result = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let mut io = connection.into_parts().io.into_inner();
    if let Err(error) = result
        && error.is_parse()
    {
        if error.is_parse_version_h2() {
            // The library has no answer to the preface of HTTP/2.
            let refusal = ProblemDetails::new(ProblemKind::BadFraming, "HTTP/2 is not spoken here")
                .with_connection_close()
                .to_response();
            // It is being closed anyway.
            let _ = io
                .write_all(&fast_path::encode_response(
                    &refusal,
                    hall.app_state.clock.wall_time(),
                ))
                .await;
        }
        let too_large = error.is_parse_too_large();
        hall.count_unparsed(if too_large {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        } else {
            StatusCode::BAD_REQUEST
        });
    }
    io.close().await;
}
