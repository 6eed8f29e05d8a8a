//! Whether a request may come from where it comes from.

use ipnet::IpNet;
use std::net::IpAddr;

/// Whether `peer` lies in one of the networks; an empty list lets everybody in. The peer is that of the connection, never
/// what a header says about it.
#[must_use]
pub fn is_allowed(networks: &[IpNet], peer: IpAddr) -> bool {
    // A dual-stack listener sees IPv4 clients as `::ffff:a.b.c.d`.
    let peer = peer.to_canonical();
    networks.is_empty() || networks.iter().any(|network| network.contains(&peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_let_in_by_its_network_however_it_is_written() {
        let networks: Vec<IpNet> = ["10.0.0.0/8", "::1/128"].map(|network| network.parse().unwrap()).into();
        for (peer, allowed) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("::1", true),
            ("11.0.0.1", false),
            ("::ffff:11.0.0.1", false),
            ("::2", false),
        ] {
            assert_eq!(is_allowed(&networks, peer.parse().unwrap()), allowed, "{peer}");
            assert!(is_allowed(&[], peer.parse().unwrap()));
        }
    }
}
