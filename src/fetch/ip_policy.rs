//! Address policy against server-side request forgery, applied to each address before it is
//! connected to.
//!
//! A literal address comes from the operator and is allowed. The addresses of a name come from DNS:
//! they must be public. `localhost`, and any name with `allow_private`, may have other addresses, but
//! for link-local ones, which clouds use for services with credentials. Cloud metadata addresses
//! are always blocked. An address that embeds an IPv4 address (mapped, translated,
//! tunnelled) must also pass with the embedded one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::domain::{embedded_ipv4_addresses, is_metadata_address};

/// Reason that no configuration overrides.
pub(super) const METADATA_REASON: &str = "a cloud metadata address";

const LINK_LOCAL_REASON: &str = "a link-local address";

/// Origin of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum AddressOrigin {
    /// A literal address of the configuration.
    Configured,
    /// A lookup of `localhost`, of a proxy's name, or of any name with `allow_private = true`.
    ResolvedPrivate,
    /// A name lookup.
    Resolved,
}

/// Returns the reason to block `address`; `None` if it is allowed.
pub(super) fn blocked_reason(address: IpAddr, origin: AddressOrigin) -> Option<&'static str> {
    // Before the origin is looked at: no configuration allows this address.
    if is_metadata_address(address) {
        return Some(METADATA_REASON);
    }
    match (origin, address) {
        (AddressOrigin::Configured, _) => None,
        (AddressOrigin::ResolvedPrivate, address) => {
            is_link_local(address).then_some(LINK_LOCAL_REASON)
        }
        (AddressOrigin::Resolved, IpAddr::V4(address)) => blocked_reason_v4(address),
        (AddressOrigin::Resolved, IpAddr::V6(address)) => blocked_reason_v6(address),
    }
}

/// Returns whether `address` is link-local (RFC 3927, RFC 4291), directly or by an embedded address.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_unicast_link_local()
                || embedded_ipv4_addresses(address).any(|embedded| embedded.is_link_local())
        }
    }
}

/// Returns the reason why an IPv4 address is not public, by the IANA special-purpose registry.
fn blocked_reason_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [127, ..] => Some("a loopback address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("a private address"),
        [169, 254, ..] => Some(LINK_LOCAL_REASON),
        [0, ..] => Some("an unspecified address"),
        [100, 64..=127, ..] => Some("a carrier's private address"),
        [224..=239, ..] => Some("a multicast address"),
        [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [240..=255, ..] => Some("a reserved address"),
        _ => None,
    }
}

