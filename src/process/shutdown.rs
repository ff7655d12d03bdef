//! Signals as tokens: SIGTERM and SIGINT start the drain, a second one forces the end, SIGHUP
//! requests a reload.
//!
//! A dedicated thread receives the signals, from before any other thread starts until the process
//! ends. So no signal is missed while the service starts, and the second one has an effect even if
//! the service hangs.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A second signal within this time of the first counts as a repetition of it.
const REPEAT_WINDOW: Duration = Duration::from_millis(200);

/// Time between the second signal and the end of the process, for a service that reacts to neither.
const FORCED_EXIT_DELAY: Duration = Duration::from_secs(1);

/// What the signals of the process request. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct ProcessSignals {
    /// Cancelled by the first SIGTERM or SIGINT: drain, then stop.
    pub drain: CancellationToken,
    /// Cancelled by the second: stop without draining.
    pub force_stop: CancellationToken,
    /// Notified by each SIGHUP: read the configuration again. Several signals may become one
    /// notification.
    pub reload: Arc<Notify>,
}

/// The registered signal handlers.
struct SignalHandlers {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl ProcessSignals {
    /// Registers the handlers and starts the thread that waits for signals. Afterwards no signal of
    /// the three ends the process by itself.
    pub fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handlers = {
            let _runtime = runtime.enter();
            SignalHandlers {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hangup: signal(SignalKind::hangup())?,
            }
        };
        let signals = Self::default();
        let dispatcher = signals.clone();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || runtime.block_on(dispatcher.dispatch(handlers)))?;
        Ok(signals)
    }

    async fn dispatch(self, mut handlers: SignalHandlers) {
        loop {
            let name = tokio::select! {
                _ = handlers.terminate.recv() => "SIGTERM",
                _ = handlers.interrupt.recv() => "SIGINT",
                _ = handlers.hangup.recv() => {
                    tracing::debug!("SIGHUP received, reloading the configuration");
                    self.reload.notify_one();
                    continue;
                }
            };
            if self.drain.is_cancelled() {
                tracing::warn!(
                    signal = name,
                    "second signal received, stopping without draining"
                );
                self.force_stop.cancel();
                // Reached only if the service does not end by itself: a disk may hang.
                tokio::time::sleep(FORCED_EXIT_DELAY).await;
                exit_process();
            }
            tracing::info!(signal = name, "stopping");
            self.drain.cancel();
            handlers.ignore_repeats().await;
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "two signals have requested it and the drain hangs"
)]
fn exit_process() -> ! {
    std::process::exit(0)
}

impl SignalHandlers {
    /// Discards signals for [`REPEAT_WINDOW`]. A program that stops a process group (`timeout`, a
    /// shell) often signals each process twice within milliseconds, which must not skip the drain.
    async fn ignore_repeats(&mut self) {
        let mut elapsed = pin!(tokio::time::sleep(REPEAT_WINDOW));
        loop {
            tokio::select! {
                () = &mut elapsed => return,
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
        }
    }
}
