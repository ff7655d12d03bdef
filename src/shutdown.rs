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
const ECHO: Duration = Duration::from_millis(200);

/// How long after the second signal the process ends by itself, should nobody have heard.
const DEAF: Duration = Duration::from_secs(1);

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
    /// Begins to listen; from here on no signal kills the process by itself.
    pub fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handlers = {
            let _runtime = runtime.enter();
            Handlers {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hangup: signal(SignalKind::hangup())?,
            }
        };
        let signals = Self::default();
        let ears = signals.clone();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || runtime.block_on(ears.follow(handlers)))?;
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
                tokio::time::sleep(DEAF).await;
                end_the_process();
            }
            tracing::info!(signal = name, "stops");
            self.drain.cancel();
            handlers.let_the_echo_pass().await;
        }
    }
}

/// Whoever should have ended it hangs, on a disk perhaps.
#[allow(
    clippy::disallowed_methods,
    reason = "the operator has asked for it twice"
)]
fn end_the_process() -> ! {
    std::process::exit(0)
}

impl Handlers {
    /// Who stops a whole group of processes (`timeout`, a shell) often signals each of them twice within a moment; that
    /// is one wish, not two.
    async fn let_the_echo_pass(&mut self) {
        let mut passed = pin!(tokio::time::sleep(ECHO));
        loop {
            tokio::select! {
                () = &mut passed => return,
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
        }
    }
}
