//! Connections to providers: name lookup, address policy, TCP, proxy tunnel, TLS, under one
//! deadline.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use url::Host;

use crate::domain::{Code, Failure};
use crate::process::{Clock, Deadline};

use super::connect_target::ConnectTarget;
use super::deadline::{ByteCounter, FetchPhase, run_until_deadline};
use super::ip_policy::{self, AddressOrigin};
use super::resolver::NameResolver;
use super::throttle::ThrottledStream;
use super::tls::TlsClient;
use super::upstream_connection::ConnectionStream;
use super::{happy_eyeballs, proxy};

/// Opens connections to providers.
pub(super) struct Connector {
    /// Resolves host names.
    pub(super) resolver: NameResolver,
    /// Trusted authorities, and sessions to resume.
    pub(super) tls: TlsClient,
    /// Measures the time left until a deadline.
    pub(super) clock: Clock,
}

impl Connector {
    /// Opens a connection to `target`, ready for a request.
    pub(super) async fn connect(
        &self,
        target: &ConnectTarget,
        deadline: Deadline,
    ) -> Result<Box<dyn ConnectionStream>, Failure> {
        let tcp = self.connect_tcp(target, deadline).await?;
        if !target.is_https {
            return Ok(Box::new(tcp));
        }
        let counter = Arc::<ByteCounter>::default();
        let tcp = ThrottledStream::new(tcp, Arc::clone(&counter));
        let tcp = match &target.proxy {
            Some(proxy) => {
                run_until_deadline(
                    deadline,
                    FetchPhase::Tunnel,
                    &counter,
                    proxy::open_tunnel(tcp, proxy, &target.authority()),
                )
                .await?
            }
            None => tcp,
        };
        counter.reset();
        let handshake = self
            .tls
            .handshake(tcp, &target.host, target.ca_pem.as_ref());
        Ok(Box::new(
            run_until_deadline(deadline, FetchPhase::Tls, &counter, handshake).await?,
        ))
    }

    /// Connects to the target, or to its proxy. The proxy comes from the operator, so its address
    /// is allowed. It resolves the name of the target, so the policy can check only a literal
    /// address.
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
        let literal: Vec<IpAddr> = literal_address(&target.host).into_iter().collect();
        permitted_addresses(&literal, AddressOrigin::Configured)?;
        let (Some(host), Some(port)) = (proxy.host(), proxy.port_or_known_default()) else {
            return Err(Failure::new(Code::ConnectFailed, "the proxy has no host"));
        };
        self.connect_host(&host.to_owned(), port, AddressOrigin::Configured, deadline)
            .await
            .map_err(|failure| {
                let message = format!("on the way to the proxy: {}", failure.message);
                Failure::new(failure.code, message)
            })
    }

    async fn connect_host(
        &self,
        host: &Host<String>,
        port: u16,
        origin: AddressOrigin,
        deadline: Deadline,
    ) -> Result<TcpStream, Failure> {
        let counter = ByteCounter::default();
        let addresses = match host {
            Host::Domain(name) => {
                run_until_deadline(
                    deadline,
                    FetchPhase::Lookup,
                    &counter,
                    self.resolver.resolve_host(name),
                )
                .await?
            }
            address => literal_address(address).into_iter().collect(),
        };
        let addresses = permitted_addresses(&addresses, origin)?;
        let remaining = deadline.at.saturating_duration_since(self.clock.instant());
        run_until_deadline(
            deadline,
            FetchPhase::Connect,
            &counter,
            happy_eyeballs::connect_first(&addresses, port, remaining),
        )
        .await
    }
}

/// Returns the origin of the addresses of `host`.
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

/// Returns those of `addresses` that the policy allows; a failure if it blocks all of them.
fn permitted_addresses(
    addresses: &[IpAddr],
    origin: AddressOrigin,
) -> Result<Vec<IpAddr>, Failure> {
    let blocked_reason = |address: &IpAddr| ip_policy::blocked_reason(*address, origin);
    let permitted: Vec<IpAddr> = addresses
        .iter()
        .copied()
        .filter(|address| blocked_reason(address).is_none())
        .collect();
    let Some(reason) = addresses
        .first()
        .and_then(blocked_reason)
        .filter(|_| permitted.is_empty())
    else {
        return Ok(permitted);
    };
    let message = match origin {
        AddressOrigin::Configured => format!("{reason} may not be connected to"),
        AddressOrigin::Resolved => {
            format!(
                "the host's name resolves to {reason}; `allow_private = true` would allow a private one"
            )
        }
    };
    Err(Failure::new(Code::DestinationBlocked, message))
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

    #[test]
    fn address_origin_follows_the_host() {
        let origin = |url: &str| {
            let url = url::Url::parse(url).unwrap();
            address_origin(&url.host().unwrap().to_owned(), false)
        };
        for configured in [
            "http://localhost/",
            "http://LOCALHOST./",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://[::1]/",
        ] {
            assert_eq!(
                origin(configured),
                AddressOrigin::Configured,
                "{configured}"
            );
        }
        for resolved in [
            "http://a.localhost/",
            "http://localhost.example/",
            "http://127.0.0.1.nip.io/",
        ] {
            assert_eq!(origin(resolved), AddressOrigin::Resolved, "{resolved}");
        }
    }
}
