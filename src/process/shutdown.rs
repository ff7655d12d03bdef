//! Signals become tokens: SIGTERM and SIGINT drain, a second one ends at once, SIGHUP reloads.
//!
//! Imports nothing of the crate and decides nothing: whoever runs the service waits on what is here. Signals are heard on
//! a thread of their own, from before anything else starts until the process ends, so that none is missed while the
//! service comes up, and the second one is heard even if the service is stuck.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A second signal within this time of the first is its echo.
const REPEAT_WINDOW: Duration = Duration::from_millis(200);

/// How long after the second signal the process ends by itself, should nobody have heard.
const FORCED_EXIT_DELAY: Duration = Duration::from_secs(1);

/// What the signals of the process ask for. Clones hear the same.
#[derive(Debug, Clone, Default)]
pub struct ProcessSignals {
    /// Drain and stop: cancelled at the first SIGTERM or SIGINT.
    pub drain: CancellationToken,
    /// Stop without draining: cancelled at the second.
    pub force_stop: CancellationToken,
    /// Read the configuration again: notified at each SIGHUP; several at once are one.
    pub reload: Arc<Notify>,
}

/// The handlers, before anything listens to them.
struct SignalHandlers {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl ProcessSignals {
    /// Begins to listen; from here on no signal kills the process by itself.
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
        let ears = signals.clone();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || runtime.block_on(ears.dispatch_signals(handlers)))?;
        Ok(signals)
    }

    async fn dispatch_signals(self, mut handlers: SignalHandlers) {
        loop {
            let name = tokio::select! {
                _ = handlers.terminate.recv() => "SIGTERM",
                _ = handlers.interrupt.recv() => "SIGINT",
                _ = handlers.hangup.recv() => {
                    tracing::debug!("SIGHUP: the configuration is read again");
                    self.reload.notify_one();
                    continue;
                }
            };
            if self.drain.is_cancelled() {
                tracing::warn!(signal = name, "second signal: ends at once");
                self.force_stop.cancel();
                tokio::time::sleep(FORCED_EXIT_DELAY).await;
                exit_process();
            }
            tracing::info!(signal = name, "stops");
            self.drain.cancel();
            handlers.ignore_repeats().await;
        }
    }
}

/// Whoever should have ended it hangs, on a disk perhaps.
#[allow(
    clippy::disallowed_methods,
    reason = "the operator has asked for it twice"
)]
fn exit_process() -> ! {
    std::process::exit(0)
}

impl SignalHandlers {
    /// Who stops a whole group of processes (`timeout`, a shell) often signals each of them twice within a moment; that
    /// is one wish, not two.
    async fn ignore_repeats(&mut self) {
        let mut passed = pin!(tokio::time::sleep(REPEAT_WINDOW));
        loop {
            tokio::select! {
                () = &mut passed => return,
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
        }
    }
}
