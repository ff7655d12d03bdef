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

use crate::fetch::Fetch;

use super::Site;
use super::connection::{Conn, Patience, Ticks};
use super::counters::Counters;
use super::express;
use super::front::{Front, Hall};
use super::io::Io;
use super::lobby::{Lobby, Newcomer};
use super::problem::{Kind, Problem};

/// A connection's read and write buffers grow up to here; longer heads are 431.
const MAX_BUFFER: usize = 16 * 1024;

/// More header fields than this are 431.
const MAX_HEADERS: usize = 64;

/// How precisely deadlines are kept.
const COARSEST_SWEEP: Duration = Duration::from_millis(250);

/// Who has been idle for less than this keeps its place when others want one.
const LEAST_IDLE: Duration = Duration::from_secs(1);

/// Connections that a thread takes on before it goes round those that it has. A new one costs as much as several answers,
/// so a crowd that comes in at once, or gives up and comes again, must not keep all of those waiting that were here before.
const AT_ONCE: usize = 32;

/// How long after the drain began a connection without a request in progress is kept: whoever was just about to ask is
/// answered, and told by that answer that it is the last.
const LAST_CALL: Duration = Duration::from_millis(500);

/// An accepted connection and its place under the cap.
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    pub(super) permit: OwnedSemaphorePermit,
}

/// What the accept loop wants of a serving thread.
enum Task {
    /// Serve a connection.
    Serve(Arrival),
    /// End some of those that have been idle longest.
    MakeRoom,
}

/// The accept loop's end of a serving thread.
pub(super) struct Worker {
    pub(super) stats: Arc<Counters>,
    tasks: mpsc::UnboundedSender<Task>,
    ended: oneshot::Receiver<()>,
}

impl Worker {
    /// Starts the `number`th serving thread.
    pub(super) fn start<F: Fetch>(number: usize, site: &Arc<Site<F>>) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (tasks, incoming) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let stats = site.counters.enroll();
        let mut rota = Rota::new(site, Arc::clone(&stats));
        let (supervisor, mut incoming) = (site.supervisor.clone(), incoming);
        let body = move || {
            supervisor.hold_here("serving thread", &runtime, async || {
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
            tasks,
            ended,
        })
    }

    /// Hands over a connection.
    pub(super) fn take(&self, arrival: Arrival) {
        self.stats.connections.fetch_add(1, Relaxed);
        self.send(Task::Serve(arrival));
    }

    /// Asks it to end connections that nobody uses.
    pub(super) fn make_room(&self) {
        self.send(Task::MakeRoom);
    }

    fn send(&self, task: Task) {
        if self.tasks.send(task).is_err() {
            tracing::error!("a serving thread is gone");
        }
    }

    /// Lets it finish what it does; what is returned tells when it has.
    pub(super) fn finish(self) -> oneshot::Receiver<()> {
        self.ended
    }
}

/// The connections of one thread.
struct Rota<F> {
    hall: Arc<Hall<F>>,
    ticks: Arc<Ticks>,
    builder: Builder,
    tasks: TaskTracker,
    lobby: Lobby,
    open: Vec<Open>,
    patience: Patience,
    began: Instant,
    /// Between two sweeps.
    every: Duration,
}

struct Open {
    conn: Arc<Conn>,
    task: AbortHandle,
}

impl<F: Fetch> Rota<F> {
    fn new(site: &Arc<Site<F>>, stats: Arc<Counters>) -> Self {
        let mut builder = Builder::new();
        builder
            .max_buf_size(MAX_BUFFER)
            .max_headers(MAX_HEADERS)
            .half_close(true)
            .header_read_timeout(None);
        let patience = Patience {
            head: site.settings.header_timeout,
            idle: site.settings.idle_timeout,
        };
        let every =
            (patience.head.min(patience.idle) / 8).clamp(Duration::from_millis(5), COARSEST_SWEEP);
        Self {
            hall: Arc::new(Hall::new(Arc::clone(site), stats)),
            ticks: Arc::default(),
            builder,
            tasks: TaskTracker::new(),
            lobby: Lobby::default(),
            open: Vec::new(),
            patience,
            began: site.clock.instant(),
            every,
        }
    }

    /// Serves until nothing more can come, then what is left. If it is called again after a panic, it goes on.
    async fn run(&mut self, tasks: &mut mpsc::UnboundedReceiver<Task>) {
        let mut sweep_at = self.now() + self.every;
        loop {
            while let Ok(task) = tasks.try_recv() {
                self.take(task);
            }
            if !self.lobby.is_empty() {
                self.let_in(AT_ONCE);
                // Until all that is ready on this thread has had its turn.
                yield_now().await;
                if self.now() >= sweep_at {
                    self.sweep();
                    sweep_at = self.now() + self.every;
                }
                continue;
            }
            tokio::select! {
                biased;
                () = sleep_until(sweep_at), if !self.open.is_empty() => {
                    self.sweep();
                    sweep_at = self.now() + self.every;
                }
                task = tasks.recv() => match task {
                    Some(task) => {
                        if self.open.is_empty() {
                            sweep_at = self.now() + self.every;
                        }
                        self.take(task);
                    }
                    None => break,
                }
            }
        }
        self.let_in(usize::MAX);
        self.drain().await;
    }

    fn take(&mut self, task: Task) {
        // Who is new does not begin with the time that passed since the last sweep.
        self.tick();
        match task {
            Task::Serve(Arrival { stream, permit }) => {
                let place = Place::new(Arc::clone(&self.hall.stats), permit);
                self.lobby.enter(Newcomer {
                    since: self.ticks.now(),
                    stream,
                    place,
                });
            }
            Task::MakeRoom => self.make_room(),
        }
    }

