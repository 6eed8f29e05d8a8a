//! Names of leases. The holder's service stands in the name, so that permissions can keep services off each other's leases.

use slipway_kernel::{DeploymentId, Service};
use std::fmt;

/// The name of a lease.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseKey(String);

impl LeaseKey {
    /// A service's lease on some work for a deployment.
    #[must_use]
    pub fn new(id: &DeploymentId, service: Service, work: &str) -> Self {
        Self(format!("{id}.{service}.{}", token(work)))
    }

    /// A service's leases on some work for any deployment, as a filter.
    pub(crate) fn of_every_deployment(service: Service, work: &str) -> String {
        format!("*.*.{service}.{}", token(work))
    }

    /// The deployment that a lease's name is of.
    pub(crate) fn deployment(key: &str) -> Option<DeploymentId> {
        let (of, _) = key.rsplit_once('.')?.0.rsplit_once('.')?;
        of.parse().ok()
    }

    /// A service's lease on some work on a host. No namespace begins with `_`, so it cannot be taken for a deployment's.
    #[must_use]
    pub fn host(hostname: &str, service: Service, work: &str) -> Self {
        Self(format!("_host.{}.{service}.{}", token(hostname), token(work)))
    }

    /// A service's lease on some work that is done once in the whole mesh.
    #[must_use]
    pub fn mesh(service: Service, work: &str) -> Self {
        Self(format!("_mesh.all.{service}.{}", token(work)))
    }
}

/// What may stand in a key, everything else written as its code.
fn token(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let written = text.chars().map(|c| if plain(c) { c.to_string() } else { format!("_{:x}_", u32::from(c)) });
    let token: String = written.collect();
    if token.is_empty() { "_".to_owned() } else { token }
}

impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_leases_have_different_names() {
        let id: DeploymentId = "host.box".parse().unwrap();
        let controller = Service::Controller;
        assert_eq!(LeaseKey::new(&id, controller, "rollout").to_string(), "host.box.controller.rollout");
        assert_ne!(LeaseKey::new(&id, controller, "workers"), LeaseKey::host("box", controller, "workers"));
        assert_ne!(LeaseKey::host("a.b", controller, "w"), LeaseKey::host("a_b", controller, "w"));
        assert!(!LeaseKey::host("a.b *>", controller, "w").to_string().contains(['*', '>', ' ']));
        assert_eq!(LeaseKey::host("a.b", controller, "w").to_string().split('.').count(), 4);
    }
}
