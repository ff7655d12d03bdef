//! Hooks into the connections of a client: a resolver that applies the address policy, and a layer
//! around the connector of reqwest.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::{Instant, sleep_until, timeout};
use tower::{Layer, Service, ServiceExt};
use url::Host;

use crate::domain::{Code, Failure, is_metadata_host};

use super::call_limiter::{CallLimiter, Protocol};
use super::deadline::FetchPhase;
use super::ip_policy::{self, AddressOrigin, METADATA_REASON};
use super::resolver::NameResolver;
use super::trace::ExchangeTrace;

/// Failure of a hook, as an error that passes through reqwest.
#[derive(Debug)]
pub(super) struct ConnectFailure(pub(super) Failure);

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for ConnectFailure {}

/// Maximum number of addresses tried per name.
const MAX_ADDRESSES: usize = 16;

/// Maximum time to wait for the lookup of a name that a proxy resolves.
const PROXIED_LOOKUP_TIMEOUT: Duration = Duration::from_millis(500);

/// Maximum time until the connection of an ended call is in the pool again: a task of hyper-util
/// returns it.
const POOL_RETURN_TIME: Duration = Duration::from_millis(10);

type BoxError = Box<dyn Error + Send + Sync>;

/// Resolves the host of a client, or of its proxy, to the allowed addresses.
pub(super) struct PolicyResolver {
    pub(super) resolver: NameResolver,
    pub(super) origin: AddressOrigin,
    /// Host to resolve instead of that of the URL.
    pub(super) host: Option<Host<String>>,
}

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, origin) = (self.resolver.clone(), self.origin);
        let host = self.host.clone();
        Box::pin(async move {
            ExchangeTrace::note_current(FetchPhase::Lookup);
            let found = match &host {
                None => resolver.resolve_host(name.as_str()).await,
                Some(Host::Domain(host)) => resolver.resolve_host(host).await,
                Some(Host::Ipv4(address)) => Ok(Arc::from([(*address).into()])),
                Some(Host::Ipv6(address)) => Ok(Arc::from([(*address).into()])),
            };
            let mut permitted = found
                .and_then(|found| permitted_addresses(&found, origin))
                .map_err(ConnectFailure)?;
            // After the filter, so that blocked addresses do not displace allowed ones.
            permitted.truncate(MAX_ADDRESSES);
            if let Some(trace) = ExchangeTrace::current() {
                trace.note_phase(FetchPhase::Connect);
                trace.note_addresses(permitted.clone());
            }
            // reqwest replaces port 0 by the port of the URL.
            let addresses = permitted.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

/// Returns the allowed addresses of `addresses`. Fails if all are blocked.
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

/// Fails if `host` is the address or a known name of a cloud metadata service.
pub(super) fn refuse_metadata_host(host: &Host<String>) -> Result<(), Failure> {
    if is_metadata_host(host) {
        let origin = AddressOrigin::Configured;
        return Err(blocked_failure(METADATA_REASON, origin));
    }
    Ok(())
}

/// Fails if a lookup on this machine gives a blocked address for `name`, which a proxy resolves. The
/// lookup takes at most a quarter of `time_left`. Without a result the proxy decides: a machine behind a
/// proxy often cannot look up public names.
pub(super) async fn check_proxied_name(
    resolver: &NameResolver,
    name: &str,
    origin: AddressOrigin,
    time_left: Duration,
) -> Result<(), Failure> {
    let limit = PROXIED_LOOKUP_TIMEOUT.min(time_left / 4);
    let Ok(Ok(found)) = timeout(limit, resolver.resolve_host(name)).await else {
        return Ok(());
    };
    // Each address counts: the proxy may connect to any of them.
    let mut addresses = found.iter();
    match addresses.find_map(|address| ip_policy::blocked_reason(*address, origin)) {
        Some(reason) => Err(blocked_failure(reason, origin)),
        None => Ok(()),
    }
}

fn blocked_failure(reason: &str, origin: AddressOrigin) -> Failure {
    let message = match origin {
        AddressOrigin::Configured => format!("{reason} may not be connected to"),
        AddressOrigin::ResolvedPrivate if reason == METADATA_REASON => {
            format!("the host's name resolves to {reason}")
        }
        AddressOrigin::ResolvedPrivate => format!(
            "the host's name resolves to {reason}, which is allowed only if `url` has the address itself"
        ),
        AddressOrigin::Resolved => format!(
            "the host's name resolves to {reason}; `allow_private = true` would allow a private one"
        ),
    };
    Failure::new(Code::DestinationBlocked, message)
}

/// Delays new connections of a client. In hyper-util, a call connects and waits for a pooled connection
/// at the same time. Without the gate, each of several concurrent calls would connect to an HTTP/2
/// server, and a call right after another one would connect although the connection of the other is
/// about to return to the pool.
pub(super) struct ConnectGate {
    /// Whether one HTTP/2 connection can serve all calls: TLS negotiates the protocol, and connections
    /// are pooled.
    may_share: bool,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Latest time at which the connection of the latest call is in the pool again.
    pool_return_at: Mutex<Option<Instant>>,
    limiter: Arc<CallLimiter>,
}

impl ConnectGate {
    pub(super) fn new(may_share: bool, limiter: Arc<CallLimiter>) -> Self {
        Self {
            may_share,
            turn: Arc::default(),
            pool_return_at: Mutex::default(),
            limiter,
        }
    }

    /// Records the end of a call.
    pub(super) fn note_call_end(&self, now: Instant) {
        *self.pool_return_at.lock() = Some(now + POOL_RETURN_TIME);
    }

    /// Waits until a connection may be opened. Returns the lock if only one call may connect at a time.
    async fn wait(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        // Copied, so that the lock is not held during the sleep.
        let pool_return_at = *self.pool_return_at.lock();
        if let Some(at) = pool_return_at {
            sleep_until(at).await;
        }
        let is_http1 = || self.limiter.protocol() == Some(Protocol::Http1);
        if !self.may_share || is_http1() {
            return None;
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        // The call that held the turn before may have found that the server speaks HTTP/1.1.
        (!is_http1()).then_some(turn)
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
            inner: Arc::new(inner),
            layer: self.clone(),
        }
    }
}

/// Opens connections when the gate permits, notes the phase, and applies the address policy to the
/// connected address before a byte of the request is sent.
pub(super) struct ConnectorService<S> {
    /// Shared, because reqwest and hyper-util clone their connector several times per call, also for a
    /// call on a pooled connection.
    inner: Arc<S>,
    layer: ConnectorLayer,
}

impl<S> Clone for ConnectorService<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            layer: self.layer.clone(),
        }
    }
}

