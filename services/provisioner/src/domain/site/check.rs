//! What a site cannot be. Everything is held against everything before a host is touched.

use super::{Host, Layout, Site};
use ipnet::Ipv4Net;
use slipway_kernel::{Label, Refusal};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// More hosts than this are several clusters.
const MOST_HOSTS: usize = 256;
/// The oldest minor version whose kubeadm reads what is written here (`kubeadm.k8s.io/v1beta4`).
const OLDEST: u32 = 31;

pub(super) fn check(site: &Site) -> Vec<Refusal> {
    let mut all = Refused(Vec::new());
    let spec = &site.spec;
    all.unless("apiVersion", &site.api_version, site.api_version == "slipway.dev/v1", "slipway.dev/v1");
    all.unless("kind", &site.kind, site.kind == "Site", "Site");
    all.label("metadata.name", &site.metadata.name);
    let is_domain = spec.domain.len() <= 200 && spec.domain.split('.').all(is_label);
    all.unless("spec.domain", &spec.domain, is_domain, "a domain, such as lab.internal");
    all.unless("spec.nameservers", "[]", !spec.nameservers.is_empty(), "at least one address");
    for (n, server) in spec.timeservers.iter().enumerate() {
        all.unless(&format!("spec.timeservers[{n}]"), server, server.split('.').all(is_label), "a name or an address");
    }
    networks(site, &mut all);
    zones(site, &mut all);
    kubernetes(site, &mut all);
    hosts(site, &mut all);
    disjoint(site, &mut all);
    all.0
}

struct Refused(Vec<Refusal>);

impl Refused {
    fn unless(&mut self, path: &str, value: impl std::fmt::Display, is_good: bool, allowed: &str) {
        if !is_good {
            self.0.push(Refusal::new(path, value, allowed));
        }
    }

    fn label(&mut self, path: &str, value: &str) {
        if let Err(allowed) = value.parse::<Label>() {
            self.unless(path, value, false, &allowed);
        }
    }
}

fn is_label(text: &str) -> bool {
    text.parse::<Label>().is_ok()
}

fn networks(site: &Site, all: &mut Refused) {
    let networks = &site.spec.networks;
    let ways_out = networks.values().filter(|network| network.gateway.is_some()).count();
    all.unless("spec.networks", format!("{ways_out} with a gateway"), ways_out == 1, "one network with a gateway");
    let mut tags = BTreeMap::new();
    for (name, network) in networks {
        let path = format!("spec.networks.{name}");
        all.label(&path, name);
        block(all, &format!("{path}.block"), network.block);
        if let Some(gateway) = network.gateway {
            let within = is_of(network.block, gateway);
            all.unless(&format!("{path}.gateway"), gateway, within, &format!("an address in {}", network.block));
        }
        if let Some(tag) = network.vlan {
            all.unless(&format!("{path}.vlan"), tag, (1..=4094).contains(&tag), "1 to 4094");
            if let Some(other) = tags.insert(tag, name) {
                all.unless(&format!("{path}.vlan"), tag, false, &format!("a tag that `{other}` has not"));
            }
        }
        if let Some(mtu) = network.mtu {
            all.unless(&format!("{path}.mtu"), mtu, (1280..=9216).contains(&mtu), "1280 to 9216");
        }
    }
}

fn block(all: &mut Refused, path: &str, block: Ipv4Net) {
    let begins = block.addr() == block.network();
    all.unless(path, block, begins, &format!("a block that begins where it says: {}", block.trunc()));
    all.unless(path, block, (8..=29).contains(&block.prefix_len()), "a block from /8 to /29");
}

/// Whether a machine may have the address.
fn is_of(block: Ipv4Net, address: Ipv4Addr) -> bool {
    block.contains(&address) && address != block.network() && address != block.broadcast()
}

