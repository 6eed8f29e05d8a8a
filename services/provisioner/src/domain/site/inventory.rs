//! What Ansible is told: which hosts there are, how they are reached, and what of their files does not say it all.

use super::{Host, Role, Site, storage};
use serde_json::{Map, Value, json};

/// The inventory.
pub(super) fn inventory(site: &Site) -> Value {
    let spec = &site.spec;
    let group = |role: Role| -> Map<String, Value> {
        spec.hosts
            .iter()
            .filter(|host| host.role == role)
            .map(|host| (host.name.clone(), variables(site, host)))
            .collect()
    };
    let first = site.control_planes().next().map(|host| host.name.as_str());
    let minor = spec.kubernetes.version.rsplit_once('.').map_or("", |(minor, _)| minor);
    json!({ "all": {
        "vars": {
            "site": site.metadata.name,
            "domain": spec.domain,
            "first_control_plane": first,
            "endpoint": site.endpoint(),
            "kubernetes_version": spec.kubernetes.version,
            "kubernetes_minor": minor,
            "container_runtime": spec.kubernetes.runtime,
            "has_vpn": spec.vpn.is_some(),
            "has_moving_address": site.control_planes().count() > 1,
        },
        "children": {
            "control_planes": { "hosts": group(Role::ControlPlane) },
            "workers": { "hosts": group(Role::Worker) },
        },
    }})
}

fn variables(site: &Site, host: &Host) -> Value {
    let own = site.node_address(host).map(|address| address.to_string());
    json!({
        "ansible_host": host.reached_at.clone().or_else(|| own.clone()),
        "node_address": own,
        "gpu": host.gpu,
        "storage": host.storage,
        "mount_unit": host.storage.as_ref().map(storage::unit),
        "interfaces": host.interfaces,
    })
}
