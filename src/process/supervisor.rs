//! Supervision of long-running tasks: a task that ends or panics before it is to stop is logged,
//! counted and started again after a pause.
//!
//! State that must survive a restart belongs to the value from which the task is created.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{self, Handle};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use super::clock::Clock;

/// The first pause before a restart; it doubles up to [`MAX_RESTART_PAUSE`].
const MIN_RESTART_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause before a restart.
const MAX_RESTART_PAUSE: Duration = Duration::from_secs(5);

/// A task that ran for this long restarts after [`MIN_RESTART_PAUSE`] again.
const BACKOFF_RESET_AFTER: Duration = Duration::from_secs(60);

/// Restarts long-running tasks. Clones supervise and count the same tasks.
#[derive(Debug, Clone)]
pub struct Supervisor {
    runtime: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
    clock: Clock,
    tasks: Arc<Mutex<Vec<Arc<SupervisedTask>>>>,
}

/// A kind of task.
#[derive(Debug)]
struct SupervisedTask {
    name: &'static str,
    restarts: AtomicU64,
    panic_request: Notify,
}

/// The pause before the next restart.
struct RestartBackoff(Duration);

impl Supervisor {
    /// Returns a supervisor of tasks that run on `runtime`, are counted by `tracker` and end when
    /// `stop` is cancelled.
    pub fn new(
        runtime: Handle,
        tracker: TaskTracker,
        stop: CancellationToken,
        clock: Clock,
    ) -> Self {
        Self {
            runtime,
            tracker,
            stop,
            clock,
            tasks: Arc::default(),
        }
    }

    /// Runs the task that `make` returns in the background. `make` is called again for each restart,
    /// with the token that stops the task.
    pub fn spawn_task<M, T>(&self, name: &'static str, mut make: M)
    where
        M: FnMut(CancellationToken) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let supervisor = self.clone();
        let supervision = async move {
            let stop = supervisor.stop.clone();
            supervisor
                .supervise_until(name, &stop, || make(stop.clone()))
                .await;
        };
        self.tracker.spawn_on(supervision, &self.runtime);
    }

    /// Runs the task that `make` returns, on the current runtime, until it ends after `until` was
    /// cancelled. A task that ends or panics before is started again.
    pub async fn supervise_until<M, T>(
        &self,
        name: &'static str,
        until: &CancellationToken,
        mut make: M,
    ) where
        M: FnMut() -> T,
        T: Future<Output = ()> + Send + 'static,
    {
        let task = self.register_task(name);
        let mut backoff = RestartBackoff(MIN_RESTART_PAUSE);
        loop {
            let (running, work) = (Arc::clone(&task), make());
            let started = self.clock.time_point();
            // A separate task, so that a panic ends it and not the supervision.
            let result = self
                .tracker
                .spawn(async move { running.run_until_panic_request(work).await })
                .await;
            if until.is_cancelled() {
                return;
            }
            let pause = backoff.next_pause(self.clock.elapsed_since(started));
            task.record_restart(if result.is_err() { "panicked" } else { "ended" }, pause);
            tokio::select! {
                () = until.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Runs the future that `run` returns on the calling thread, which owns `runtime`, until the
    /// future ends. A future that panics is replaced by a new one.
    pub fn supervise_on_thread(
        &self,
        name: &'static str,
        runtime: &runtime::Runtime,
        mut run: impl AsyncFnMut(),
    ) {
        let task = self.register_task(name);
        let mut backoff = RestartBackoff(MIN_RESTART_PAUSE);
        loop {
            let started = self.clock.time_point();
            let result: Result<(), Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(|| {
                runtime.block_on(task.run_until_panic_request(run()));
            }));
            if result.is_ok() {
                return;
            }
            let pause = backoff.next_pause(self.clock.elapsed_since(started));
            task.record_restart("panicked", pause);
            // Sleeps inside the runtime, whose other tasks continue meanwhile.
            runtime.block_on(async { sleep(pause).await });
        }
    }

    /// Returns the number of restarts of each kind of task.
    pub fn restarts(&self) -> Vec<(&'static str, u64)> {
        self.tasks
            .lock()
            .iter()
            .map(|task| (task.name, task.restarts.load(Relaxed)))
            .collect()
    }

    /// Returns the number of tasks on the runtime, short ones included.
    pub fn count_alive_tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }

    /// Makes one task of this kind panic: for tests of the restart.
    pub fn trigger_panic(&self, name: &'static str) {
        self.register_task(name).panic_request.notify_one();
    }

    /// Returns the kind of task with this name. Tasks of one kind share their counter.
    fn register_task(&self, name: &'static str) -> Arc<SupervisedTask> {
        let mut tasks = self.tasks.lock();
        if let Some(task) = tasks.iter().find(|task| task.name == name) {
            return Arc::clone(task);
        }
        let task = Arc::new(SupervisedTask {
            name,
            restarts: AtomicU64::new(0),
            panic_request: Notify::new(),
        });
        tasks.push(Arc::clone(&task));
        task
    }
}

impl SupervisedTask {
    async fn run_until_panic_request(&self, work: impl Future<Output = ()>) {
        tokio::select! {
            () = work => {}
            () = self.panic_request.notified() => panic!("panic requested by a test"),
        }
    }

