//! Signals become tokens: SIGTERM and SIGINT drain, a second one ends at once, SIGHUP reloads.
//!
//! Imports nothing of the crate and decides nothing: whoever runs the service waits on what is here.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the signals of the process ask for. Clones hear the same.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// Drain and stop: cancelled at the first SIGTERM or SIGINT.
    pub drain: CancellationToken,
    /// Stop without draining: cancelled at the second.
    pub end: CancellationToken,
    /// Read the configuration again: notified at each SIGHUP; several at once are one.
    pub reload: Arc<Notify>,
}

/// The handlers, before anything listens to them.
struct Handlers {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Begins to listen; from here on no signal kills the process by itself. The task lives on `tracker` until the
    /// second signal or the end of the runtime.
    pub fn listen(tracker: &TaskTracker) -> io::Result<Self> {
        let handlers = Handlers {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        };
        let signals = Self::default();
        tracker.spawn(signals.clone().follow(handlers));
        Ok(signals)
    }

    async fn follow(self, mut handlers: Handlers) {
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
                self.end.cancel();
                return;
            }
            tracing::info!(signal = name, "stops");
            self.drain.cancel();
        }
    }
}
