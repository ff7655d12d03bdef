//! From a target to a stream: lookup, guard, TCP, the proxy's tunnel, TLS; each in its phase, all by one deadline.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::{Host, Url};

use crate::clock::{Clock, Deadline};
use crate::domain::{Code, Failure, Request};

use super::guard::{self, Word};
use super::lookup::Lookup;
use super::paced::Paced;
use super::phase::{Meter, Phase, within};
use super::tls::Tls;
use super::{eyeballs, proxy};

/// What a connection is made to, and how.
#[derive(Debug)]
pub(super) struct Target {
    /// TLS or not.
    pub(super) https: bool,
    /// The provider's host.
    pub(super) host: Host<String>,
    /// The provider's port.
    pub(super) port: u16,
    /// Whether the host's name may resolve to a private address.
    allow_private: bool,
    /// PEM of authorities trusted beside the public ones.
    ca: Option<Arc<str>>,
    /// The proxy on the way, with its credentials.
    pub(super) proxy: Option<Url>,
}

/// What a connection runs over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Makes connections.
pub(super) struct Connector {
    /// Names to addresses.
    pub(super) lookup: Lookup,
    /// Trust, and sessions to resume.
    pub(super) tls: Tls,
    /// To know what is left of a deadline.
    pub(super) clock: Clock,
}

impl Target {
    /// Where `request` goes; none without a host, which a valid configuration has.
    pub(super) fn of(request: &Request) -> Option<Self> {
        Some(Self {
            https: request.url.scheme() == "https",
            host: request.url.host()?.to_owned(),
            port: request.url.port_or_known_default()?,
            allow_private: request.allow_private,
            ca: request.ca.clone(),
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
    pub(super) async fn connect(
        &self,
        target: &Target,
        deadline: Deadline,
    ) -> Result<Box<dyn Stream>, Failure> {
        let tcp = self.reach(target, deadline).await?;
        if !target.https {
            return Ok(Box::new(tcp));
        }
        let none = Arc::<Meter>::default();
        let tcp = Paced::new(tcp, Arc::clone(&none));
        let tcp = match &target.proxy {
            Some(proxy) => {
                within(
                    deadline,
                    Phase::Tunnel,
                    &none,
                    proxy::tunnel(tcp, proxy, &target.authority()),
                )
                .await?
            }
            None => tcp,
        };
        none.reset();
        let handshake = self.tls.handshake(tcp, &target.host, target.ca.as_ref());
        Ok(Box::new(
            within(deadline, Phase::Tls, &none, handshake).await?,
        ))
    }

    /// A TCP connection to the target, or to its proxy. The proxy is the operator's own word; what a name means is then
    /// the proxy's to decide, and all that can be judged here is a literal address behind it.
    async fn reach(&self, target: &Target, deadline: Deadline) -> Result<TcpStream, Failure> {
        let Some(proxy) = &target.proxy else {
            return self
                .dial(
                    &target.host,
                    target.port,
                    word(&target.host, target.allow_private),
                    deadline,
                )
                .await;
        };
        allowed(
            &literal(&target.host).into_iter().collect::<Vec<_>>(),
            Word::Operator,
        )?;
        let (Some(host), Some(port)) = (proxy.host(), proxy.port_or_known_default()) else {
            return Err(Failure::new(Code::ConnectFailed, "the proxy has no host"));
        };
        let dialled = self
            .dial(&host.to_owned(), port, Word::Operator, deadline)
            .await;
        dialled.map_err(|failure| {
            Failure::new(
                failure.code,
                format!("on the way to the proxy: {}", failure.message),
            )
        })
    }

    async fn dial(
        &self,
        host: &Host<String>,
        port: u16,
        word: Word,
        by: Deadline,
    ) -> Result<TcpStream, Failure> {
        let none = Meter::default();
        let addresses = match host {
            Host::Domain(name) => {
                within(by, Phase::Lookup, &none, self.lookup.addresses(name)).await?
            }
            address => literal(address).into_iter().collect(),
        };
        let addresses = allowed(&addresses, word)?;
        let left = by.at.saturating_duration_since(self.clock.instant());
        within(
            by,
            Phase::Connect,
            &none,
            eyeballs::connect(&addresses, port, left),
        )
        .await
    }
}

/// Whose word it is that `host` may be connected to.
fn word(host: &Host<String>, allow_private: bool) -> Word {
    match host {
        Host::Domain(name)
            if !allow_private && !matches!(name.as_str(), "localhost" | "localhost.") =>
        {
            Word::Lookup
        }
        _ => Word::Operator,
    }
}

fn literal(host: &Host<String>) -> Option<IpAddr> {
    match host {
        Host::Ipv4(address) => Some((*address).into()),
        Host::Ipv6(address) => Some((*address).into()),
        Host::Domain(_) => None,
    }
}

/// Those of `addresses` that may be connected to; a failure if none of several may.
fn allowed(addresses: &[IpAddr], word: Word) -> Result<Vec<IpAddr>, Failure> {
    let objection = |address: &IpAddr| guard::objection(*address, word);
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
        Word::Operator => format!("{objection} may not be connected to"),
        Word::Lookup => {
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

    fn verdict(addresses: &[&str], word: Word) -> Result<usize, String> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        allowed(&addresses, word)
            .map(|good| good.len())
            .map_err(|failure| failure.message.to_string())
    }

    #[test]
    fn only_the_allowed_of_mixed_addresses_are_tried() {
        assert_eq!(
            verdict(&["127.0.0.1", "8.8.8.8", "::1"], Word::Lookup),
            Ok(1)
        );
        assert_eq!(
            verdict(&["127.0.0.1", "169.254.169.254"], Word::Operator),
            Ok(1)
        );
        assert!(
            verdict(&["127.0.0.1", "::1"], Word::Lookup)
                .unwrap_err()
                .contains("a loopback address")
        );
        assert!(
            verdict(&["169.254.169.254"], Word::Operator)
                .unwrap_err()
                .contains("metadata")
        );
    }

    #[test]
    fn only_localhost_and_literals_are_the_operators_word() {
        let of = |url: &str| word(&Url::parse(url).unwrap().host().unwrap().to_owned(), false);
        for own in [
            "http://localhost/",
            "http://LOCALHOST./",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://[::1]/",
        ] {
            assert_eq!(of(own), Word::Operator, "{own}");
        }
        for other in [
            "http://a.localhost/",
            "http://localhost.example/",
            "http://127.0.0.1.nip.io/",
        ] {
            assert_eq!(of(other), Word::Lookup, "{other}");
        }
    }
}
