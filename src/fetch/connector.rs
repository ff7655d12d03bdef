//! The hooks of a client's connections: name lookup within the address policy, and a layer around reqwest's connector.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::{Instant, sleep_until};
use tower::{Layer, Service};

use crate::domain::{Code, Failure};

use super::call_limiter::CallLimiter;
use super::deadline::FetchPhase;
use super::ip_policy::{self, AddressOrigin};
use super::resolver::NameResolver;
use super::trace::ExchangeTrace;
use super::transport_error::ConnectFailure;

/// More addresses of one name than this are not tried.
const MAX_ADDRESSES: usize = 16;

/// How long after a call its connection may take to return to the pool of hyper-util. A task does it.
const POOL_RETURN_TIME: Duration = Duration::from_millis(10);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Resolves the host of a client, or of its proxy, to the addresses that the policy permits.
pub(super) struct PolicyResolver {
    pub(super) resolver: NameResolver,
    pub(super) origin: AddressOrigin,
}

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, origin) = (self.resolver.clone(), self.origin);
        Box::pin(async move {
            ExchangeTrace::note_current(FetchPhase::Lookup);
            let found = resolver.resolve_host(name.as_str()).await;
            let mut permitted = found
                .and_then(|found| permitted_addresses(&found, origin))
                .map_err(ConnectFailure)?;
            permitted.truncate(MAX_ADDRESSES);
            if let Some(trace) = ExchangeTrace::current() {
                trace.note_phase(FetchPhase::Connect);
                trace.note_addresses(permitted.clone());
            }
            // Port 0 stands for the port of the URL.
            let addresses = permitted.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

/// The addresses that may be connected to; a failure if the policy permits none of them.
pub(super) fn permitted_addresses(
    addresses: &[IpAddr],
    origin: AddressOrigin,
) -> Result<Vec<IpAddr>, Failure> {
    let reason = |address: &IpAddr| ip_policy::blocked_reason(*address, origin);
    let permitted: Vec<IpAddr> = addresses
        .iter()
        .copied()
        .filter(|address| reason(address).is_none())
        .collect();
    match addresses.first().and_then(reason) {
        Some(reason) if permitted.is_empty() => Err(blocked_failure(reason, origin)),
        _ => Ok(permitted),
    }
}

fn blocked_failure(reason: &str, origin: AddressOrigin) -> Failure {
    let message = match origin {
        AddressOrigin::Configured => format!("{reason} may not be connected to"),
        AddressOrigin::Resolved => format!(
            "the host's name resolves to {reason}; `allow_private = true` would allow a private one"
        ),
    };
    Failure::new(Code::DestinationBlocked, message)
}

/// When a client may open another connection. hyper-util lets a call connect and wait for a pooled connection at the
/// same time; without the gate, calls that start together would each connect to an HTTP/2 server, and a call that starts
/// right after another would connect although the connection of that one is on its way back to the pool.
pub(super) struct ConnectGate {
    /// Whether the protocol is negotiated and connections are pooled, so that one HTTP/2 connection serves all calls.
    may_share: bool,
    is_http1: AtomicBool,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// When a connection of the latest call is back in the pool at the latest.
    pool_return_at: Mutex<Option<Instant>>,
    limiter: Arc<CallLimiter>,
}

impl ConnectGate {
    pub(super) fn new(may_share: bool, limiter: Arc<CallLimiter>) -> Self {
        Self {
            may_share,
            is_http1: AtomicBool::new(false),
            turn: Arc::default(),
            pool_return_at: Mutex::default(),
            limiter,
        }
    }

    /// Notes that a call has ended.
    pub(super) fn note_call_end(&self, now: Instant) {
        *self.pool_return_at.lock() = Some(now + POOL_RETURN_TIME);
    }

    /// Waits until a connection may be opened. Returns the right to do so where only one call may at a time.
    async fn wait(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        let pool_return_at = *self.pool_return_at.lock();
        if let Some(at) = pool_return_at {
            sleep_until(at).await;
        }
        if !self.may_share || self.is_http1.load(Ordering::Relaxed) {
            return None;
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        (!self.is_http1.load(Ordering::Relaxed)).then_some(turn)
    }
}

/// Wraps reqwest's connector; see [`ConnectorService`].
#[derive(Clone)]
pub(super) struct ConnectorLayer {
    pub(super) origin: AddressOrigin,
    pub(super) gate: Arc<ConnectGate>,
}

impl<S> Layer<S> for ConnectorLayer {
    type Service = ConnectorService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConnectorService {
            inner,
            layer: self.clone(),
        }
    }
}

/// Opens connections when the gate permits, notes the phase, and applies the address policy to the very address that is
/// connected to, before a byte of the request is sent.
#[derive(Clone)]
pub(super) struct ConnectorService<S> {
    inner: S,
    layer: ConnectorLayer,
}

impl<S, R> Service<R> for ConnectorService<S>
where
    S: Service<R, Error = BoxError> + Clone + Send + 'static,
    S::Response: Connection + Send,
    S::Future: Send + 'static,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, destination: R) -> Self::Future {
        // The service that is ready is `self.inner`, not a clone of it.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(WithinExchange {
            trace: ExchangeTrace::current(),
            connecting: Box::pin(connect(inner, destination, self.layer.clone())),
        })
    }
}

