//! Addresses, names and ways, as systemd-networkd and keepalived read them.

use super::{Host, Interface, Network, Role, Site};
use std::fmt::Write as _;

const FOLDER: &str = "etc/systemd/network";
/// The interface of the tunnel.
pub(super) const TUNNEL: &str = "wg-slipway";
/// Where a host keeps its key of the tunnel, which it makes itself.
const KEY: &str = "/etc/systemd/network/slipway-vpn.key";

/// The files of a host.
pub(super) fn files(site: &Site, host: &Host) -> Vec<(String, String)> {
    let mut files = vec![("etc/hosts".to_owned(), names(site, host))];
    let mut links: Vec<&str> = host.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    links.sort_unstable();
    links.dedup();
    for link in links {
        files.push((format!("{FOLDER}/10-slipway-{link}.network"), on_the_wire(site, host, link)));
    }
    for (interface, network, tag) in tagged(site, host) {
        let device = device(interface, network);
        files.push((
            format!("{FOLDER}/10-slipway-{device}.netdev"),
            format!("[NetDev]\nName={device}\nKind=vlan\n\n[VLAN]\nId={tag}\n"),
        ));
        let text = format!("[Match]\nName={device}\n{}", placed(site, interface, network));
        files.push((format!("{FOLDER}/10-slipway-{device}.network"), text));
    }
    files.extend(tunnel(site, host));
    if site.spec.kubernetes.endpoint.is_some() && host.role == Role::ControlPlane && site.control_planes().count() > 1 {
        files.extend(moving_address(site, host).map(|text| ("etc/keepalived/keepalived.conf".to_owned(), text)));
    }
    if !site.spec.timeservers.is_empty() {
        let text = format!("[Time]\nNTP={}\n", site.spec.timeservers.join(" "));
        files.push(("etc/systemd/timesyncd.conf.d/slipway.conf".to_owned(), text));
    }
    files
}

/// The name of an interface in a network: that of the wire, or that with the tag.
pub(super) fn device(interface: &Interface, network: &Network) -> String {
    network.vlan.map_or_else(|| interface.name.clone(), |tag| format!("{}.{tag}", interface.name))
}

/// Every host by name on every host.
fn names(site: &Site, host: &Host) -> String {
    let domain = &site.spec.domain;
    let mut text = format!(
        "# Made from the site `{}`; what is changed here is lost.\n127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
        site.metadata.name
    );
    for other in &site.spec.hosts {
        if let Some(address) = site.node_address(other) {
            let _ = writeln!(text, "{address} {}.{domain} {}", other.name, other.name);
        }
    }
    let _ = match site.endpoint() {
        Some(address) if site.node_address(host) != Some(address) => writeln!(text, "{address} api.{domain}"),
        _ => Ok(()),
    };
    text
}

fn tagged<'a>(site: &'a Site, host: &'a Host) -> impl Iterator<Item = (&'a Interface, &'a Network, u16)> {
    host.interfaces.iter().filter_map(|interface| {
        let network = site.spec.networks.get(&interface.network)?;
        Some((interface, network, network.vlan?))
    })
}

/// The interface itself: its own network, if it has one, and those with a tag above it.
fn on_the_wire(site: &Site, host: &Host, link: &str) -> String {
    let mut text = format!("[Match]\nName={link}\n");
    let own = host.interfaces.iter().find_map(|interface| {
        let network = site.spec.networks.get(&interface.network)?;
        (interface.name == link && network.vlan.is_none()).then(|| placed(site, interface, network))
    });
    text += &own.unwrap_or_else(|| "\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n".to_owned());
    for (interface, network, _) in tagged(site, host).filter(|(interface, ..)| interface.name == link) {
        let _ = writeln!(text, "VLAN={}", device(interface, network));
    }
    // What carries the tagged packets must let the largest of them through.
    let largest =
        tagged(site, host).filter(|(interface, ..)| interface.name == link).filter_map(|(_, network, _)| network.mtu);
    match largest.max() {
        Some(mtu) if !text.contains("[Link]") => text + &format!("\n[Link]\nMTUBytes={mtu}\n"),
        _ => text,
    }
}

fn placed(site: &Site, interface: &Interface, network: &Network) -> String {
    let link = network.mtu.map_or_else(String::new, |mtu| format!("\n[Link]\nMTUBytes={mtu}\n"));
    let mut text = format!(
        "{link}\n[Network]\nAddress={}/{}\nDHCP=no\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
        interface.address,
        network.block.prefix_len()
    );
    if let Some(gateway) = network.gateway {
        let _ = writeln!(text, "Gateway={gateway}");
        for server in &site.spec.nameservers {
            let _ = writeln!(text, "DNS={server}");
        }
        let _ = writeln!(text, "Domains={}", site.spec.domain);
    }
    text
}

fn tunnel(site: &Site, host: &Host) -> Vec<(String, String)> {
    let (Some(vpn), Some(address)) = (&site.spec.vpn, site.vpn_address(host)) else { return Vec::new() };
    let mut device = format!(
        "[NetDev]\nName={TUNNEL}\nKind=wireguard\n\n[WireGuard]\nPrivateKeyFile={KEY}\nListenPort={}\n",
        vpn.port
    );
    for peer in &vpn.peers {
        let _ = write!(
            device,
            "\n# {}\n[WireGuardPeer]\nPublicKey={}\nAllowedIPs={}/32\n",
            peer.name, peer.public_key, peer.address
        );
    }
    let network = format!("[Match]\nName={TUNNEL}\n\n[Network]\nAddress={address}/{}\n", vpn.block.prefix_len());
    vec![(format!("{FOLDER}/20-slipway-vpn.netdev"), device), (format!("{FOLDER}/20-slipway-vpn.network"), network)]
}

/// The address of the API server is that of one control plane at a time, by VRRP without multicast.
fn moving_address(site: &Site, host: &Host) -> Option<String> {
    let kubernetes = &site.spec.kubernetes;
    let network = site.spec.networks.get(&kubernetes.network)?;
    let interface = host.interfaces.iter().find(|interface| interface.network == kubernetes.network)?;
    let place = site.control_planes().position(|other| other.name == host.name)?;
    let peers: Vec<String> = site
        .control_planes()
        .filter(|other| other.name != host.name)
        .filter_map(|other| Some(format!("        {}", site.node_address(other)?)))
        .collect();
    Some(format!(
        "# Made from the site `{site}`; what is changed here is lost.
global_defs {{
    script_user nobody
    enable_script_security
}}

vrrp_script api_server {{
    script \"/usr/bin/curl --silent --fail --insecure --max-time 2 --output /dev/null https://{own}:6443/livez\"
    interval 3
    fall 3
    rise 2
}}

vrrp_instance api_server {{
    state BACKUP
    nopreempt
    interface {device}
    virtual_router_id 64
    priority {priority}
    advert_int 1
    unicast_src_ip {own}
    unicast_peer {{
{peers}
    }}
    virtual_ipaddress {{
        {endpoint}/{prefix}
    }}
    track_script {{
        api_server
    }}
}}
",
        site = site.metadata.name,
        own = interface.address,
        device = device(interface, network),
        priority = 100 - place,
        peers = peers.join("\n"),
        endpoint = kubernetes.endpoint?,
        prefix = network.block.prefix_len(),
    ))
}
