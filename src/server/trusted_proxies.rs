//! The proxies whose `X-Forwarded-For` is believed (`server.trusted_proxies`).

use std::net::IpAddr;

use ipnet::IpNet;

/// Addresses of trusted proxies.
#[derive(Debug)]
pub(super) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    pub(super) fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether the address is a trusted proxy's.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client of a request that `peer` sent with these values of `X-Forwarded-For`: the last
    /// address that is not a trusted proxy's. Addresses before it may be the client's invention. A
    /// value that is no address ends the search.
    pub(super) fn find_client<'v>(
        &self,
        peer: IpAddr,
        forwarded_for: impl DoubleEndedIterator<Item = &'v [u8]>,
    ) -> IpAddr {
        let mut client = peer;
        let entries = forwarded_for
            .rev()
            .flat_map(|value| value.rsplit(|b| *b == b','));
        for entry in entries {
            if !self.contains(client) {
                break;
            }
            let Some(address) = parse_address(entry) else {
                break;
            };
            client = address;
        }
        client
    }
}

fn parse_address(entry: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(entry).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, fields: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "::1/128"].map(|text| text.parse().unwrap());
        let proxies = TrustedProxies::new(networks.to_vec());
        let fields = fields.iter().map(|field| field.as_bytes());
        proxies
            .find_client(peer.parse().unwrap(), fields)
            .to_string()
    }

    #[test]
    fn last_untrusted_address_is_the_client() {
        assert_eq!(client("10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1, 192.0.2.7 , 10.0.0.2"]),
            "192.0.2.7"
        );
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1", "192.0.2.7", "10.0.0.2"]),
            "192.0.2.7"
        );
        assert_eq!(client("::1", &["2001:db8::7"]), "2001:db8::7");
        assert_eq!(client("::ffff:10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
    }

    #[test]
    fn invented_addresses_are_not_believed() {
        assert_eq!(client("192.0.2.9", &["1.1.1.1"]), "192.0.2.9");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1, x, 10.0.0.2"]), "10.0.0.2");
    }
}
