//! What one exchange did so far, as the hooks of the connection stack see it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use super::deadline::FetchPhase;

tokio::task_local! {
    /// The trace of the exchange that is being polled. hyper-util polls the resolver and the connector within the
    /// future of the call, so both find it here; a connection that hyper-util moved to a task does not.
    static CURRENT: Arc<ExchangeTrace>;
}

/// The trace of one exchange.
#[derive(Debug)]
pub(super) struct ExchangeTrace {
    phase: AtomicU8,
    /// The addresses that may be connected to, in the order in which they are tried.
    addresses: OnceLock<Vec<IpAddr>>,
    /// The near end of the connection that was opened for this exchange.
    opened: OnceLock<SocketAddr>,
    /// The right to connect to an HTTP/2 server; see [`ConnectGate`](super::connector::ConnectGate).
    connect_turn: Mutex<Option<OwnedMutexGuard<()>>>,
}

impl Default for ExchangeTrace {
    fn default() -> Self {
        Self {
            // A request on a pooled connection never meets the connector.
            phase: AtomicU8::new(FetchPhase::Head as u8),
            addresses: OnceLock::new(),
            opened: OnceLock::new(),
            connect_turn: Mutex::default(),
        }
    }
}

impl ExchangeTrace {
    /// Runs `work` as the exchange that this trace belongs to.
    pub(super) async fn scope<F: Future>(self: &Arc<Self>, work: F) -> F::Output {
        CURRENT.scope(Arc::clone(self), work).await
    }

    /// The trace of the exchange that is being polled. `None` in a task of hyper-util.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Notes the phase in the trace of the exchange that is being polled.
    pub(super) fn note_current(phase: FetchPhase) {
        let _ = CURRENT.try_with(|trace| trace.note_phase(phase));
    }

    pub(super) fn note_phase(&self, phase: FetchPhase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// What the exchange is doing.
    pub(super) fn phase(&self) -> FetchPhase {
        FetchPhase::from_index(self.phase.load(Ordering::Relaxed))
    }

    pub(super) fn note_addresses(&self, addresses: Vec<IpAddr>) {
        let _ = self.addresses.set(addresses);
    }

    pub(super) fn addresses(&self) -> &[IpAddr] {
        self.addresses.get().map_or(&[], Vec::as_slice)
    }

    /// Notes a connection that was opened for this exchange.
    pub(super) fn note_opened(&self, local_address: SocketAddr) {
        let _ = self.opened.set(local_address);
    }

    /// Whether a connection with this near end was there before the exchange.
    pub(super) fn is_reused(&self, local_address: SocketAddr) -> bool {
        self.opened.get() != Some(&local_address)
    }

    /// Keeps the right to connect until the exchange ends.
    pub(super) fn hold_connect_turn(&self, turn: OwnedMutexGuard<()>) {
        *self.connect_turn.lock() = Some(turn);
    }

    /// Gives the right to connect back.
    pub(super) fn release_connect_turn(&self) {
        self.connect_turn.lock().take();
    }
}