fn zones(site: &Site, all: &mut Refused) {
    let zones = &site.spec.zones;
    all.unless(
        "spec.zones.administrators",
        "[]",
        !zones.administrators.is_empty(),
        "at least one block, else nobody can enter",
    );
    for (n, block) in zones.administrators.iter().enumerate() {
        let path = format!("spec.zones.administrators[{n}]");
        all.unless(&path, block, block.prefix_len() > 0, "a block, not the whole internet");
    }
    for (n, port) in zones.client_ports.iter().enumerate() {
        let own = [22, 2379, 2380, 6443, 10250, 10257, 10259];
        let path = format!("spec.zones.clientPorts[{n}]");
        all.unless(&path, port, *port > 0 && !own.contains(port), "a port that the cluster itself does not use");
    }
    let Some(vpn) = &site.spec.vpn else { return };
    block(all, "spec.vpn.block", vpn.block);
    let room = vpn.block.hosts().count();
    let wanted = site.spec.hosts.len() + vpn.peers.len();
    all.unless(
        "spec.vpn.block",
        vpn.block,
        room >= wanted,
        &format!("a block with {wanted} addresses; this one has {room}"),
    );
    all.unless("spec.vpn.peers", "[]", !vpn.peers.is_empty(), "at least one peer, or no vpn");
    for (n, peer) in vpn.peers.iter().enumerate() {
        let path = format!("spec.vpn.peers[{n}]");
        all.label(&format!("{path}.name"), &peer.name);
        // What was mistaken for a public key may be a private one: it is not repeated.
        let key = peer.public_key.as_bytes();
        let is_key = key.len() == 44
            && key[43] == b'='
            && key[..43].iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
        all.unless(
            &format!("{path}.publicKey"),
            "(not shown)",
            is_key,
            "44 characters of base64, as `wg pubkey` prints them",
        );
        let hosts: Vec<Ipv4Addr> = vpn.block.hosts().take(site.spec.hosts.len()).collect();
        let is_free = is_of(vpn.block, peer.address)
            && !hosts.contains(&peer.address)
            && !vpn.peers[..n].iter().any(|other| other.address == peer.address);
        all.unless(
            &format!("{path}.address"),
            peer.address,
            is_free,
            &format!("an address in {} that nobody has; hosts have the first {}", vpn.block, hosts.len()),
        );
    }
}

fn kubernetes(site: &Site, all: &mut Refused) {
    let kubernetes = &site.spec.kubernetes;
    let parts: Vec<Option<u32>> = kubernetes.version.split('.').map(|part| part.parse().ok()).collect();
    let is_known = matches!(parts[..], [Some(1), Some(minor), Some(_)] if minor >= OLDEST);
    all.unless(
        "spec.kubernetes.version",
        &kubernetes.version,
        is_known,
        &format!("1.{OLDEST}.0 or newer, with all three numbers"),
    );
    block(all, "spec.kubernetes.pods", kubernetes.pods);
    block(all, "spec.kubernetes.services", kubernetes.services);
    // A node has a /24 of it.
    let nodes = 1_usize << (24_u8.saturating_sub(kubernetes.pods.prefix_len())).min(16);
    let is_large = kubernetes.pods.prefix_len() <= 24 && nodes >= site.spec.hosts.len();
    all.unless("spec.kubernetes.pods", kubernetes.pods, is_large, "a block with a /24 for each host");
    let Some(network) = site.spec.networks.get(&kubernetes.network) else {
        let names: Vec<&str> = site.spec.networks.keys().map(String::as_str).collect();
        all.unless("spec.kubernetes.network", &kubernetes.network, false, &format!("one of {}", names.join(", ")));
        return;
    };
    let planes = site.control_planes().count();
    // etcd goes on while more than half are there: a second or fourth makes it less likely that they are.
    all.unless(
        "spec.hosts",
        format!("{planes} control planes"),
        matches!(planes, 1 | 3 | 5),
        "1, 3 or 5 control planes",
    );
    match kubernetes.endpoint {
        None => all.unless(
            "spec.kubernetes.endpoint",
            "(absent)",
            planes <= 1,
            "an address that moves between the control planes, since there are several",
        ),
        Some(address) => {
            let path = "spec.kubernetes.endpoint";
            all.unless(path, address, is_of(network.block, address), &format!("an address in {}", network.block));
            let owner = site.spec.hosts.iter().find(|host| site.node_address(host) == Some(address));
            let is_free = owner.is_none_or(|host| planes == 1 && host.role == super::Role::ControlPlane);
            all.unless(
                path,
                address,
                is_free && network.gateway != Some(address),
                "an address that no host has, or that of the only control plane",
            );
        }
    }
}

