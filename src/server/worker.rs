//! A worker: one thread with its own runtime, its connections, and the sweep that enforces their
//! deadlines.

use std::cmp::Reverse;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use axum::Router;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use crate::metrics::ThreadCounters;

use super::accept_queue::{AcceptQueue, QueuedConnection};
use super::client_limit::AdmittedStream;
use super::client_stream::{AcceptedStream, ClientStream};
use super::coarse_clock::CoarseClock;
use super::connection::run_connection;
use super::connection_phase::ConnectionTimeouts;
use super::connection_places::{ConnectionPermit, ConnectionPlace};
use super::connection_state::ConnectionState;
use super::eviction::{rank_for_eviction, stall_in_reserve};
use super::server_context::ServerContext;
use super::worker_state::WorkerState;

/// Maximum time between two sweeps, and so the precision of the deadlines.
const MAX_SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// While the send budget is exceeded, a connection that has waited for its client for less than this is not closed.
const MIN_CLIENT_WAIT: Duration = Duration::from_millis(50);

/// The same for a client that has sent a request after the response to another one, or read much: it reads,
/// and this thread may be late.
const MIN_READER_WAIT: Duration = Duration::from_millis(400);

/// Minimum time between two searches while the send budget is exceeded. Thousands of charges would cause as many.
const MIN_SEARCH_INTERVAL: Duration = Duration::from_millis(5);

/// Maximum number of queued connections started per loop iteration. Starting a connection costs
/// several times as much as answering a request; the limit keeps established connections responsive
/// during an accept burst.
const MAX_STARTS_PER_ROUND: usize = 32;

/// How long after the start of the drain a connection without a request is kept. A request sent in
/// that time is still answered, with `Connection: close`.
const DRAIN_IDLE_GRACE: Duration = Duration::from_millis(500);

/// A message from the accept loop to a worker.
enum WorkerCommand {
    /// Serve a connection.
    Serve(AcceptedStream, ConnectionPermit),
    /// Close connections whose clients stall, if possible this many.
    Evict(usize),
    /// The same in the reserve.
    EvictReserved,
}

/// The accept loop's handle of a worker thread. Dropping it ends the worker once its connections
/// are drained.
pub(super) struct Worker {
    counters: Arc<ThreadCounters>,
    commands: mpsc::UnboundedSender<WorkerCommand>,
    finished: oneshot::Receiver<()>,
}

impl Worker {
    /// Starts worker thread number `number`.
    pub(super) fn start(
        number: usize,
        context: &Arc<ServerContext>,
        router: Router,
    ) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (commands, mut received_commands) = mpsc::unbounded_channel();
        let (finish, finished) = oneshot::channel();
        let counters = context.request_metrics.register_thread();
        let state = WorkerState::new(Arc::clone(context), Arc::clone(&counters), router);
        let mut worker_loop = WorkerLoop::new(state);
        let supervisor = context.supervisor.clone();
        thread::Builder::new()
            .name(format!("serve-{number}"))
            .spawn(move || {
                supervisor.supervise_on_thread("serving thread", &runtime, async || {
                    worker_loop.run(&mut received_commands).await;
                });
                // The receiver is gone if the server was dropped instead of drained.
                let _ = finish.send(());
            })?;
        Ok(Self {
            counters,
            commands,
            finished,
        })
    }

    /// Connections assigned to the worker and not yet closed.
    pub(super) fn open_connections(&self) -> usize {
        self.counters.open_connections.load(Relaxed)
    }

    /// Assigns a connection, counted from now on.
    pub(super) fn assign_connection(
        &self,
        (stream, client): AdmittedStream,
        place: ConnectionPlace,
    ) {
        let permit = ConnectionPermit::new(Arc::clone(&self.counters), place, client);
        self.send_command(WorkerCommand::Serve(stream, permit));
    }

    /// Requests that the worker closes connections whose clients stall, if possible `count`.
    pub(super) fn request_eviction(&self, count: usize) {
        self.send_command(WorkerCommand::Evict(count));
    }

    /// The same for connections in the reserve.
    pub(super) fn request_reserve_eviction(&self) {
        self.send_command(WorkerCommand::EvictReserved);
    }

    fn send_command(&self, command: WorkerCommand) {
        if self.commands.send(command).is_err() {
            tracing::error!("worker thread stopped");
        }
    }

    /// Starts the worker's drain by closing its command channel. The receiver resolves when every
    /// connection is closed.
    pub(super) fn finish(self) -> oneshot::Receiver<()> {
        self.finished
    }
}

