//! A site of machines of one's own: from what its operator writes down of it, the files that make a cluster of them.
//!
//! [`Site`] is the document, [`plan`] what follows from it: an inventory for Ansible, and for each host the files that the roles in
//! `infra/bare-metal` put in place. Addresses, names, zones and versions are decided here, where they can be checked as a whole before any
//! host is touched; the roles only carry it out.

mod check;
mod document;
mod firewall;
mod inventory;
mod kubeadm;
mod network;
mod storage;
#[cfg(test)]
mod tests;

pub use document::{
    Filesystem, Host, Interface, Kubernetes, Layout, Network, Peer, Role, Runtime, Site, SiteSpec, Storage, Taint, Vpn,
    Zones,
};

use slipway_kernel::{Refusal, Refusals};
use std::collections::BTreeMap;

/// The most refusals in one answer.
const MAX_REFUSALS: usize = 16;

/// What follows from a document: texts by their path.
pub type Files = BTreeMap<String, String>;

impl Site {
    /// Reads a document from outside.
    ///
    /// # Errors
    /// What is wrong with it: the first structural fault, or every value that cannot be, up to a bound.
    pub fn read(document: &serde_json::Value) -> Result<Self, Refusals> {
        let site: Self = serde_path_to_error::deserialize(document).map_err(|error| {
            let path = error.path().to_string();
            let found = document.pointer(&format!("/{}", path.replace(['.', '['], "/").replace(']', "")));
            let shown = found.map_or_else(|| "(absent)".to_owned(), ToString::to_string);
            Refusals(vec![Refusal::new(path, shown, error.inner().to_string())])
        })?;
        let mut refusals = check::check(&site);
        refusals.truncate(MAX_REFUSALS);
        if refusals.is_empty() { Ok(site) } else { Err(Refusals(refusals)) }
    }
}

/// Everything that follows from a site that was read: `inventory.yaml`, and the files of each host below `hosts/NAME/`, in the places that they
/// have there.
///
/// # Errors
/// Never for what [`Site::read`] gave; the error is that of the YAML writer.
pub fn plan(site: &Site) -> Result<Files, serde_norway::Error> {
    let mut files = Files::new();
    files.insert("inventory.yaml".to_owned(), serde_norway::to_string(&inventory::inventory(site))?);
    for host in &site.spec.hosts {
        let mut put = |path: &str, text: String| files.insert(format!("hosts/{}/{path}", host.name), text);
        for (path, text) in network::files(site, host) {
            put(&path, text);
        }
        if let Some(wanted) = &host.storage {
            put(&format!("etc/systemd/system/{}", storage::unit(wanted)), storage::mount(wanted));
        }
        put("etc/slipway/firewall.nft", firewall::rules(site, host));
        for (name, documents) in kubeadm::files(site, host) {
            let documents: Result<Vec<String>, _> = documents.iter().map(serde_norway::to_string).collect();
            put(&format!("etc/slipway/{name}"), documents?.join("---\n"));
        }
    }
    Ok(files)
}
