//! Long tasks are started again if they end or panic while nobody asked them to: logged, counted, after a pause.
//!
//! Imports `clock`. What a task keeps over its restarts is its own affair: whoever starts one hands in how it is made.

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

/// The first pause before a task is started again; it doubles up to [`LONGEST`].
const MIN_RESTART_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause before a task is started again.
const MAX_RESTART_PAUSE: Duration = Duration::from_secs(5);

/// A task that ran for this long begins with the shortest pause again.
const BACKOFF_RESET_AFTER: Duration = Duration::from_secs(60);

/// Keeps long tasks going. Clones keep and count the same ones.
#[derive(Debug, Clone)]
pub struct Supervisor {
    runtime: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
    clock: Clock,
    tasks: Arc<Mutex<Vec<Arc<SupervisedTask>>>>,
}

/// A kind of task, and what became of those of its kind.
#[derive(Debug)]
pub(super) struct SupervisedTask {
    name: &'static str,
    restarts: AtomicU64,
    panic_request: Notify,
}

/// How long to rest before a task is started again the next time.
struct RestartBackoff(Duration);

impl Supervisor {
    /// Keeps tasks on `runtime`, counted by `tracker`, until `stop`.
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

    /// Keeps what `make` makes running in the background, until the end of all.
    pub fn spawn_task<M, T>(&self, name: &'static str, make: M)
    where
        M: FnMut() -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let supervisor = self.clone();
        let kept = async move {
            supervisor
                .supervise_until(name, &supervisor.stop, make)
                .await
        };
        self.tracker.spawn_on(kept, &self.runtime);
    }

    /// Keeps what `make` makes running until it ends and `until` is cancelled.
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
            let (one, work) = (Arc::clone(&task), make());
            let begun = self.clock.time_point();
            let ended = self
                .tracker
                .spawn_on(
                    async move { one.run_until_panic_request(work).await },
                    &self.runtime,
                )
                .await;
            if until.is_cancelled() {
                return;
            }
            let pause = backoff.next_pause(self.clock.elapsed_since(begun));
            task.record_restart(if ended.is_err() { "panicked" } else { "ended" }, pause);
            tokio::select! {
                () = until.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Runs what `make` makes on `runtime`, which is this thread's own, until it ends; again if it panics.
    pub fn supervise_on_thread(
        &self,
        name: &'static str,
        runtime: &runtime::Runtime,
        mut run: impl AsyncFnMut(),
    ) {
        let task = self.register_task(name);
        let mut backoff = RestartBackoff(MIN_RESTART_PAUSE);
        loop {
            let begun = self.clock.time_point();
            let ended: Result<(), Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(|| {
                runtime.block_on(task.run_until_panic_request(run()))
            }));
            if ended.is_ok() {
                return;
            }
            let pause = backoff.next_pause(self.clock.elapsed_since(begun));
            task.record_restart("panicked", pause);
            // What else runs on this thread goes on meanwhile.
            runtime.block_on(async { sleep(pause).await });
        }
    }

    /// How often each kind of task had to be started again.
    pub fn restarts(&self) -> Vec<(&'static str, u64)> {
        self.lock_tasks()
            .iter()
            .map(|task| (task.name, task.restarts.load(Relaxed)))
            .collect()
    }

    /// How many tasks there are on the runtime now, short ones included.
    pub fn count_alive_tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }

    /// Makes one task of this kind panic, to see that it is started again: the door for tests.
    pub fn trigger_panic(&self, name: &'static str) {
        self.register_task(name).panic_request.notify_one();
    }

    fn register_task(&self, name: &'static str) -> Arc<SupervisedTask> {
        let mut tasks = self.lock_tasks();
        if let Some(known) = tasks.iter().find(|task| task.name == name) {
            return Arc::clone(known);
        }
        let task = Arc::new(SupervisedTask {
            name,
            restarts: AtomicU64::new(0),
            panic_request: Notify::new(),
        });
        tasks.push(Arc::clone(&task));
        task
    }

    fn lock_tasks(&self) -> parking_lot::MutexGuard<'_, Vec<Arc<SupervisedTask>>> {
        self.tasks.lock()
    }
}

impl SupervisedTask {
    async fn run_until_panic_request(&self, work: impl Future<Output = ()>) {
        tokio::select! {
            () = work => {}
            () = self.panic_request.notified() => panic!("tripped"),
        }
    }

    fn record_restart(&self, why: &str, pause: Duration) {
        self.restarts.fetch_add(1, Relaxed);
        error!(
            task = self.name,
            why,
            ?pause,
            "a task stopped by itself; starting it again"
        );
    }
}

impl RestartBackoff {
    /// The pause after a run of that length.
    fn next_pause(&mut self, ran: Duration) -> Duration {
        let pause = if ran >= BACKOFF_RESET_AFTER {
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
        let begun = Arc::new(Mutex::new(Vec::new()));
        let (noted, clock, until) = (Arc::clone(&begun), supervisor.clock, stop.clone());
        supervisor.spawn_task("sick", move || {
            let mut noted = noted.lock();
            noted.push(clock.instant());
            let (number, until) = (noted.len(), until.clone());
            async move {
                match number {
                    1..=7 => assert!(number % 2 == 0, "sick"),
                    8 => sleep(BACKOFF_RESET_AFTER).await,
                    _ => until.cancelled().await,
                }
            }
        });
        sleep(BACKOFF_RESET_AFTER * 2).await;
        assert_eq!(supervisor.restarts(), [("sick", 8)]);
        let begun = begun.lock().clone();
        let pauses: Vec<u128> = begun
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_millis())
            .collect();
        assert_eq!(
            pauses,
            [100, 200, 400, 800, 1600, 3200, 5000, 60_100],
            "after a calm time the pause is short again"
        );
        stop.cancel();
        supervisor.tracker.close();
        supervisor.tracker.wait().await;
        assert_eq!(
            supervisor.restarts(),
            [("sick", 8)],
            "an end that was asked for is none of these"
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
        let mut kept = Vec::new();
        supervisor.supervise_on_thread("thread", &runtime, async || {
            kept.push(());
            assert!(runs.fetch_add(1, Relaxed) > 0, "sick");
        });
        assert_eq!(
            (kept.len(), supervisor.restarts()),
            (2, vec![("thread", 1)])
        );
    }
}
