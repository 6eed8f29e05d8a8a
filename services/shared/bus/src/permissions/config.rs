//! The configuration of the broker, with the keys and permissions of every principal in it.

use super::{Permissions, Rules};
use crate::{keys::KeyRing, topology::MAX_MESSAGE_BYTES};
use slipway_kernel::{ByteSize, Namespace};
use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf};

/// One broker.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Its name; unique in a cluster.
    pub server_name: String,
    /// Address to listen on.
    pub host: String,
    /// Port to listen on.
    pub port: u16,
    /// Where JetStream keeps its files.
    pub store_dir: PathBuf,
    /// Most that JetStream keeps there. The broker makes no stream whose bound, with those of all others, goes beyond it. Not left to the
    /// broker, which takes three quarters of what is free when it starts: too little for the bounds on a disk that is nearly full,
    /// and another number each time.
    pub max_file_store: ByteSize,
    /// Port of the HTTP monitor on the same host, if there is to be one.
    pub monitor_port: Option<u16>,
    /// The largest message in bytes.
    pub max_payload: usize,
    /// The cluster it belongs to, if it does.
    pub cluster: Option<ClusterConfig>,
}

/// How the servers of a cluster find each other.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Name of the cluster.
    pub name: String,
    /// Port for the other servers.
    pub port: u16,
    /// `nats://host:port` of the others.
    pub routes: Vec<String>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            server_name: "slipway".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 4222,
            store_dir: PathBuf::from("nats"),
            max_file_store: ByteSize(64 << 30),
            monitor_port: None,
            max_payload: MAX_MESSAGE_BYTES,
            cluster: None,
        }
    }
}

/// The text of `nats.conf`.
#[must_use]
pub fn server_config(config: &ServerConfig, keys: &KeyRing) -> String {
    let namespaces: BTreeSet<&Namespace> = keys.clients().map(|(client, _)| &client.namespace).collect();
    let of = |principal| super::beside_clients(principal, namespaces.iter().copied());
    let users = keys.iter().map(|(principal, key)| user(key, &of(principal)));
    let users = users.chain(keys.clients().map(|(client, key)| user(key, &super::of_inference_client(client))));
    let users: Vec<String> = users.collect();
    format!("{}authorization {{\n  users: [\n{}\n  ]\n}}\n", open_config(config), users.join(",\n"))
}

/// The text of `nats.conf` of a broker without permissions: for tests.
#[must_use]
pub fn open_config(config: &ServerConfig) -> String {
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = writeln!(text, "server_name: {}", quoted(&config.server_name));
    let _ = writeln!(text, "listen: {}", quoted(&format!("{}:{}", config.host, config.port)));
    if let Some(port) = config.monitor_port {
        let _ = writeln!(text, "http: {}", quoted(&format!("{}:{port}", config.host)));
    }
    let _ = writeln!(text, "max_payload: {}", config.max_payload);
    // An acknowledgement of a single server means that the disk has it; in a cluster the other copies vouch for it, and the disk is
    // written every two minutes.
    let sync = if config.cluster.is_none() { "  sync_interval: always\n" } else { "" };
    let store = quoted(&config.store_dir.display().to_string());
    let most = config.max_file_store.0;
    let _ = writeln!(text, "jetstream {{\n  store_dir: {store}\n  max_file_store: {most}\n{sync}}}");
    if let Some(cluster) = &config.cluster {
        let routes: Vec<String> = cluster.routes.iter().map(|route| quoted(route)).collect();
        let listen = quoted(&format!("{}:{}", config.host, cluster.port));
        let _ = writeln!(
            text,
            "cluster {{\n  name: {}\n  listen: {listen}\n  routes: [{}]\n}}",
            quoted(&cluster.name),
            routes.join(", ")
        );
    }
    text
}

fn user(key: &str, permissions: &Permissions) -> String {
    let respond = if permissions.respond { ", allow_responses: { max: 1, expires: \"1m\" }" } else { "" };
    format!(
        "    {{ nkey: {key}, permissions: {{\n      publish: {},\n      subscribe: {}{respond}\n    }} }}",
        rules(&permissions.publish),
        rules(&permissions.subscribe)
    )
}

fn rules(rules: &Rules) -> String {
    let list = |patterns: &[String]| patterns.iter().map(|pattern| quoted(pattern)).collect::<Vec<_>>().join(", ");
    format!("{{ allow: [{}], deny: [{}] }}", list(&rules.allow), list(&rules.deny))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keys, principal::Principal};

    #[test]
    fn the_configuration_names_every_principal_and_no_seed() {
        let dir = tempfile::tempdir().unwrap();
        let client = "default.shop".parse().unwrap();
        let seed = keys::make_client(dir.path(), &client).unwrap();
        let keys = keys::make_all(dir.path()).unwrap();
        let (_, public) = keys.clients().next().unwrap();
        let text = server_config(&ServerConfig::default(), &keys);
        for principal in Principal::ALL {
            assert!(text.contains(keys.public(principal)), "{principal}");
            let seed = std::fs::read_to_string(keys.seed_file(principal)).unwrap();
            assert!(!text.contains(seed.trim()), "{principal}");
        }
        assert!(text.contains(public) && text.contains("\"_SLIPWAY_CLIENT.default.shop.>\""));
        assert!(!text.contains(std::fs::read_to_string(seed).unwrap().trim()));
        assert!(text.contains("listen: \"127.0.0.1:4222\"") && text.contains("sync_interval: always"));
        assert!(text.contains("max_file_store: 68719476736\n"), "{text}");
    }
}
