//! What an operator writes down of a site.

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// The document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Site {
    /// `slipway.dev/v1`.
    pub api_version: String,
    /// `Site`.
    pub kind: String,
    /// What it is called.
    pub metadata: Metadata,
    /// What is there, and what is to become of it.
    pub spec: SiteSpec,
}

/// What a site is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// The name of the cluster.
    pub name: String,
}

/// What is there, and what is to become of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SiteSpec {
    /// The domain that hosts are found in: `one` is `one.<domain>` too, on every host, without a server that could fail.
    pub domain: String,
    /// Who is asked for all other names.
    pub nameservers: Vec<Ipv4Addr>,
    /// Who is asked for the time; none: those that the distribution asks.
    #[serde(default)]
    pub timeservers: Vec<String>,
    /// The networks that hosts are in, by name.
    pub networks: BTreeMap<String, Network>,
    /// Who may reach what.
    pub zones: Zones,
    /// A way in for administrators from elsewhere.
    #[serde(default)]
    pub vpn: Option<Vpn>,
    /// The cluster.
    pub kubernetes: Kubernetes,
    /// The machines.
    pub hosts: Vec<Host>,
}

/// A network that hosts are in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    /// Its addresses.
    pub block: Ipv4Net,
    /// The way to everywhere else; one network has one.
    #[serde(default)]
    pub gateway: Option<Ipv4Addr>,
    /// Its tag, where it shares a wire with others.
    #[serde(default)]
    pub vlan: Option<u16>,
    /// The largest packet, in bytes; unset: what the interface has.
    #[serde(default)]
    pub mtu: Option<u16>,
}

/// Who may reach what; everything else is dropped. Machines of the site reach each other where the cluster needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Zones {
    /// They reach SSH and the API server.
    pub administrators: Vec<Ipv4Net>,
    /// They reach what the cluster offers.
    #[serde(default)]
    pub clients: Vec<Ipv4Net>,
    /// The ports of that, on the nodes.
    #[serde(default = "web")]
    pub client_ports: Vec<u16>,
}

fn web() -> Vec<u16> {
    vec![80, 443]
}

/// `WireGuard` on every host: whoever has a key reaches it as an administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vpn {
    /// Addresses within it; hosts have the first ones, in the order in which they are named.
    pub block: Ipv4Net,
    /// UDP port.
    #[serde(default = "wireguard")]
    pub port: u16,
    /// Who may come in.
    pub peers: Vec<Peer>,
}

const fn wireguard() -> u16 {
    51_820
}

/// Somebody who may come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Peer {
    /// Who.
    pub name: String,
    /// Base64 of 32 bytes, as `wg pubkey` prints it.
    pub public_key: String,
    /// The address that they have within it.
    pub address: Ipv4Addr,
}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kubernetes {
    /// The version, such as `1.33.2`.
    pub version: String,
    /// What runs containers.
    #[serde(default)]
    pub runtime: Runtime,
    /// The network that nodes reach each other in.
    #[serde(default = "machines")]
    pub network: String,
    /// The address of the API server. Of several control planes one has it beside its own, another when that one fails; of a single one it is its
    /// own.
    #[serde(default)]
    pub endpoint: Option<Ipv4Addr>,
    /// Addresses of pods.
    #[serde(default = "pods")]
    pub pods: Ipv4Net,
    /// Addresses of services.
    #[serde(default = "services")]
    pub services: Ipv4Net,
}

/// What runs containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// containerd, as the distribution packs it.
    #[default]
    Containerd,
    /// CRI-O, as its project packs it, of the cluster's minor version.
    CriO,
}

impl Runtime {
    /// Where the kubelet asks it.
    #[must_use]
    pub const fn socket(self) -> &'static str {
        match self {
            Self::Containerd => "unix:///run/containerd/containerd.sock",
            Self::CriO => "unix:///run/crio/crio.sock",
        }
    }
}

fn machines() -> String {
    "machines".to_owned()
}

fn pods() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16)
}

fn services() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16)
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// What it is in the cluster.
    #[serde(default)]
    pub role: Role,
    /// Where it is reached now, if not at its address among the nodes.
    #[serde(default)]
    pub reached_at: Option<String>,
    /// Its places in the networks.
    pub interfaces: Vec<Interface>,
    /// Disks for models, images and results.
    #[serde(default)]
    pub storage: Option<Storage>,
    /// Whether it has NVIDIA GPUs, for which a driver is to be there.
    #[serde(default)]
    pub gpu: bool,
    /// Labels of its node.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What keeps pods away from its node unless they tolerate it.
    #[serde(default)]
    pub taints: Vec<Taint>,
}

/// What a host is in the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// API server, scheduler, controllers and etcd.
    ControlPlane,
    /// Pods.
    #[default]
    Worker,
}

/// A place in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Interface {
    /// The name that the kernel gives it, such as `eno1`.
    pub name: String,
    /// Which network.
    pub network: String,
    /// Its address there.
    pub address: Ipv4Addr,
}

/// Disks that become one file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Storage {
    /// The disks, best by names that stay, such as `/dev/disk/by-id/…`. What holds anything is left alone, and the host set aside.
    pub devices: Vec<String>,
    /// How they become one.
    #[serde(default)]
    pub layout: Layout,
    /// The file system.
    #[serde(default)]
    pub filesystem: Filesystem,
    /// Where it is.
    #[serde(default = "data")]
    pub mount: String,
}

fn data() -> String {
    "/var/lib/slipway".to_owned()
}

/// How disks become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// One disk.
    #[default]
    Single,
    /// Striped by LVM: as fast as all, and gone with one.
    Striped,
    /// Mirrored by LVM: one may fail.
    Mirrored,
    /// RAID 0 of md.
    Raid0,
    /// RAID 1 of md.
    Raid1,
    /// RAID 10 of md.
    Raid10,
}

/// A file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filesystem {
    /// XFS.
    #[default]
    Xfs,
    /// ext4.
    Ext4,
}

/// What keeps pods away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value.
    #[serde(default)]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

impl Site {
    /// The control planes, the first of which the cluster is made with.
    pub fn control_planes(&self) -> impl Iterator<Item = &Host> {
        self.spec.hosts.iter().filter(|host| host.role == Role::ControlPlane)
    }

    /// The address of a host among the nodes.
    #[must_use]
    pub fn node_address(&self, host: &Host) -> Option<Ipv4Addr> {
        let network = &self.spec.kubernetes.network;
        host.interfaces.iter().find(|interface| interface.network == *network).map(|interface| interface.address)
    }

    /// Where the API server answers.
    #[must_use]
    pub fn endpoint(&self) -> Option<Ipv4Addr> {
        self.spec.kubernetes.endpoint.or_else(|| self.node_address(self.control_planes().next()?))
    }

    /// The address of a host within the tunnel.
    #[must_use]
    pub fn vpn_address(&self, host: &Host) -> Option<Ipv4Addr> {
        let place = self.spec.hosts.iter().position(|other| other.name == host.name)?;
        self.spec.vpn.as_ref()?.block.hosts().nth(place)
    }
}
