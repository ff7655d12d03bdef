//! Long tasks are started again if they end while nobody asked them to.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

/// The first pause before a task is started again; it doubles up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(100);

/// The longest pause before a task is started again.
const LONGEST: Duration = Duration::from_secs(5);

/// Runs what `make` makes on `runtime` until `stop`. If it ends or panics before, that is logged and it is made again
/// after a pause.
pub fn supervise<M, T>(
    task: &'static str,
    runtime: &Handle,
    tracker: &TaskTracker,
    stop: CancellationToken,
    mut make: M,
) where
    M: FnMut() -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let (workers, handle) = (tracker.clone(), runtime.clone());
    tracker.spawn_on(
        async move {
            let mut pause = SHORTEST;
            loop {
                let ended = workers.spawn_on(make(), &handle).await;
                if stop.is_cancelled() {
                    return;
                }
                let why = if ended.is_err() { "panicked" } else { "ended" };
                error!(task, why, ?pause, "a task stopped by itself; starting it again");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST);
            }
        },
        runtime,
    );
}
