//! The limit of connections of one address (`server.max_per_client`).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

use super::client_stream::AcceptedStream;
use super::trusted_proxies::TrustedProxies;

/// Counts the connections of each client.
#[derive(Debug)]
pub(super) struct ClientLimit {
    /// 0: no limit.
    max: usize,
    proxies: Arc<TrustedProxies>,
    /// Open connections by client; none has 0.
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// Counts one connection until it is dropped.
#[derive(Debug, Default)]
pub(super) struct ClientPermit(Option<(Arc<ClientLimit>, IpAddr)>);

/// An accepted connection that its client's limit allows.
pub(super) type AdmittedStream = (AcceptedStream, ClientPermit);

impl ClientLimit {
    pub(super) fn new(max: usize, proxies: Arc<TrustedProxies>) -> Arc<Self> {
        Arc::new(Self {
            max,
            proxies,
            counts: Mutex::default(),
        })
    }

    /// Counts a connection. `None` if its client has the maximum.
    pub(super) fn admit_stream(self: &Arc<Self>, stream: AcceptedStream) -> Option<AdmittedStream> {
        // Without a limit, the system is not asked for the address.
        let peer = (self.max > 0).then(|| stream.peer_ip()).flatten();
        let permit = peer.map_or(Some(ClientPermit::default()), |peer| self.admit(peer))?;
        Some((stream, permit))
    }

    /// Counts a connection of this address. `None` if the client has the maximum. A trusted proxy
    /// stands for many clients and is not counted.
    fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<ClientPermit> {
        if self.max == 0 || self.proxies.contains(peer) {
            return Some(ClientPermit::default());
        }
        let client = client_network(peer);
        let mut counts = self.counts.lock();
        let count = counts.entry(client).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(ClientPermit(Some((Arc::clone(self), client))))
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        let Some((limit, client)) = self.0.take() else {
            return;
        };
        let mut counts = limit.counts.lock();
        if let Some(count) = counts.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&client);
            }
        }
    }
}

/// The address that a client is counted under: one IPv4 address, or a /64 of IPv6, which one
/// subscriber has.
fn client_network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(max: usize, proxies: &[&str]) -> Arc<ClientLimit> {
        let proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        ClientLimit::new(max, Arc::new(TrustedProxies::new(proxies)))
    }

    fn admit(limit: &Arc<ClientLimit>, peer: &str) -> Option<ClientPermit> {
        limit.admit(peer.parse().unwrap())
    }

    #[test]
    fn each_address_has_its_share() {
        let limit = limit(2, &["10.0.0.0/8"]);
        let first = admit(&limit, "192.0.2.1").unwrap();
        let _second = admit(&limit, "::ffff:192.0.2.1").unwrap();
        assert!(admit(&limit, "192.0.2.1").is_none());
        let _other = admit(&limit, "192.0.2.2").unwrap();
        drop(first);
        let _third = admit(&limit, "192.0.2.1").unwrap();
        assert!(admit(&limit, "192.0.2.1").is_none());
        let proxied: Vec<_> = (0..9).filter_map(|_| admit(&limit, "10.1.2.3")).collect();
        assert_eq!(proxied.len(), 9);
    }

    #[test]
    fn ipv6_is_counted_by_network() {
        let limit = limit(1, &[]);
        let permit = admit(&limit, "2001:db8::1").unwrap();
        assert!(admit(&limit, "2001:db8::ffff:0:0:2").is_none());
        let other = admit(&limit, "2001:db8:0:1::1").unwrap();
        drop((permit, other));
        assert!(limit.counts.lock().is_empty());
    }

    #[test]
    fn zero_is_no_limit() {
        let limit = limit(0, &[]);
        let permits: Vec<_> = (0..99).filter_map(|_| admit(&limit, "192.0.2.1")).collect();
        assert_eq!(permits.len(), 99);
        assert!(limit.counts.lock().is_empty());
    }
}