/// The loop of a worker thread and its connections.
struct WorkerLoop {
    state: Arc<WorkerState>,
    coarse_clock: Arc<CoarseClock>,
    accept_queue: AcceptQueue,
    connections: Vec<OpenConnection>,
    connection_tasks: TaskTracker,
    timeouts: ConnectionTimeouts,
    sweep_interval: Duration,
}

/// A connection that has been started.
struct OpenConnection {
    state: Arc<ConnectionState>,
    task: AbortHandle,
}

impl WorkerLoop {
    fn new(state: WorkerState) -> Self {
        let settings = &state.context.settings;
        let timeouts = ConnectionTimeouts {
            head: settings.header_timeout,
            idle: settings.idle_timeout,
        };
        Self {
            coarse_clock: Arc::new(CoarseClock::start(state.context.clock)),
            state: Arc::new(state),
            accept_queue: AcceptQueue::default(),
            connections: Vec::new(),
            connection_tasks: TaskTracker::new(),
            timeouts,
            sweep_interval: (timeouts.head.min(timeouts.idle) / 8)
                .clamp(Duration::from_millis(5), MAX_SWEEP_INTERVAL),
        }
    }

    /// Serves until the accept loop drops its handle, then drains. After a panic, a second call
    /// continues with the same connections.
    async fn run(&mut self, commands: &mut mpsc::UnboundedReceiver<WorkerCommand>) {
        let mut sweep_at = self.now() + self.sweep_interval;
        loop {
            while let Ok(command) = commands.try_recv() {
                self.handle_command(command);
            }
            if !self.accept_queue.is_empty() {
                self.start_queued(MAX_STARTS_PER_ROUND);
                // A crowd that arrives at once would fill the memory before the queue is empty.
                self.relieve_budget().await;
                // The connections that are ready run before more are started.
                yield_now().await;
                if self.now() >= sweep_at {
                    sweep_at = self.sweep_and_relieve().await;
                }
                continue;
            }
            let budget = Arc::clone(self.state.context.cache.send_budget());
            tokio::select! {
                biased;
                () = sleep_until(sweep_at), if !self.connections.is_empty() => {
                    sweep_at = self.sweep_and_relieve().await;
                }
                // Many charges at once cause one search.
                () = budget.wait_for_excess() => {
                    sweep_at = sweep_at.min(self.now() + MIN_SEARCH_INTERVAL);
                }
                command = commands.recv() => match command {
                    Some(command) => {
                        // The sweep was off while there was no connection, so its time may be long
                        // past.
                        if self.connections.is_empty() {
                            sweep_at = self.now() + self.sweep_interval;
                        }
                        self.handle_command(command);
                    }
                    None => break,
                }
            }
        }
        self.start_queued(usize::MAX);
        self.drain_connections().await;
    }

    fn handle_command(&mut self, command: WorkerCommand) {
        // Without this a new connection would be charged the time since the last sweep.
        self.coarse_clock.advance();
        match command {
            WorkerCommand::Serve(stream, permit) => self.accept_queue.push(QueuedConnection {
                accepted_at: self.coarse_clock.now(),
                stream,
                permit,
            }),
            WorkerCommand::Evict(count) => self.evict_stalled(count),
            WorkerCommand::EvictReserved => self.evict_reserved(),
        }
    }

    /// Starts at most `limit` queued connections.
    fn start_queued(&mut self, limit: usize) {
        for _ in 0..limit {
            let Some(queued) = self.accept_queue.pop_next() else {
                break;
            };
            // Registering a stream fails only if the client has reset the connection.
            if let Ok(stream) = queued.stream.register() {
                self.open_connection(stream, queued.accepted_at, queued.permit);
            }
        }
    }

    fn open_connection(
        &mut self,
        stream: ClientStream,
        accepted_at: u64,
        permit: ConnectionPermit,
    ) {
        let coarse_clock = Arc::clone(&self.coarse_clock);
        let state = Arc::new(ConnectionState::new(
            coarse_clock,
            accepted_at,
            permit.is_reserved(),
        ));
        let task = self
            .connection_tasks
            .spawn(run_connection(
                stream,
                Arc::clone(&state),
                Arc::clone(&self.state),
                permit,
            ))
            .abort_handle();
        self.connections.push(OpenConnection { state, task });
    }

    /// Removes closed connections and closes those whose deadline has passed.
    fn sweep_connections(&mut self) {
        self.coarse_clock.advance();
        let now = self.coarse_clock.now();
        self.accept_queue.remove_expired(now, self.timeouts.head);
        self.connections.retain(|open| !open.task.is_finished());
        for open in &self.connections {
            if open.state.is_overdue(now, self.timeouts) {
                open.task.abort();
            }
        }
    }