fn hosts(site: &Site, all: &mut Refused) {
    let hosts = &site.spec.hosts;
    all.unless("spec.hosts", hosts.len(), (1..=MOST_HOSTS).contains(&hosts.len()), &format!("1 to {MOST_HOSTS} hosts"));
    let mut names = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for (n, host) in hosts.iter().enumerate() {
        let path = format!("spec.hosts[{n}]");
        all.label(&format!("{path}.name"), &host.name);
        if let Some(first) = names.insert(&host.name, n) {
            all.unless(&format!("{path}.name"), &host.name, false, &format!("a name that hosts[{first}] has not"));
        }
        if let Some(place) = &host.reached_at {
            all.unless(&format!("{path}.reachedAt"), place, place.split('.').all(is_label), "a name or an address");
        }
        for (m, interface) in host.interfaces.iter().enumerate() {
            let path = format!("{path}.interfaces[{m}]");
            let is_name = (1..=15).contains(&interface.name.len())
                && interface.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            all.unless(
                &format!("{path}.name"),
                &interface.name,
                is_name,
                "1 to 15 letters, digits, hyphens and underscores",
            );
            let Some(network) = site.spec.networks.get(&interface.network) else {
                let names: Vec<&str> = site.spec.networks.keys().map(String::as_str).collect();
                all.unless(
                    &format!("{path}.network"),
                    &interface.network,
                    false,
                    &format!("one of {}", names.join(", ")),
                );
                continue;
            };
            // The kernel's bound on names, which those of tagged networks are the longest of.
            let device = super::network::device(interface, network);
            all.unless(
                &format!("{path}.name"),
                &device,
                device.len() <= 15,
                "a name that has 15 characters with its tag",
            );
            let address = interface.address;
            let is_good = is_of(network.block, address) && network.gateway != Some(address);
            all.unless(
                &format!("{path}.address"),
                address,
                is_good,
                &format!("an address in {} that is not the gateway's", network.block),
            );
            if let Some(other) = addresses.insert(address, &host.name) {
                all.unless(&format!("{path}.address"), address, false, &format!("an address that `{other}` has not"));
            }
            let twice = host.interfaces[..m].iter().any(|other| other.network == interface.network);
            all.unless(&format!("{path}.network"), &interface.network, !twice, "a network that the host is in once");
            let is_bare = network.vlan.is_some()
                || !host.interfaces[..m].iter().any(|other| {
                    other.name == interface.name
                        && site.spec.networks.get(&other.network).is_some_and(|other| other.vlan.is_none())
                });
            all.unless(
                &format!("{path}.name"),
                &interface.name,
                is_bare,
                "one network without a tag on each interface",
            );
        }
        let network = &site.spec.kubernetes.network;
        all.unless(
            &format!("{path}.interfaces"),
            &host.name,
            site.node_address(host).is_some(),
            &format!("one in the network `{network}`, which nodes are in"),
        );
        for (m, taint) in host.taints.iter().enumerate() {
            let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            all.unless(
                &format!("{path}.taints[{m}].effect"),
                &taint.effect,
                effects.contains(&taint.effect.as_str()),
                &effects.join(", "),
            );
        }
        storage(host, &path, all);
    }
}

fn storage(host: &Host, path: &str, all: &mut Refused) {
    let Some(storage) = &host.storage else { return };
    let devices = &storage.devices;
    let (fits, wanted) = match storage.layout {
        Layout::Single => (devices.len() == 1, "one device"),
        Layout::Striped | Layout::Mirrored | Layout::Raid0 | Layout::Raid1 => {
            (devices.len() >= 2, "two devices or more")
        }
        Layout::Raid10 => (devices.len() >= 4 && devices.len() % 2 == 0, "four devices, six, …"),
    };
    all.unless(&format!("{path}.storage.devices"), devices.len(), fits, wanted);
    for (m, device) in devices.iter().enumerate() {
        let is_good = is_path(device) && device.starts_with("/dev/") && !devices[..m].contains(device);
        all.unless(&format!("{path}.storage.devices[{m}]"), device, is_good, "a path below /dev/, named once");
    }
    let mount = &storage.mount;
    // Whatever is mounted over one of these hides the system.
    let systems = [
        "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp",
        "/usr", "/var", "/var/lib",
    ];
    let is_free = is_path(mount)
        && !systems.contains(&mount.as_str())
        && !["/dev/", "/proc/", "/sys/", "/run/"].iter().any(|system| mount.starts_with(system));
    all.unless(
        &format!("{path}.storage.mount"),
        mount,
        is_free,
        "a folder that is not the system's, such as /var/lib/slipway",
    );
}

fn is_path(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b':' | b'+');
    text.len() <= 200
        && text.starts_with('/')
        && text.bytes().all(good)
        && !text.contains("..")
        && !text.contains("//")
        && (text == "/" || !text.ends_with('/'))
}

fn disjoint(site: &Site, all: &mut Refused) {
    let spec = &site.spec;
    let mut blocks: Vec<(String, Ipv4Net)> =
        spec.networks.iter().map(|(name, network)| (format!("spec.networks.{name}.block"), network.block)).collect();
    blocks.push(("spec.kubernetes.pods".to_owned(), spec.kubernetes.pods));
    blocks.push(("spec.kubernetes.services".to_owned(), spec.kubernetes.services));
    blocks.extend(spec.vpn.as_ref().map(|vpn| ("spec.vpn.block".to_owned(), vpn.block)));
    for (n, (path, block)) in blocks.iter().enumerate() {
        for (other_path, other) in &blocks[..n] {
            let overlap = block.contains(other) || other.contains(block);
            all.unless(path, block, !overlap, &format!("a block that does not overlap {other} ({other_path})"));
        }
    }
}
