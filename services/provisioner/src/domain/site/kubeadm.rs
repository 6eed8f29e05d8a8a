//! What kubeadm is told. <https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/>

use super::{Host, Role, Site, Taint};
use serde::Serialize;
use serde_json::{Value, json};
use std::net::Ipv4Addr;

const VERSION: &str = "kubeadm.k8s.io/v1beta4";
const PORT: u16 = 6443;
/// How a host that joins finds the cluster: made by the first one, with a token for an hour.
const DISCOVERY: &str = "/etc/slipway/discovery.conf";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Init {
    api_version: &'static str,
    kind: &'static str,
    #[serde(rename = "localAPIEndpoint")]
    local_api_endpoint: LocalEndpoint,
    node_registration: Registration,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cluster {
    api_version: &'static str,
    kind: &'static str,
    cluster_name: String,
    kubernetes_version: String,
    control_plane_endpoint: String,
    networking: Networking,
    api_server: ApiServer,
    controller_manager: Component,
    scheduler: Component,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Join {
    api_version: &'static str,
    kind: &'static str,
    discovery: Discovery,
    node_registration: Registration,
    #[serde(skip_serializing_if = "Option::is_none")]
    control_plane: Option<JoinControlPlane>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JoinControlPlane {
    #[serde(rename = "localAPIEndpoint")]
    local_api_endpoint: LocalEndpoint,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LocalEndpoint {
    advertise_address: Ipv4Addr,
    bind_port: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Discovery {
    file: DiscoveryFile,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiscoveryFile {
    kube_config_path: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Registration {
    name: String,
    cri_socket: &'static str,
    kubelet_extra_args: Vec<Argument>,
    // Empty says that there are none; absent would be kubeadm's own for a control plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    taints: Option<Vec<Taint>>,
}

#[derive(Serialize)]
struct Argument {
    name: &'static str,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Networking {
    pod_subnet: String,
    service_subnet: String,
    dns_domain: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiServer {
    #[serde(rename = "certSANs")]
    cert_sans: Vec<String>,
    extra_args: Vec<Argument>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Component {
    extra_args: Vec<Argument>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kubelet {
    api_version: &'static str,
    kind: &'static str,
    cgroup_driver: &'static str,
    /// Refuses to start on a host whose kernel is not set as it expects, instead of setting it itself.
    protect_kernel_defaults: bool,
    rotate_certificates: bool,
    /// Workers drain within a minute; then the system goes down.
    shutdown_grace_period: &'static str,
    shutdown_grace_period_critical_pods: &'static str,
}

/// The documents of a host by the name of their file: the first control plane makes the cluster, all others join it.
pub(super) fn files(site: &Site, host: &Host) -> Vec<(&'static str, Vec<Value>)> {
    let (Some(own), Some(endpoint)) = (site.node_address(host), site.endpoint()) else { return Vec::new() };
    let local_api_endpoint = LocalEndpoint { advertise_address: own, bind_port: PORT };
    let is_first = site.control_planes().next().is_some_and(|first| first.name == host.name);
    if is_first {
        let init = Init {
            api_version: VERSION,
            kind: "InitConfiguration",
            local_api_endpoint,
            node_registration: registration(site, host, own),
        };
        return vec![("init.yaml", vec![json!(init), json!(cluster(site, endpoint)), json!(kubelet())])];
    }
    let join = Join {
        api_version: VERSION,
        kind: "JoinConfiguration",
        discovery: Discovery { file: DiscoveryFile { kube_config_path: DISCOVERY } },
        node_registration: registration(site, host, own),
        control_plane: (host.role == Role::ControlPlane).then_some(JoinControlPlane { local_api_endpoint }),
    };
    vec![("join.yaml", vec![json!(join)])]
}

fn cluster(site: &Site, endpoint: Ipv4Addr) -> Cluster {
    let kubernetes = &site.spec.kubernetes;
    let domain = &site.spec.domain;
    let mut names = vec![endpoint.to_string(), format!("api.{domain}")];
    for plane in site.control_planes() {
        names.push(format!("{}.{domain}", plane.name));
        names.extend(site.vpn_address(plane).map(|address| address.to_string()));
    }
    let no_profiling = || Argument { name: "profiling", value: "false".to_owned() };
    Cluster {
        api_version: VERSION,
        kind: "ClusterConfiguration",
        cluster_name: site.metadata.name.clone(),
        kubernetes_version: format!("v{}", kubernetes.version),
        control_plane_endpoint: format!("{endpoint}:{PORT}"),
        networking: Networking {
            pod_subnet: kubernetes.pods.to_string(),
            service_subnet: kubernetes.services.to_string(),
            dns_domain: "cluster.local",
        },
        api_server: ApiServer { cert_sans: names, extra_args: vec![no_profiling()] },
        controller_manager: Component { extra_args: vec![no_profiling()] },
        scheduler: Component { extra_args: vec![no_profiling()] },
    }
}

fn registration(site: &Site, host: &Host, own: Ipv4Addr) -> Registration {
    let mut arguments = vec![Argument { name: "node-ip", value: own.to_string() }];
    if !host.labels.is_empty() {
        let labels: Vec<String> = host.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        arguments.push(Argument { name: "node-labels", value: labels.join(",") });
    }
    let has_workers = site.spec.hosts.iter().any(|host| host.role == Role::Worker);
    let mut taints = host.taints.clone();
    if host.role == Role::ControlPlane && has_workers {
        let key = "node-role.kubernetes.io/control-plane".to_owned();
        taints.push(Taint { key, value: String::new(), effect: "NoSchedule".to_owned() });
    }
    Registration {
        name: host.name.clone(),
        cri_socket: site.spec.kubernetes.runtime.socket(),
        kubelet_extra_args: arguments,
        taints: Some(taints),
    }
}

const fn kubelet() -> Kubelet {
    Kubelet {
        api_version: "kubelet.config.k8s.io/v1beta1",
        kind: "KubeletConfiguration",
        cgroup_driver: "systemd",
        protect_kernel_defaults: true,
        rotate_certificates: true,
        shutdown_grace_period: "90s",
        shutdown_grace_period_critical_pods: "15s",
    }
}