    fn record_restart(&self, reason: &str, pause: Duration) {
        self.restarts.fetch_add(1, Relaxed);
        error!(
            task = self.name,
            reason,
            ?pause,
            "task stopped unexpectedly, restarting"
        );
    }
}

impl RestartBackoff {
    /// Returns the pause after a run of this length, and doubles the next one.
    fn next_pause(&mut self, run_time: Duration) -> Duration {
        let pause = if run_time >= BACKOFF_RESET_AFTER {
            MIN_RESTART_PAUSE
        } else {
            self.0
        };
        self.0 = (pause * 2).min(MAX_RESTART_PAUSE);
        pause
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn supervisor() -> (Supervisor, CancellationToken) {
        let stop = CancellationToken::new();
        (
            Supervisor::new(
                Handle::current(),
                TaskTracker::new(),
                stop.clone(),
                Clock::start(),
            ),
            stop,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn stopped_task_restarts_with_backoff() {
        let (supervisor, stop) = supervisor();
        let starts = Arc::new(Mutex::new(Vec::new()));
        let (recorded, clock) = (Arc::clone(&starts), supervisor.clock);
        supervisor.spawn_task("unstable", move |stop| {
            let mut recorded = recorded.lock();
            recorded.push(clock.instant());
            let number = recorded.len();
            async move {
                match number {
                    1..=7 => assert!(number % 2 == 0, "scripted panic"),
                    8 => sleep(BACKOFF_RESET_AFTER).await,
                    _ => stop.cancelled().await,
                }
            }
        });
        sleep(BACKOFF_RESET_AFTER * 2).await;
        assert_eq!(supervisor.restarts(), [("unstable", 8)]);
        let starts = starts.lock().clone();
        let pauses: Vec<u128> = starts
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_millis())
            .collect();
        assert_eq!(
            pauses,
            [100, 200, 400, 800, 1600, 3200, 5000, 60_100],
            "a long run resets the pause"
        );
        stop.cancel();
        supervisor.tracker.close();
        supervisor.tracker.wait().await;
        assert_eq!(
            supervisor.restarts(),
            [("unstable", 8)],
            "the end after `stop` is not counted"
        );
    }

    #[test]
    fn thread_task_restarts_after_panic() {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (supervisor, _stop) = runtime.block_on(async { supervisor() });
        let runs = AtomicUsize::new(0);
        let mut state = Vec::new();
        supervisor.supervise_on_thread("thread", &runtime, async || {
            state.push(());
            assert!(runs.fetch_add(1, Relaxed) > 0, "scripted panic");
        });
        assert_eq!(
            (state.len(), supervisor.restarts()),
            (2, vec![("thread", 1)])
        );
    }
}
