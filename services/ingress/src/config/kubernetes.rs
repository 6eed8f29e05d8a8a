//! How clients outside of a cluster come to the door.

use serde::{Deserialize, Serialize};
use slipway_kernel::{
    Refusal,
    names::{DNS_LABEL, is_dns_label},
};
use std::{collections::BTreeMap, path::PathBuf};

/// How clients outside of a cluster come to the door: routes of a Gateway, or Ingresses, one for each deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KubernetesConfig {
    /// Whether routes are made. It takes a gateway or a class of Ingresses.
    pub enabled: bool,
    /// The cluster, from outside of it; unset: `KUBECONFIG`, else that of the own pod.
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of the routes and of `service`; unset: that of the own pod.
    pub namespace: Option<String>,
    /// Name of this installation, on every object it makes: two in one namespace need two.
    pub installation: String,
    /// The Service in front of this door.
    pub service: String,
    /// Its port.
    pub port: u16,
    /// The host name of HTTP; `{name}` and `{namespace}` stand for those of the deployment. Unset: any.
    pub hostname: Option<String>,
    /// The host name of gRPC, another one than that of HTTP. Unset: gRPC is not routed.
    pub grpc_hostname: Option<String>,
    /// The Gateway that routes belong to; empty: none.
    pub gateway: String,
    /// Its namespace; unset: that of the routes.
    pub gateway_namespace: Option<String>,
    /// Its listener; unset: each that takes them.
    pub gateway_listener: Option<String>,
    /// The class of Ingresses, which are made where the cluster serves no Gateway API or no gateway is named; empty: none.
    pub ingress_class: String,
    /// The Secret with the certificate of an Ingress; unset: what its controller has.
    pub tls_secret: Option<String>,
    /// Annotations of routes and Ingresses.
    pub annotations: BTreeMap<String, String>,
    /// Further ones of the Ingress for gRPC, which most controllers must be told.
    pub grpc_annotations: BTreeMap<String, String>,
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            kubeconfig: None,
            namespace: None,
            installation: "slipway".to_owned(),
            service: "slipway-ingress".to_owned(),
            port: 8080,
            hostname: None,
            grpc_hostname: None,
            gateway: String::new(),
            gateway_namespace: None,
            gateway_listener: None,
            ingress_class: String::new(),
            tls_secret: None,
            annotations: BTreeMap::new(),
            grpc_annotations: BTreeMap::new(),
        }
    }
}

impl KubernetesConfig {
    pub(super) fn check(&self, refusals: &mut Vec<Refusal>) {
        let mut refuse = |key: &str, value: &str, allowed: &str| {
            refusals.push(Refusal::new(format!("kubernetes.{key}"), value, allowed));
        };
        let named = [
            ("namespace", self.namespace.as_deref()),
            ("installation", Some(self.installation.as_str())),
            ("service", Some(self.service.as_str())),
            ("gateway_namespace", self.gateway_namespace.as_deref()),
            ("gateway", Some(self.gateway.as_str()).filter(|name| !name.is_empty())),
        ];
        for (key, name) in named {
            if let Some(name) = name.filter(|name| !is_dns_label(name)) {
                refuse(key, name, DNS_LABEL);
            }
        }
        let hosts = [("hostname", &self.hostname), ("grpc_hostname", &self.grpc_hostname)];
        for (key, host) in hosts {
            if let Some(host) = host.as_ref().filter(|host| !is_host(&hostname(host, "a", "a"))) {
                refuse(key, host, "a host name in lower case, in which {name} and {namespace} may stand");
            }
        }
        if self.grpc_hostname.is_some() && self.grpc_hostname == self.hostname {
            // A listener takes routes of one protocol for a host name, and rejects the others.
            let host = self.grpc_hostname.as_deref().unwrap_or_default();
            refuse("grpc_hostname", host, "another host name than kubernetes.hostname");
        }
        if self.enabled && self.gateway.is_empty() && self.ingress_class.is_empty() {
            refuse("gateway", "", "the name of a Gateway here, or a class in kubernetes.ingress_class");
        }
    }
}

/// A host name for one deployment.
#[must_use]
pub fn hostname(pattern: &str, namespace: &str, name: &str) -> String {
    pattern.replace("{name}", name).replace("{namespace}", namespace)
}

fn is_host(text: &str) -> bool {
    text.len() <= 253 && text.strip_prefix("*.").unwrap_or(text).split('.').all(is_dns_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_route_can_be_made_of_is_refused_by_name() {
        let config = KubernetesConfig {
            enabled: true,
            namespace: Some("A".into()),
            hostname: Some("{name}.{what}.example".into()),
            grpc_hostname: Some("{name}.{what}.example".into()),
            ..KubernetesConfig::default()
        };
        let mut refusals = Vec::new();
        config.check(&mut refusals);
        let paths: Vec<String> = refusals.into_iter().map(|refusal| refusal.path).collect();
        let keys = ["namespace", "hostname", "grpc_hostname", "grpc_hostname", "gateway"];
        assert_eq!(paths, keys.map(|key| format!("kubernetes.{key}")));
    }
}