impl<S, R> Service<R> for ConnectorService<S>
where
    S: Service<R, Error = BoxError> + Clone + Send + Sync + 'static,
    S::Response: Connection + Send,
    S::Future: Send + 'static,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, destination: R) -> Self::Future {
        let inner = S::clone(&self.inner);
        Box::pin(WithinExchange {
            trace: ExchangeTrace::current(),
            connecting: Box::pin(connect(inner, destination, self.layer.clone())),
        })
    }
}

async fn connect<S, R>(
    inner: S,
    destination: R,
    ConnectorLayer { origin, gate }: ConnectorLayer,
) -> Result<S::Response, BoxError>
where
    S: Service<R, Error = BoxError>,
    S::Response: Connection,
{
    ExchangeTrace::note_current(FetchPhase::Connect);
    let turn = gate.wait().await;
    let connection = inner.oneshot(destination).await?;
    let trace = ExchangeTrace::current();
    let connected = connection.connected();
    let mut extras = http::Extensions::new();
    connected.get_extras(&mut extras);
    if let Some(info) = extras.get::<HttpInfo>() {
        // The address that was connected to, whichever way it was chosen: by a lookup, by the URL,
        // by the proxy.
        if let Some(reason) = ip_policy::blocked_reason(info.remote_addr().ip(), origin) {
            return Err(ConnectFailure(blocked_failure(reason, origin)).into());
        }
        if let Some(trace) = &trace {
            trace.note_opened(info.local_addr());
        }
    }
    let is_http2 = connected.is_negotiated_h2();
    // A server of HTTP/2 bounds its streams by itself, so `max_per_host` ends there.
    if gate.may_share {
        gate.limiter.set_protocol(if is_http2 {
            Protocol::Http2
        } else {
            Protocol::Http1
        });
    }
    if let Some(trace) = trace {
        trace.note_phase(FetchPhase::Head);
        // The connection is shared only after the HTTP/2 handshake. Until this exchange has its
        // response, the other calls wait instead of opening further connections.
        if let Some(turn) = turn.filter(|_| is_http2) {
            trace.hold_connect_turn(turn);
        }
    }
    Ok(connection)
}

/// Ends a connection attempt whose call got a pooled connection. hyper-util moves such an attempt to a
/// task, outside of the exchange, to put the connection into the pool, where it could occupy the only
/// slot of a server.
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