    /// Closes what is overdue or exceeds the send budget. Returns the time of the next sweep.
    async fn sweep_and_relieve(&mut self) -> Instant {
        self.sweep_connections();
        self.relieve_budget().await;
        if self.state.context.cache.send_budget().is_exceeded() {
            return self.now() + MIN_SEARCH_INTERVAL;
        }
        self.now() + self.sweep_interval
    }

    /// While the send budget is exceeded, closes the connections that have waited longest for their client.
    async fn relieve_budget(&mut self) {
        let budget = Arc::clone(self.state.context.cache.send_budget());
        while budget.is_exceeded() {
            let is_far = budget.is_far_exceeded();
            self.coarse_clock.advance();
            let now = self.coarse_clock.now();
            let waiting = self.connections.iter().filter_map(|open| {
                let wait = open.state.wait_for_client(now)?;
                // Far above the limit, clients are waited for only as long as one that reads needs.
                let min_wait = match (open.state.is_known_reader(), is_far) {
                    (true, false) => MIN_READER_WAIT,
                    (false, true) => Duration::ZERO,
                    _ => MIN_CLIENT_WAIT,
                };
                (wait >= min_wait && !open.task.is_finished()).then_some((Reverse(wait), open))
            });
            let waiting: Vec<_> = waiting.collect();
            let count = waiting.len().div_ceil(100);
            if abort_first(waiting, count) == 0 {
                return;
            }
            // The bytes are released when the tasks end.
            yield_now().await;
        }
    }

    /// Closes the queued connections that have waited longest, or if there are none the connections
    /// that have stalled longest, by rank: `count` or a hundredth.
    fn evict_stalled(&mut self, count: usize) {
        let now = self.coarse_clock.now();
        if self.accept_queue.evict_oldest(now) {
            return;
        }
        let stalled = self.connections.iter().filter_map(|open| {
            let (rank, time) = rank_for_eviction(&open.state, now, self.sweep_interval)?;
            (!open.task.is_finished()).then_some(((rank, Reverse(time)), open))
        });
        let stalled: Vec<_> = stalled.collect();
        let count = count.max(stalled.len().div_ceil(100));
        abort_first(stalled, count);
    }

    /// Closes half of the stalled connections in the reserve: answered ones first, then those that
    /// have waited longest, so that a health check that comes a little late is still answered.
    fn evict_reserved(&mut self) {
        let now = self.coarse_clock.now();
        let stalled = self.connections.iter().filter_map(|open| {
            let (is_waiting, stall) = stall_in_reserve(&open.state, now)?;
            (!open.task.is_finished()).then_some(((is_waiting, Reverse(stall)), open))
        });
        let stalled: Vec<_> = stalled.collect();
        let count = stalled.len().div_ceil(2);
        abort_first(stalled, count);
    }

    /// Waits until every connection has closed. Closes idle connections after [`DRAIN_IDLE_GRACE`]
    /// and all of them when the shutdown grace ends.
    async fn drain_connections(&mut self) {
        let context = &self.state.context;
        let started_at = context.drain_started_at().unwrap_or_else(|| self.now());
        let grace = context.settings.shutdown_grace;
        // The last part of the grace is left for saving the state.
        let hard_end = started_at + grace.saturating_sub((grace / 10).min(MAX_SWEEP_INTERVAL));
        loop {
            self.sweep_connections();
            let now = self.now();
            for open in &self.connections {
                let may_close =
                    open.state.is_awaiting_request() && now >= started_at + DRAIN_IDLE_GRACE;
                if may_close || now >= hard_end {
                    open.task.abort();
                }
            }
            self.connection_tasks.close();
            tokio::select! {
                () = self.connection_tasks.wait() => return,
                () = sleep_until(now + self.sweep_interval.min(DRAIN_IDLE_GRACE / 8)) => {}
            }
        }
    }

    fn now(&self) -> Instant {
        self.state.context.clock.instant()
    }
}

/// Closes `count` of the connections, those whose keys are smallest. Returns how many there were to close.
fn abort_first<K: Ord + Copy>(mut connections: Vec<(K, &OpenConnection)>, count: usize) -> usize {
    connections.sort_unstable_by_key(|(key, _)| *key);
    connections.truncate(count);
    for (_, open) in &connections {
        open.task.abort();
    }
    connections.len()
}
