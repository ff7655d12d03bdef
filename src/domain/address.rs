//! Cloud metadata addresses and names, which are blocked under every configuration, and the IPv4
//! addresses that an IPv6 address can carry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Host;

/// IPv4 addresses of metadata services, which serve a machine's credentials: AWS (EC2, ECS, EKS),
/// Google, Azure, Oracle, Alibaba, Tencent, Scaleway, and providers that share these addresses.
const METADATA_V4: [Ipv4Addr; 9] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 0, 23),
    Ipv4Addr::new(169, 254, 10, 10),
    Ipv4Addr::new(169, 254, 42, 42),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// IPv6 addresses of metadata services: AWS (EC2, EKS), Google, Scaleway and `OpenStack`.
const METADATA_V6: [Ipv6Addr; 5] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];

/// Names of metadata services: Google, AWS, Azure, Tencent, IBM, Equinix and Exoscale. A proxy could
/// resolve them where this machine cannot.
const METADATA_NAMES: [&str; 9] = [
    "metadata.google.internal",
    "metadata.goog",
    "instance-data.ec2.internal",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "api.metadata.cloud.ibm.com",
    "metadata.packet.net",
    "metadata.platformequinix.com",
    "metadata.exoscale.com",
];

/// Returns whether `host` is the address or a known name of a cloud metadata service.
pub fn is_metadata_host<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Ipv4(address) => is_metadata_address((*address).into()),
        Host::Ipv6(address) => is_metadata_address((*address).into()),
        Host::Domain(name) => {
            let name = name.as_ref();
            let name = name.strip_suffix('.').unwrap_or(name);
            let is_named = |known: &&str| name.eq_ignore_ascii_case(known);
            // The parser keeps an IPv4 address as a name if the scheme is not a web scheme, as in
            // `redis://`.
            METADATA_NAMES.iter().any(is_named) || name.parse().is_ok_and(is_metadata_address)
        }
    }
}

/// Returns whether `ip` is a cloud metadata address, directly or embedded in an IPv6 address.
pub fn is_metadata_address(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => METADATA_V4.contains(&ip),
        IpAddr::V6(ip) => {
            METADATA_V6.contains(&ip)
                || embedded_ipv4_addresses(ip).any(|ip| METADATA_V4.contains(&ip))
        }
    }
}

/// Returns the IPv4 addresses embedded in `ip`, at most two: IPv4-compatible and IPv4-mapped
/// (RFC 4291), NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), ISATAP (RFC 5214), and the server and
/// client of a Teredo address (RFC 4380), whose client address is stored inverted.
pub fn embedded_ipv4_addresses(ip: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let ipv4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    let (first, second) = match ip.segments() {
        // `::` and `::1` have the prefix of an IPv4-compatible address but embed none.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => (None, None),
        [0, 0, 0, 0, 0 | 0xffff, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0 | 1, _, _, _, high, low]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low]
        | [0x2002, high, low, ..] => (Some(ipv4(high, low)), None),
        [0x2001, 0, high, low, _, _, inverted_high, inverted_low] => (
            Some(ipv4(high, low)),
            Some(ipv4(!inverted_high, !inverted_low)),
        ),
        _ => (None, None),
    };
    first.into_iter().chain(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_address_is_detected() {
        for blocked in [
            "169.254.169.254",
            "169.254.0.23",
            "169.254.10.10",
            "169.254.42.42",
            "100.100.100.200",
            "fd00:ec2::254",
            "fd00:42::42",
            "fe80::a9fe:a9fe",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:0:a9fe:a9fe",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2001:0:1:1::5601:5601",
            "fe80::5efe:169.254.169.254",
        ] {
            assert!(is_metadata_address(blocked.parse().unwrap()), "{blocked}");
        }
        for allowed in [
            "169.254.169.253",
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "fd00:ec2::255",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_metadata_address(allowed.parse().unwrap()), "{allowed}");
        }
    }
    #[test]
    fn metadata_name_is_detected() {
        let is_metadata = |host: &str| is_metadata_host(&Host::parse(host).unwrap());
        for blocked in [
            "metadata.google.internal",
            "Metadata.Google.Internal.",
            "metadata.tencentyun.com",
            "0xa9fea9fe",
            "[fd00:ec2::254]",
        ] {
            assert!(is_metadata(blocked), "{blocked}");
        }
        let kept_as_name = Host::Domain("169.254.169.254");
        assert!(is_metadata_host(&kept_as_name));
        for allowed in ["google.internal", "metadata.example.org", "10.0.0.1"] {
            assert!(!is_metadata(allowed), "{allowed}");
        }
    }
}