    /// Takes on at most so many of those who wait, the newest first.
    fn let_in(&mut self, most: usize) {
        for _ in 0..most {
            let Some(newcomer) = self.lobby.newest() else {
                break;
            };
            self.open(newcomer);
        }
    }

    /// Nothing new comes. Ends when the last connection has, or with the grace.
    async fn drain(&mut self) {
        let began = self.hall.site.drained_since().unwrap_or_else(|| self.now());
        let grace = self.hall.site.settings.shutdown_grace;
        // Others have something to finish after us.
        let hard_end = began + grace.saturating_sub((grace / 10).min(COARSEST_SWEEP));
        loop {
            self.sweep();
            let now = self.now();
            if now >= began + LAST_CALL {
                self.open
                    .iter()
                    .filter(|open| open.conn.is_waiting())
                    .for_each(|open| open.task.abort());
            }
            if now >= hard_end {
                self.open.iter().for_each(|open| open.task.abort());
            }
            self.tasks.close();
            tokio::select! {
                () = self.tasks.wait() => return,
                () = sleep_until(now + self.every.min(LAST_CALL / 8)) => {}
            }
        }
    }

    /// Forgets the connections that ended and ends those that are overdue.
    fn sweep(&mut self) {
        self.tick();
        let now = self.ticks.now();
        self.lobby.leave(now, self.patience.head);
        self.open.retain(|open| !open.task.is_finished());
        self.open
            .iter()
            .filter(|open| open.conn.is_overdue(now, self.patience))
            .for_each(|open| open.task.abort());
    }

    /// Ends the connections that have waited longest to be taken on, or else those that have been idle longest: a hundredth of all, so that looking through them pays, and at
    /// least one. Who asked a moment ago may be about to ask again.
    fn make_room(&mut self) {
        let now = self.ticks.now();
        if self.lobby.make_room(now) {
            return;
        }
        // Idling is noted as of the last tick before it began, so it may seem that much longer than it was.
        let least = LEAST_IDLE + self.every;
        let idle = |open: &Open| open.conn.idle_for(now).filter(|span| *span >= least);
        let mut idle: Vec<_> = self
            .open
            .iter()
            .filter_map(|open| Some((idle(open)?, open)))
            .collect();
        idle.sort_unstable_by_key(|(span, _)| std::cmp::Reverse(*span));
        idle.iter()
            .take(self.open.len().div_ceil(100))
            .for_each(|(_, open)| open.task.abort());
    }

    fn open(&mut self, newcomer: Newcomer) {
        let Newcomer {
            since,
            stream,
            place,
        } = newcomer;
        let Ok(stream) = ready(stream) else { return };
        let conn = Arc::new(Conn::new(Arc::clone(&self.ticks), since));
        let attend = attend(
            self.builder.clone(),
            stream,
            Arc::clone(&conn),
            Arc::clone(&self.hall),
            place,
        );
        let task = self.tasks.spawn(attend).abort_handle();
        self.open.push(Open { conn, task });
    }

    fn tick(&self) {
        self.ticks
            .set(self.now().saturating_duration_since(self.began));
    }

    fn now(&self) -> Instant {
        self.hall.site.clock.instant()
    }
}

/// A connection's place in the count and under the cap.
pub(super) struct Place {
    stats: Arc<Counters>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// The place of a connection that `stats` counts already.
    pub(super) fn new(stats: Arc<Counters>, permit: OwnedSemaphorePermit) -> Self {
        Self {
            stats,
            _permit: permit,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stats.connections.fetch_sub(1, Relaxed);
    }
}

fn ready(stream: TcpStream) -> io::Result<tokio::net::TcpStream> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    tokio::net::TcpStream::from_std(stream)
}

/// Serves one connection to its end: plain requests at once, everything from the first other one on by the library,
/// whose state is made only then.
async fn attend<F: Fetch>(
    builder: Builder,
    stream: tokio::net::TcpStream,
    conn: Arc<Conn>,
    hall: Arc<Hall<F>>,
    place: Place,
) {
    let mut io = Io::new(stream, Arc::clone(&conn));
    match express::serve(&hall, &mut io).await {
        Ok(Some(bytes)) => {
            io.replay(bytes);
            let front = Front::new(Arc::clone(&hall), Arc::clone(&conn));
            Box::pin(converse(&builder, io, &hall, front)).await;
        }
        Ok(None) => io.close().await,
        // Nobody is there to be told.
        Err(_) => {}
    }
    drop(place);
}

/// Serves the rest of a connection by the library.
async fn converse<F: Fetch>(builder: &Builder, io: Io, hall: &Hall<F>, front: Front<F>) {
    let mut connection = builder.serve_connection(TokioIo::new(io), front);
    let result = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let mut io = connection.into_parts().io.into_inner();
    if let Err(error) = result
        && error.is_parse()
    {
        if error.is_parse_version_h2() {
            // The library has no answer to the preface of HTTP/2.
            let refusal = Problem::new(Kind::BadFraming, "HTTP/2 is not spoken here")
                .closing()
                .response();
            // It is being closed anyway.
            let _ = io
                .write_all(&express::written(&refusal, hall.site.clock.wall()))
                .await;
        }
        let too_large = error.is_parse_too_large();
        hall.count_unread(if too_large {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        } else {
            StatusCode::BAD_REQUEST
        });
    }
    io.close().await;
}
