//! What `slipway cluster-init` is told.

use serde::{Deserialize, Serialize};
use slipway_bus::{
    InferenceClient,
    topology::{self, TopologyConfig},
};
use slipway_kernel::{ByteSize, Namespace, Refusal, Span};
use slipway_runtime::{Common, ServiceConfig};
use slipway_security::AuthorityConfig;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// The whole of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// What every process has.
    pub common: Common,
    /// The cluster, from outside of it; unset: that of the own pod, else `KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
    /// What the names of all objects begin with.
    pub name: String,
    /// The namespace of the services.
    pub namespace: String,
    /// The namespace of the workers; unset: that of the services.
    pub workers_namespace: Option<String>,
    /// Labels of all objects.
    pub labels: BTreeMap<String, String>,
    /// Clients of models over NATS, `<namespace>.<name>`, each with a key of its own.
    #[serde(with = "clients")]
    pub clients: BTreeSet<InferenceClient>,
    /// Namespaces of deployments that whoever has the key `client` may act in: CI, and what is like it.
    pub client_namespaces: BTreeSet<Namespace>,
    /// The broker.
    pub broker: BrokerConfig,
    /// The authority of the mesh.
    pub authority: AuthorityTerms,
}

/// The broker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct BrokerConfig {
    /// How many servers it has; 0: it is somebody else's, who takes the users from `authorization.conf`.
    pub servers: u32,
    /// The Service through which clients reach it.
    pub service: String,
    /// The headless Service that gives each server a name.
    pub headless: String,
    /// What the servers are called, before their number.
    pub server: String,
    /// The domain of the cluster.
    pub domain: String,
    /// Further names and addresses by which clients reach it, for its certificate.
    pub names: Vec<String>,
    /// Whether servers talk over TLS, to clients and to each other.
    pub tls: bool,
    /// Whether its certificate is made here; else it is somebody else's (`broker-tls`).
    pub own_certificate: bool,
    /// Most that JetStream keeps on each server.
    pub max_file_store: ByteSize,
}

/// How long the authority of the mesh and what it signs hold; as `authority` and `identities` of security.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthorityTerms {
    /// How long one of its certificates is valid; the next is made after two thirds of it.
    pub lifetime: Span,
    /// How long everybody has to hear of a new one before it signs.
    pub settle: Span,
    /// How long what it signs is valid.
    pub identity: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            common: Common::default(),
            kubeconfig: None,
            name: "slipway".to_owned(),
            namespace: "default".to_owned(),
            workers_namespace: None,
            labels: BTreeMap::new(),
            clients: BTreeSet::new(),
            client_namespaces: "default".parse::<Namespace>().into_iter().collect(),
            broker: BrokerConfig::default(),
            authority: AuthorityTerms::default(),
        }
    }
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            servers: 1,
            service: "slipway-nats".to_owned(),
            headless: "slipway-nats-headless".to_owned(),
            server: "slipway-nats".to_owned(),
            domain: "cluster.local".to_owned(),
            names: Vec::new(),
            tls: true,
            own_certificate: true,
            max_file_store: ByteSize(12 << 30),
        }
    }
}

impl Default for AuthorityTerms {
    fn default() -> Self {
        let (authority, identities) = (AuthorityConfig::default(), slipway_security::IdentitiesConfig::default());
        Self { lifetime: authority.lifetime, settle: authority.settle, identity: identities.lifetime }
    }
}

impl AuthorityTerms {
    /// As security has them.
    pub(super) fn config(self) -> AuthorityConfig {
        AuthorityConfig { lifetime: self.lifetime, settle: self.settle, ..AuthorityConfig::default() }
    }
}

impl Config {
    /// The namespace of the workers.
    pub(super) fn workers(&self) -> &str {
        self.workers_namespace.as_deref().unwrap_or(&self.namespace)
    }

    /// Whether certificates for the broker are made.
    pub(super) const fn has_certificates(&self) -> bool {
        self.broker.servers > 0 && self.broker.tls && self.broker.own_certificate
    }

    fn topology(&self) -> TopologyConfig {
        let namespaces = self.clients.iter().map(|client| client.namespace.clone()).collect();
        TopologyConfig { replicas: 1, namespaces }
    }
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "cluster-init";
    const ABOUT: &'static str =
        "Makes the keys, certificates and broker configuration of a cluster, and keeps them in order.";

    fn common(&self) -> &Common {
        &self.common
    }

    fn check(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let label = |text: &str| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            (1..=63).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('-') && !text.ends_with('-')
        };
        let broker = &self.broker;
        let mut names = vec![
            ("name", &self.name),
            ("namespace", &self.namespace),
            ("broker.service", &broker.service),
            ("broker.headless", &broker.headless),
            ("broker.server", &broker.server),
        ];
        names.extend(self.workers_namespace.iter().map(|name| ("workers_namespace", name)));
        for (path, name) in names.into_iter().filter(|(_, name)| !label(name)) {
            refusals.push(Refusal::new(path, name, "1 to 63 characters a-z, 0-9 and `-`"));
        }
        if ![0, 1, 3, 5].contains(&broker.servers) {
            refusals.push(Refusal::new("broker.servers", broker.servers, "0, 1, 3 or 5"));
        }
        let bounds = topology::bounds(&self.topology());
        if broker.servers > 0 && broker.max_file_store <= bounds {
            let allowed =
                format!("more than the bounds of all streams, {bounds}, for the log and the models come on top");
            refusals.push(Refusal::new("broker.max_file_store", broker.max_file_store, allowed));
        }
        for name in &broker.names {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-.*:".contains(c);
            if name.is_empty() || name.len() > 253 || !name.chars().all(plain) {
                refusals.push(Refusal::new("broker.names", name, "host names and addresses"));
            }
        }
        refusals
    }
}

/// Clients as texts.
mod clients {
    use super::{BTreeSet, InferenceClient};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(clients: &BTreeSet<InferenceClient>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(clients.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<InferenceClient>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let read = |text: String| text.parse().map_err(|allowed| D::Error::custom(format!("`{text}`: {allowed}")));
        texts.into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_runtime::Layers;

    #[test]
    fn what_a_chart_says_is_read() {
        let text = r#"
            name = "mesh"
            namespace = "slipway"
            workers_namespace = "models"
            labels."app.kubernetes.io/instance" = "mesh"
            clients = ["default.shop"]
            broker = { servers = 3, max_file_store = "20Gi", names = ["nats.example.com", "10.0.0.7"] }
        "#;
        let config: Config = Layers::new().toml("init.toml", text).unwrap().load().unwrap();
        assert_eq!((config.workers(), config.clients.len(), config.broker.servers), ("models", 1, 3));
        assert_eq!(config.labels["app.kubernetes.io/instance"], "mesh");
    }

    #[test]
    fn what_cannot_be_is_refused_all_at_once() {
        let config = Config {
            name: "Mesh".to_owned(),
            workers_namespace: Some(String::new()),
            broker: BrokerConfig {
                servers: 2,
                max_file_store: ByteSize(1),
                names: vec!["a b".to_owned()],
                ..BrokerConfig::default()
            },
            ..Config::default()
        };
        let paths: Vec<String> = config.check().into_iter().map(|refusal| refusal.path).collect();
        assert_eq!(paths, ["name", "workers_namespace", "broker.servers", "broker.max_file_store", "broker.names"]);
        assert_eq!(Config::default().check(), []);
    }

    #[test]
    fn the_readme_lists_every_key() {
        slipway_runtime::check_readme::<Config>(include_str!("README.md")).unwrap();
    }
}
