//! Long tasks are started again if they end or panic while nobody asked them to: logged, counted, after a pause.
//!
//! Imports `clock`. What a task keeps over its restarts is its own affair: whoever starts one hands in how it is made.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{self, Handle};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::clock::Clock;

/// The first pause before a task is started again; it doubles up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(100);

/// The longest pause before a task is started again.
const LONGEST: Duration = Duration::from_secs(5);

/// A task that ran for this long begins with the shortest pause again.
const CALM: Duration = Duration::from_secs(60);

/// Keeps long tasks going. Clones keep and count the same ones.
#[derive(Debug, Clone)]
pub struct Supervisor {
    runtime: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
    clock: Clock,
    tasks: Arc<Mutex<Vec<Arc<Task>>>>,
}

/// A kind of task, and what became of those of its kind.
#[derive(Debug)]
pub struct Task {
    name: &'static str,
    restarts: AtomicU64,
    tripped: Notify,
}

/// How long to rest before a task is started again the next time.
struct Backoff(Duration);

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
    pub fn keep<M, T>(&self, name: &'static str, make: M)
    where
        M: FnMut() -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let supervisor = self.clone();
        let kept = async move { supervisor.hold(name, &supervisor.stop, make).await };
        self.tracker.spawn_on(kept, &self.runtime);
    }

    /// Keeps what `make` makes running until it ends and `until` is cancelled.
    pub async fn hold<M, T>(&self, name: &'static str, until: &CancellationToken, mut make: M)
    where
        M: FnMut() -> T,
        T: Future<Output = ()> + Send + 'static,
    {
        let task = self.enroll(name);
        let mut backoff = Backoff(SHORTEST);
        loop {
            let (one, work) = (Arc::clone(&task), make());
            let begun = self.clock.mark();
            let ended = self
                .tracker
                .spawn_on(async move { one.attend(work).await }, &self.runtime)
                .await;
            if until.is_cancelled() {
                return;
            }
            let pause = backoff.after(self.clock.since(begun));
            task.stopped(if ended.is_err() { "panicked" } else { "ended" }, pause);
            tokio::select! {
                () = until.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Runs what `make` makes on `runtime`, which is this thread's own, until it ends; again if it panics.
    pub fn hold_here(
        &self,
        name: &'static str,
        runtime: &runtime::Runtime,
        mut run: impl AsyncFnMut(),
    ) {
        let task = self.enroll(name);
        let mut backoff = Backoff(SHORTEST);
        loop {
            let begun = self.clock.mark();
            let ended: Result<(), Box<dyn Any + Send>> =
                catch_unwind(AssertUnwindSafe(|| runtime.block_on(task.attend(run()))));
            if ended.is_ok() {
                return;
            }
            let pause = backoff.after(self.clock.since(begun));
            task.stopped("panicked", pause);
            // What else runs on this thread goes on meanwhile.
            runtime.block_on(async { sleep(pause).await });
        }
    }

    /// How often each kind of task had to be started again.
    pub fn restarts(&self) -> Vec<(&'static str, u64)> {
        self.tasks()
            .iter()
            .map(|task| (task.name, task.restarts.load(Relaxed)))
            .collect()
    }

    /// How many tasks there are on the runtime now, short ones included.
    pub fn alive(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }

    /// Makes one task of this kind panic, to see that it is started again: the door for tests.
    pub fn trip(&self, name: &'static str) {
        self.enroll(name).tripped.notify_one();
    }

    fn enroll(&self, name: &'static str) -> Arc<Task> {
        let mut tasks = self.tasks();
        if let Some(known) = tasks.iter().find(|task| task.name == name) {
            return Arc::clone(known);
        }
        let task = Arc::new(Task {
            name,
            restarts: AtomicU64::new(0),
            tripped: Notify::new(),
        });
        tasks.push(Arc::clone(&task));
        task
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Task>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    async fn attend(&self, work: impl Future<Output = ()>) {
        tokio::select! {
            () = work => {}
            () = self.tripped.notified() => panic!("tripped"),
        }
    }

    fn stopped(&self, why: &str, pause: Duration) {
        self.restarts.fetch_add(1, Relaxed);
        error!(
            task = self.name,
            why,
            ?pause,
            "a task stopped by itself; starting it again"
        );
    }
}

impl Backoff {
    /// The pause after a run of that length.
    fn after(&mut self, ran: Duration) -> Duration {
        let pause = if ran >= CALM { SHORTEST } else { self.0 };
        self.0 = (pause * 2).min(LONGEST);
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
    async fn a_task_that_panics_or_ends_is_started_again_ever_later_until_the_end() {
        let (supervisor, stop) = supervisor();
        let begun = Arc::new(Mutex::new(Vec::new()));
        let (noted, clock, until) = (Arc::clone(&begun), supervisor.clock, stop.clone());
        supervisor.keep("sick", move || {
            let mut noted = noted.lock().unwrap();
            noted.push(clock.instant());
            let (number, until) = (noted.len(), until.clone());
            async move {
                match number {
                    1..=7 => assert!(number % 2 == 0, "sick"),
                    8 => sleep(CALM).await,
                    _ => until.cancelled().await,
                }
            }
        });
        sleep(CALM * 2).await;
        assert_eq!(supervisor.restarts(), [("sick", 8)]);
        let begun = begun.lock().unwrap().clone();
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
    fn a_thread_goes_on_with_what_it_has_after_a_panic() {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (supervisor, _stop) = runtime.block_on(async { supervisor() });
        let runs = AtomicUsize::new(0);
        let mut kept = Vec::new();
        supervisor.hold_here("thread", &runtime, async || {
            kept.push(());
            assert!(runs.fetch_add(1, Relaxed) > 0, "sick");
        });
        assert_eq!(
            (kept.len(), supervisor.restarts()),
            (2, vec![("thread", 1)])
        );
    }
}