async fn connect<S, R>(
    mut inner: S,
    destination: R,
    ConnectorLayer { origin, gate }: ConnectorLayer,
) -> Result<S::Response, BoxError>
where
    S: Service<R, Error = BoxError>,
    S::Response: Connection,
{
    ExchangeTrace::note_current(FetchPhase::Connect);
    let turn = gate.wait().await;
    let connection = inner.call(destination).await?;
    let trace = ExchangeTrace::current();
    let connected = connection.connected();
    let mut extras = http::Extensions::new();
    connected.get_extras(&mut extras);
    if let Some(info) = extras.get::<HttpInfo>() {
        if let Some(reason) = ip_policy::blocked_reason(info.remote_addr().ip(), origin) {
            return Err(ConnectFailure(blocked_failure(reason, origin)).into());
        }
        if let Some(trace) = &trace {
            trace.note_opened(info.local_addr());
        }
    }
    let is_http2 = connected.is_negotiated_h2();
    gate.is_http1.store(!is_http2, Ordering::Relaxed);
    if gate.may_share {
        gate.limiter.set_http2(is_http2);
    }
    if let Some(trace) = trace {
        trace.note_phase(FetchPhase::Head);
        // The connection is shared only after the handshake of HTTP/2. Until this exchange has its answer, the others
        // wait for it rather than open a connection of their own.
        if let Some(turn) = turn.filter(|_| is_http2) {
            trace.hold_connect_turn(turn);
        }
    }
    Ok(connection)
}

/// Ends a connection attempt whose call took a pooled connection: hyper-util then moves the attempt to a task, where no
/// exchange is current, to put the connection into the pool. A server with one slot would never serve it.
struct WithinExchange<F> {
    trace: Option<Arc<ExchangeTrace>>,
    connecting: Pin<Box<F>>,
}

impl<T, F: Future<Output = Result<T, BoxError>>> Future for WithinExchange<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if ExchangeTrace::current().is_none() {
            if let Some(trace) = &self.trace {
                trace.note_phase(FetchPhase::Head);
            }
            return Poll::Ready(Err("the call uses another connection".into()));
        }
        self.connecting.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permitted_count(addresses: &[&str], origin: AddressOrigin) -> Result<usize, String> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        permitted_addresses(&addresses, origin)
            .map(|permitted| permitted.len())
            .map_err(|failure| failure.message.to_string())
    }

    #[test]
    fn blocked_addresses_are_skipped() {
        assert_eq!(
            permitted_count(&["127.0.0.1", "8.8.8.8", "::1"], AddressOrigin::Resolved),
            Ok(1)
        );
        assert_eq!(
            permitted_count(&["127.0.0.1", "169.254.169.254"], AddressOrigin::Configured),
            Ok(1)
        );
        assert!(
            permitted_count(&["127.0.0.1", "::1"], AddressOrigin::Resolved)
                .unwrap_err()
                .contains("a loopback address")
        );
        assert!(
            permitted_count(&["169.254.169.254"], AddressOrigin::Configured)
                .unwrap_err()
                .contains("metadata")
        );
    }
}
