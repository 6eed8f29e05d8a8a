//! Which network addresses an artifact may come from. A spec names an address, and whoever writes specs must not be able
//! to make this service look into the network it stands in: only public addresses are asked, unless the operator says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not asked; none if it is public.
#[must_use]
pub fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => v4_not_public(v4),
        IpAddr::V6(v6) => v6_not_public(v6),
    }
}

fn v4_not_public(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = address.octets();
    Some(match (a, b, c) {
        (0, _, _) => "this network (0.0.0.0/8)",
        (127, _, _) => "loopback (127.0.0.0/8)",
        (10, _, _) | (192, 168, _) => "private",
        (172, 16..=31, _) => "private (172.16.0.0/12)",
        (169, 254, _) => "link-local, where clouds keep instance metadata (169.254.0.0/16)",
        (100, 64..=127, _) => "shared by a carrier or cloud (100.64.0.0/10)",
        (192, 0, 0) => "for protocols (192.0.0.0/24)",
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => "for documentation",
        (192, 88, 99) => "a 6to4 relay (192.88.99.0/24)",
        (198, 18 | 19, _) => "for benchmarks (198.18.0.0/15)",
        (224..=239, _, _) => "multicast",
        (240..=255, _, _) => "reserved (240.0.0.0/4)",
        _ => return None,
    })
}

fn v6_not_public(address: Ipv6Addr) -> Option<&'static str> {
    // An IPv4 address in disguise is judged as what it is.
    if let Some(v4) = address.to_ipv4_mapped() {
        return v4_not_public(v4).or(Some("an IPv4 address in IPv6 form"));
    }
    let parts = address.segments();
    Some(match parts {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => "loopback or unspecified",
        [0x64, 0xff9b, ..] => "a translation to IPv4 (64:ff9b::/32)",
        [0x2001, 0..=0x1ff, ..] => "for protocols (2001::/23)",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => "for documentation",
        [0x2002, ..] => "a tunnel to IPv4 (2002::/16)",
        [0xfc00..=0xfdff, ..] => "private (fc00::/7)",
        [0xfe80..=0xfebf, ..] => "link-local (fe80::/10)",
        [0xfec0..=0xfeff, ..] => "site-local (fec0::/10)",
        [0xff00..=0xffff, ..] => "multicast",
        [0x2000..=0x3fff, ..] => return None,
        _ => "not assigned for public use",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_pass() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.9.9",
            "203.0.113.5",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:169.254.169.254",
            "::ffff:8.8.8.8",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:a9fe:a9fe::",
            "2001:0:1::1",
            "2001:db8::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "4000::1",
        ] {
            assert!(not_public(address.parse().unwrap()).is_some(), "{address}");
        }
        for address in
            ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "198.20.0.1", "2606:4700::1111", "2a00:1450::1"]
        {
            assert_eq!(not_public(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn an_address_in_disguise_is_judged_as_what_it_is() {
        let reason = not_public("::ffff:169.254.169.254".parse().unwrap()).unwrap();
        assert!(reason.contains("metadata"), "{reason}");
    }
}
