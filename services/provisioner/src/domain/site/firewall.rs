//! Who reaches what on a host, as nftables reads it. A table of its own: what Kubernetes and its network put into theirs is not touched.

use super::{Host, Role, Site, network::TUNNEL};
use std::fmt::{Display, Write as _};

/// Ports of the cluster. <https://kubernetes.io/docs/reference/networking/ports-and-protocols/>
const API_SERVER: u16 = 6443;
const ETCD: &str = "2379-2380";
const KUBELET: u16 = 10_250;
/// Protocols have numbers here (1 and 58 are those of ICMP, 6 is TCP): a small Debian does not know their names.
const VRRP: u8 = 112;
/// Pods of other nodes, in VXLAN: of Cilium and Flannel, of the standard (Calico), and Geneve.
const OVERLAY: &str = "{ 8472, 4789, 6081 }";

/// The rules of a host.
pub(super) fn rules(site: &Site, host: &Host) -> String {
    let spec = &site.spec;
    let addresses = |hosts: &mut dyn Iterator<Item = &Host>| -> Vec<String> {
        hosts.flat_map(|host| host.interfaces.iter().map(|interface| interface.address.to_string())).collect()
    };
    let machines = addresses(&mut spec.hosts.iter());
    let planes = addresses(&mut site.control_planes());
    let mut administrators: Vec<String> = spec.zones.administrators.iter().map(ToString::to_string).collect();
    administrators.extend(spec.vpn.iter().flat_map(|vpn| vpn.peers.iter().map(|peer| format!("{}/32", peer.address))));
    let clients: Vec<String> = spec.zones.clients.iter().map(ToString::to_string).collect();
    let is_plane = host.role == Role::ControlPlane;

    let mut text = format!(
        "# Made from the site `{}`; what is changed here is lost.
# Put in place whole or not at all: the table is made if it is not there, removed, and made anew.
table inet slipway {{}}
delete table inet slipway

table inet slipway {{
",
        site.metadata.name
    );
    set(&mut text, "machines", false, &machines);
    set(&mut text, "control_planes", false, &planes);
    set(&mut text, "administrators", true, &administrators);
    set(&mut text, "clients", true, &clients);
    text += "  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    ct state invalid drop
    iif lo accept
    meta l4proto { 1, 58 } limit rate 50/second accept
";
    let mut allow = |rule: &str| {
        let _ = writeln!(text, "    {rule}");
    };
    if let Some(vpn) = &spec.vpn {
        allow(&format!("udp dport {} accept", vpn.port));
        // An address of the tunnel is believed only where it comes out of it.
        allow(&format!("iifname != \"{TUNNEL}\" ip saddr {} drop", vpn.block));
    }
    allow("ip saddr @administrators tcp dport 22 accept");
    if is_plane {
        allow(&format!("ip saddr @administrators tcp dport {API_SERVER} accept"));
        allow(&format!("ip saddr @machines tcp dport {API_SERVER} accept"));
        allow(&format!("ip saddr {} tcp dport {API_SERVER} accept", spec.kubernetes.pods));
        allow(&format!("ip saddr @control_planes tcp dport {ETCD} accept"));
        allow(&format!("ip saddr @control_planes ip protocol {VRRP} accept"));
    }
    allow(&format!("ip saddr @control_planes tcp dport {KUBELET} accept"));
    allow(&format!("ip saddr {} tcp dport {KUBELET} accept", spec.kubernetes.pods));
    allow(&format!("ip saddr @machines udp dport {OVERLAY} accept"));
    if !spec.zones.client_ports.is_empty() {
        allow(&format!("ip saddr @clients tcp dport {{ {} }} accept", listed(&spec.zones.client_ports)));
    }
    text += "    limit rate 5/second log prefix \"slipway dropped: \"
  }

  # What services do to addresses happens before: here a packet is already for the pod.
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    ct state invalid drop
";
    let pods = spec.kubernetes.pods;
    let _ = writeln!(text, "    ip saddr {pods} accept");
    let _ = writeln!(text, "    ip daddr {pods} ip saddr @machines accept");
    if !spec.zones.client_ports.is_empty() {
        let ports = listed(&spec.zones.client_ports);
        let _ = writeln!(
            text,
            "    ip daddr {pods} ip saddr @clients meta l4proto 6 ct original proto-dst {{ {ports} }} accept"
        );
    }
    text += "    limit rate 5/second log prefix \"slipway dropped: \"
  }
}
";
    text
}

fn set(text: &mut String, name: &str, is_of_blocks: bool, elements: &[String]) {
    let flags = if is_of_blocks { "\n    flags interval; auto-merge" } else { "" };
    let elements =
        if elements.is_empty() { String::new() } else { format!("\n    elements = {{ {} }}", elements.join(", ")) };
    let _ = writeln!(text, "  set {name} {{\n    type ipv4_addr{flags}{elements}\n  }}\n");
}

fn listed<T: Display>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