/// Returns the reason why an IPv6 address is not public. Only `2000::/3` and the NAT64 prefix, with
/// a public embedded address, are.
fn blocked_reason_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(reason) = embedded_ipv4_addresses(address).find_map(blocked_reason_v4) {
        return Some(reason);
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("an unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        [0, 0, 0, 0, 0, 0xffff, ..] => Some("an IPv4-mapped address"),
        [0xfe80..=0xfebf, ..] => Some(LINK_LOCAL_REASON),
        [0xfc00..=0xfdff, ..] | [0x64, 0xff9b, 1, ..] => Some("a private address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        [0x2001, 0x0..=0x1ff | 0xdb8, ..] | [0x3ff0..=0x3fff, ..] => Some("a reserved address"),
        [0x2000..=0x3fff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => None,
        _ => Some("a reserved address"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[rustfmt::skip]
    const PUBLIC_ADDRESSES: &[&str] = &[
        "8.8.8.8", "100.63.0.1", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1",
        "223.255.255.255", "2606:4700::1111", "2a00:1450::1", "2001:4860::8888",
        "64:ff9b::808:808", "2002:808:808::1",
    ];

    #[rustfmt::skip]
    const SPECIAL_ADDRESSES: &[&str] = &[
        "127.0.0.1", "127.255.255.255", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.0.1", "0.0.0.0", "0.1.2.3", "100.64.0.1", "100.127.255.255", "192.0.0.8",
        "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9",
        "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1",
        "febf::1", "fec0::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "3fff::1", "100::1",
        "5f00::1", "4000::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "::8.8.8.8",
        "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::808:808", "64:ff9b:1::a00:1",
        "2002:7f00:1::1", "2002:c0a8:101::", "2001:0:a00:1::1", "2001:0:808:808::80ff:fffe",
        "fe80::5efe:10.0.0.1", "2a00::5efe:10.0.0.1", "::ffff:0:10.0.0.1",
        "64:ff9b:0:0:0:1:808:808",
    ];

    fn resolved_reason(address: &str) -> Option<&'static str> {
        blocked_reason(address.parse().unwrap(), AddressOrigin::Resolved)
    }

    #[test]
    fn resolved_private_ip_is_blocked() {
        for public in PUBLIC_ADDRESSES {
            assert_eq!(resolved_reason(public), None, "{public}");
        }
        for special in SPECIAL_ADDRESSES {
            assert!(resolved_reason(special).is_some(), "{special}");
        }
    }

    #[test]
    fn metadata_address_is_blocked() {
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2001:0:1:1::5601:5601",
            "fe80::5efe:169.254.169.254",
            "::ffff:0:169.254.169.254",
        ] {
            for origin in [
                AddressOrigin::Configured,
                AddressOrigin::ResolvedPrivate,
                AddressOrigin::Resolved,
            ] {
                let reason = blocked_reason(address.parse().unwrap(), origin);
                assert_eq!(reason, Some("a cloud metadata address"), "{address}");
            }
        }
    }

    #[test]
    fn configured_address_is_allowed() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "::1",
            "fd12::1",
            "::ffff:10.0.0.1",
            "169.254.1.1",
            "0.0.0.0",
        ] {
            assert_eq!(
                blocked_reason(address.parse().unwrap(), AddressOrigin::Configured),
                None,
                "{address}"
            );
        }
    }

    #[test]
    fn private_name_excludes_link_local() {
        let reason = |address: &str| {
            blocked_reason(address.parse().unwrap(), AddressOrigin::ResolvedPrivate)
        };
        for blocked in [
            "169.254.1.1",
            "fe80::1",
            "::ffff:169.254.1.1",
            "64:ff9b::a9fe:101",
        ] {
            assert_eq!(reason(blocked), Some("a link-local address"), "{blocked}");
        }
        for allowed in ["127.0.0.1", "10.0.0.1", "::1", "fd12::1", "8.8.8.8"] {
            assert_eq!(reason(allowed), None, "{allowed}");
        }
    }

    proptest! {
        #[test]
        fn embedded_ipv4_is_judged_too(bits in any::<u32>(), other in any::<[u16; 8]>()) {
            let inner = Ipv4Addr::from(bits);
            let special = inner.is_private() || inner.is_loopback() || inner.is_link_local() || inner.is_multicast()
                || inner.is_broadcast() || inner.is_documentation() || inner.is_unspecified();
            let is_blocked = blocked_reason(inner.into(), AddressOrigin::Resolved).is_some();
            prop_assert!(is_blocked || !special);
            let [high, low] = [(bits >> 16) as u16, bits as u16];
            let wrappings = [
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, other[3], other[4], other[5], other[6], other[7]),
            ];
            for wrapped in wrappings {
                prop_assert_eq!(blocked_reason(wrapped.into(), AddressOrigin::Resolved).is_some(), is_blocked, "{}", wrapped);
            }
            prop_assert!(blocked_reason(inner.to_ipv6_mapped().into(), AddressOrigin::Resolved).is_some());
            let public = other[0] & 0xe000 == 0x2000 || other[0] == 0x64;
            prop_assert!(public || blocked_reason(Ipv6Addr::from(other).into(), AddressOrigin::Resolved).is_some());
        }
    }
}
