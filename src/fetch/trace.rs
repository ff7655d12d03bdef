//! Trace of one exchange, recorded by the hooks into the connection stack.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::deadline::FetchPhase;

tokio::task_local! {
    /// Trace of the exchange that is being polled. hyper-util polls the resolver and the connector
    /// within the future of the call, so that both can read it; a task of hyper-util cannot.
    static CURRENT: Arc<ExchangeTrace>;
}

/// Phase and connection of one exchange.
#[derive(Debug)]
pub(super) struct ExchangeTrace {
    phase: AtomicU8,
    /// Allowed addresses, in the order in which they are tried.
    addresses: OnceLock<Vec<IpAddr>>,
    /// Local address of the connection that was opened for this exchange.
    opened: OnceLock<SocketAddr>,
    /// Lock of [`ConnectGate`](super::connector::ConnectGate).
    connect_turn: Mutex<Option<OwnedMutexGuard<()>>>,
    /// Certificates that the server showed, its own first.
    certificates: OnceLock<Vec<CertificateDer<'static>>>,
    /// Whether the server requested a certificate of this client.
    client_certificate_requested: AtomicBool,
}

impl Default for ExchangeTrace {
    fn default() -> Self {
        Self {
            // With a pooled connection, no hook is called.
            phase: AtomicU8::new(FetchPhase::Head as u8),
            addresses: OnceLock::new(),
            opened: OnceLock::new(),
            connect_turn: Mutex::default(),
            certificates: OnceLock::new(),
            client_certificate_requested: AtomicBool::new(false),
        }
    }
}

impl ExchangeTrace {
    /// Runs `work` with this trace as the current one.
    pub(super) async fn scope<F: Future>(self: &Arc<Self>, work: F) -> F::Output {
        CURRENT.scope(Arc::clone(self), work).await
    }

    /// Returns the trace of the exchange that is being polled; `None` in a task of hyper-util.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Records the phase in the current trace.
    pub(super) fn note_current(phase: FetchPhase) {
        let _ = CURRENT.try_with(|trace| trace.note_phase(phase));
    }

    pub(super) fn note_phase(&self, phase: FetchPhase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Returns the current phase.
    pub(super) fn phase(&self) -> FetchPhase {
        FetchPhase::from_index(self.phase.load(Ordering::Relaxed))
    }

    pub(super) fn note_addresses(&self, addresses: Vec<IpAddr>) {
        let _ = self.addresses.set(addresses);
    }

    pub(super) fn addresses(&self) -> &[IpAddr] {
        self.addresses.get().map_or(&[], Vec::as_slice)
    }

    /// Records the connection that was opened for this exchange.
    pub(super) fn note_opened(&self, local_address: SocketAddr) {
        let _ = self.opened.set(local_address);
    }

    /// Returns whether a connection with this local address was open before the exchange.
    pub(super) fn is_reused(&self, local_address: SocketAddr) -> bool {
        self.opened.get() != Some(&local_address)
    }

    /// Records the certificates of the server in the current trace.
    pub(super) fn note_current_certificates(
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) {
        let chain = std::iter::once(end_entity).chain(intermediates);
        let chain = chain.map(|certificate| certificate.clone().into_owned());
        let _ = CURRENT.try_with(|trace| trace.certificates.set(chain.collect()));
    }

    /// Returns the certificates that the server showed in this exchange, its own first.
    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        self.certificates.get().map_or(&[], Vec::as_slice)
    }

    /// Records in the current trace that the server requested a certificate of this client.
    pub(super) fn note_client_certificate_request() {
        let _ = CURRENT.try_with(|trace| {
            let requested = &trace.client_certificate_requested;
            requested.store(true, Ordering::Relaxed);
        });
    }

    pub(super) fn is_client_certificate_requested(&self) -> bool {
        self.client_certificate_requested.load(Ordering::Relaxed)
    }

    /// Holds the lock of the gate until the exchange ends.
    pub(super) fn hold_connect_turn(&self, turn: OwnedMutexGuard<()>) {
        *self.connect_turn.lock() = Some(turn);
    }

    /// Releases the lock of the gate.
    pub(super) fn release_connect_turn(&self) {
        self.connect_turn.lock().take();
    }
}
