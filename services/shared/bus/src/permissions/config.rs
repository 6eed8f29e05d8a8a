//! The configuration of the broker, with the keys and permissions of every principal in it.

use super::{Permissions, Rules};
use crate::{keys::KeyRing, topology::MAX_MESSAGE_BYTES};
use slipway_kernel::{ByteSize, Namespace};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// One broker.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Its name; unique in a cluster. `$NAME`: what this variable of its environment says, so that servers share a configuration. A flag of
    /// the server will not do: it is forgotten when the configuration is read again.
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
    /// Where it writes its process number, for who tells it to read its configuration again.
    pub pid_file: Option<PathBuf>,
    /// What it shows its clients; without it they talk to it in the clear.
    pub tls: Option<ServerTls>,
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
    /// What each server says to be let in by another; none: all are let in.
    pub credentials: Option<RouteCredentials>,
    /// With what servers prove to each other who they are, each to each; without it they talk in the clear.
    pub tls: Option<ServerTls>,
}

/// User and password of the servers of a cluster among themselves.
#[derive(Clone)]
pub struct RouteCredentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for RouteCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteCredentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Files as the server sees them, all PEM.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Its certificate, with what leads to the authority.
    pub certificate: PathBuf,
    /// The key of that.
    pub key: PathBuf,
    /// The authority of the others; only servers among themselves ask each other for certificates.
    pub authority: PathBuf,
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
            pid_file: None,
            tls: None,
            cluster: None,
        }
    }
}

/// The text of `nats.conf`.
#[must_use]
pub fn server_config(config: &ServerConfig, keys: &KeyRing) -> String {
    format!("{}{}", open_config(config), authorization(keys))
}

/// The part of `nats.conf` that says who may do what: all that a broker which somebody else runs needs of Slipway.
#[must_use]
pub fn authorization(keys: &KeyRing) -> String {
    let namespaces: BTreeSet<&Namespace> = keys.clients().map(|(client, _)| &client.namespace).collect();
    let of = |principal| super::beside_clients(principal, namespaces.iter().copied());
    let users = keys.iter().map(|(principal, key)| user(key, &of(principal)));
    let users = users.chain(keys.clients().map(|(client, key)| user(key, &super::of_inference_client(client))));
    let users: Vec<String> = users.collect();
    format!("authorization {{\n  users: [\n{}\n  ]\n}}\n", users.join(",\n"))
}

/// The text of `nats.conf` of a broker without permissions: for tests.
#[must_use]
pub fn open_config(config: &ServerConfig) -> String {
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = writeln!(text, "server_name: {}", name(&config.server_name));
    let _ = writeln!(text, "listen: {}", quoted(&format!("{}:{}", config.host, config.port)));
    if let Some(port) = config.monitor_port {
        let _ = writeln!(text, "http: {}", quoted(&format!("{}:{port}", config.host)));
    }
    if let Some(file) = &config.pid_file {
        let _ = writeln!(text, "pid_file: {}", path(file));
    }
    let _ = writeln!(text, "max_payload: {}", config.max_payload);
    // An acknowledgement of a single server means that the disk has it; in a cluster the other copies vouch for it, and the disk is
    // written every two minutes.
    let sync = if config.cluster.is_none() { "  sync_interval: always\n" } else { "" };
    let (store, most) = (path(&config.store_dir), config.max_file_store.0);
    let _ = writeln!(text, "jetstream {{\n  store_dir: {store}\n  max_file_store: {most}\n{sync}}}");
    if let Some(tls) = &config.tls {
        let _ = writeln!(text, "tls {{\n{}}}", certificate(tls));
    }
    if let Some(cluster) = &config.cluster {
        text.push_str(&routes(config, cluster));
    }
    text
}

/// How long a handshake may take. The server's own two seconds are too few on a machine that starts everything at once.
const HANDSHAKE_S: u32 = 10;

fn certificate(tls: &ServerTls) -> String {
    format!("  cert_file: {}\n  key_file: {}\n  timeout: {HANDSHAKE_S}\n", path(&tls.certificate), path(&tls.key))
}

fn routes(config: &ServerConfig, cluster: &ClusterConfig) -> String {
    let with_credentials = |route: &String| match (&cluster.credentials, route.split_once("://")) {
        (Some(RouteCredentials { user, password }), Some((scheme, host))) => {
            quoted(&format!("{scheme}://{user}:{password}@{host}"))
        }
        _ => quoted(route),
    };
    let routes: Vec<String> = cluster.routes.iter().map(with_credentials).collect();
    let mut text = format!(
        "cluster {{\n  name: {}\n  listen: {}\n  routes: [{}]\n",
        quoted(&cluster.name),
        quoted(&format!("{}:{}", config.host, cluster.port)),
        routes.join(", ")
    );
    if let Some(RouteCredentials { user, password }) = &cluster.credentials {
        let (user, password) = (quoted(user), quoted(password));
        let _ = writeln!(text, "  authorization {{ user: {user}, password: {password}, timeout: {HANDSHAKE_S} }}");
    }
    if let Some(tls) = &cluster.tls {
        let _ =
            writeln!(text, "  tls {{\n{}  ca_file: {}\n  verify: true\n  }}", certificate(tls), path(&tls.authority));
        // Clients would be told addresses that the certificate does not name.
        text.push_str("  no_advertise: true\n");
    }
    text.push_str("}\n");
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

fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// A variable is one only without quotes.
fn name(text: &str) -> String {
    let is_variable = text
        .strip_prefix('$')
        .is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    if is_variable { text.to_owned() } else { quoted(text) }
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

    #[test]
    fn a_name_may_come_from_the_environment() {
        for (given, written) in [("a", "\"a\""), ("$POD_NAME", "$POD_NAME"), ("$", "\"$\""), ("$a}b", "\"$a}b\"")] {
            let config = ServerConfig { server_name: given.to_owned(), ..ServerConfig::default() };
            assert!(open_config(&config).starts_with(&format!("server_name: {written}\n")), "{given}");
        }
    }

    #[test]
    fn servers_of_a_cluster_know_each_other_by_certificate_and_password() {
        let tls =
            ServerTls { certificate: "/t/tls.crt".into(), key: "/t/tls.key".into(), authority: "/t/ca.crt".into() };
        let cluster = ClusterConfig {
            name: "slipway".to_owned(),
            port: 6222,
            routes: vec!["nats://n-0:6222".to_owned(), "nats://n-1:6222".to_owned()],
            credentials: Some(RouteCredentials { user: "route".to_owned(), password: "s3cret".to_owned() }),
            tls: Some(tls.clone()),
        };
        assert!(!format!("{cluster:?}").contains("s3cret"));
        let config = ServerConfig { tls: Some(tls), cluster: Some(cluster), ..ServerConfig::default() };
        let text = open_config(&config);
        for part in [
            "routes: [\"nats://route:s3cret@n-0:6222\", \"nats://route:s3cret@n-1:6222\"]",
            "authorization { user: \"route\", password: \"s3cret\"",
            "verify: true",
            "ca_file: \"/t/ca.crt\"",
            "no_advertise: true",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(text.matches("cert_file").count(), 2, "{text}");
        assert!(!text.contains("sync_interval"));
    }
}
