//! From a target to a stream: lookup, guard, TCP, the proxy's tunnel, TLS; each in its phase, all by one deadline.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::{Host, Url};

use crate::domain::{Code, Failure, ProviderRequest};
use crate::process::{Clock, Deadline};

use super::deadline::{ByteCounter, FetchPhase, run_until_deadline};
use super::ip_policy;
use super::ip_policy::AddressOrigin;
use super::resolver::NameResolver;
use super::throttle::ThrottledStream;
use super::tls::TlsClient;
use super::{happy_eyeballs, proxy};

/// What a connection is made to, and how.
#[derive(Debug)]
pub(crate) struct ConnectTarget {
    /// TLS or not.
    pub(crate) is_https: bool,
    /// The provider's host.
    pub(crate) host: Host<String>,
    /// The provider's port.
    pub(crate) port: u16,
    /// Whether the host's name may resolve to a private address.
    allow_private: bool,
    /// PEM of authorities trusted beside the public ones.
    ca_pem: Option<Arc<str>>,
    /// The proxy on the way, with its credentials.
    pub(crate) proxy: Option<Url>,
}

/// What a connection runs over.
pub(crate) trait ConnectionStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ConnectionStream for S {}

/// Makes connections.
pub(crate) struct Connector {
    /// Names to addresses.
    pub(crate) resolver: NameResolver,
    /// Trust, and sessions to resume.
    pub(crate) tls: TlsClient,
    /// To know what is left of a deadline.
    pub(crate) clock: Clock,
}

impl ConnectTarget {
    /// Where `request` goes; none without a host, which a valid configuration has.
    pub(crate) fn from_request(request: &ProviderRequest) -> Option<Self> {
        Some(Self {
            is_https: request.url.scheme() == "https",
            host: request.url.host()?.to_owned(),
            port: request.url.port_or_known_default()?,
            allow_private: request.allow_private,
            ca_pem: request.ca_pem.clone(),
            proxy: request.proxy.as_ref().map(|proxy| proxy.0.clone()),
        })
    }

    /// `host:port`, as a tunnel is asked for.
    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl Connector {
    /// A new connection to `target`, ready for a request.
    pub(crate) async fn connect(
        &self,
        target: &ConnectTarget,
        deadline: Deadline,
    ) -> Result<Box<dyn ConnectionStream>, Failure> {
        let tcp = self.connect_tcp(target, deadline).await?;
        if !target.is_https {
            return Ok(Box::new(tcp));
        }
        let none = Arc::<ByteCounter>::default();
        let tcp = ThrottledStream::new(tcp, Arc::clone(&none));
        let tcp = match &target.proxy {
            Some(proxy) => {
                run_until_deadline(
                    deadline,
                    FetchPhase::Tunnel,
                    &none,
                    proxy::open_tunnel(tcp, proxy, &target.authority()),
                )
                .await?
            }
            None => tcp,
        };
        none.reset();
        let handshake = self
            .tls
            .handshake(tcp, &target.host, target.ca_pem.as_ref());
        Ok(Box::new(
            run_until_deadline(deadline, FetchPhase::Tls, &none, handshake).await?,
        ))
    }

    /// A TCP connection to the target, or to its proxy. The proxy is the operator's own word; what a name means is then
    /// the proxy's to decide, and all that can be judged here is a literal address behind it.
    async fn connect_tcp(
        &self,
        target: &ConnectTarget,
        deadline: Deadline,
    ) -> Result<TcpStream, Failure> {
        let Some(proxy) = &target.proxy else {
            return self
                .connect_host(
                    &target.host,
                    target.port,
                    address_origin(&target.host, target.allow_private),
                    deadline,
                )
                .await;
        };
        permitted_addresses(
            &literal_address(&target.host)
                .into_iter()
                .collect::<Vec<_>>(),
            AddressOrigin::Configured,
        )?;
        let (Some(host), Some(port)) = (proxy.host(), proxy.port_or_known_default()) else {
            return Err(Failure::new(Code::ConnectFailed, "the proxy has no host"));
        };
        let dialled = self
            .connect_host(&host.to_owned(), port, AddressOrigin::Configured, deadline)
            .await;
        dialled.map_err(|failure| {
            Failure::new(
                failure.code,
                format!("on the way to the proxy: {}", failure.message),
            )
        })
    }

    async fn connect_host(
        &self,
        host: &Host<String>,
        port: u16,
        word: AddressOrigin,
        by: Deadline,
    ) -> Result<TcpStream, Failure> {
        let none = ByteCounter::default();
        let addresses = match host {
            Host::Domain(name) => {
                run_until_deadline(
                    by,
                    FetchPhase::Lookup,
                    &none,
                    self.resolver.resolve_host(name),
                )
                .await?
            }
            address => literal_address(address).into_iter().collect(),
        };
        let addresses = permitted_addresses(&addresses, word)?;
        let left = by.at.saturating_duration_since(self.clock.instant());
        run_until_deadline(
            by,
            FetchPhase::Connect,
            &none,
            happy_eyeballs::connect_first(&addresses, port, left),
        )
        .await
    }
}

/// Whose word it is that `host` may be connected to.
fn address_origin(host: &Host<String>, allow_private: bool) -> AddressOrigin {
    match host {
        Host::Domain(name)
            if !allow_private && !matches!(name.as_str(), "localhost" | "localhost.") =>
        {
            AddressOrigin::Resolved
        }
        _ => AddressOrigin::Configured,
    }
}

fn literal_address(host: &Host<String>) -> Option<IpAddr> {
    match host {
        Host::Ipv4(address) => Some((*address).into()),
        Host::Ipv6(address) => Some((*address).into()),
        Host::Domain(_) => None,
    }
}

/// Those of `addresses` that may be connected to; a failure if none of several may.
fn permitted_addresses(addresses: &[IpAddr], word: AddressOrigin) -> Result<Vec<IpAddr>, Failure> {
    let objection = |address: &IpAddr| ip_policy::blocked_reason(*address, word);
    let good: Vec<IpAddr> = addresses
        .iter()
        .copied()
        .filter(|address| objection(address).is_none())
        .collect();
    let Some(objection) = addresses
        .first()
        .and_then(objection)
        .filter(|_| good.is_empty())
    else {
        return Ok(good);
    };
    let blocked = match word {
        AddressOrigin::Configured => format!("{objection} may not be connected to"),
        AddressOrigin::Resolved => {
            format!(
                "the host's name resolves to {objection}; `allow_private = true` would allow a private one"
            )
        }
    };
    Err(Failure::new(Code::DestinationBlocked, blocked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permitted_count(addresses: &[&str], word: AddressOrigin) -> Result<usize, String> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        permitted_addresses(&addresses, word)
            .map(|good| good.len())
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

    #[test]
    fn address_origin_follows_the_host() {
        let of =
            |url: &str| address_origin(&Url::parse(url).unwrap().host().unwrap().to_owned(), false);
        for own in [
            "http://localhost/",
            "http://LOCALHOST./",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://[::1]/",
        ] {
            assert_eq!(of(own), AddressOrigin::Configured, "{own}");
        }
        for other in [
            "http://a.localhost/",
            "http://localhost.example/",
            "http://127.0.0.1.nip.io/",
        ] {
            assert_eq!(of(other), AddressOrigin::Resolved, "{other}");
        }
    }
}
