//! The configuration of the broker, with the keys and permissions of this version in it.

use super::{
    config::{BrokerConfig, Config},
    objects::{AUTHORIZATION, CA, CERTIFICATE, CONFIGURATION, Data, KEY, ROUTES_PASSWORD},
};
use slipway_bus::{
    keys::KeyRing,
    permissions::{self, ClusterConfig, RouteCredentials, ServerConfig, ServerTls},
};
use std::{collections::BTreeSet, path::Path};

/// What each server finds its name in.
const NAME: &str = "$POD_NAME";
/// Where clients are let in.
const PORT: u16 = 4222;
/// Where the other servers are.
const ROUTES_PORT: u16 = 6222;
/// Where health and figures are.
const MONITOR_PORT: u16 = 8222;
/// Where the certificate is mounted.
const TLS: &str = "/etc/nats-tls";
/// Where JetStream keeps its files.
const STORE: &str = "/data";
/// Where the process number is, for who has it read its configuration again.
const PID_FILE: &str = "/run/nats/nats.pid";
/// As whom servers talk to each other.
const ROUTES_USER: &str = "route";
/// Bytes of the password between servers.
const PASSWORD: usize = 24;

/// What the Secret of the configuration shall hold. The password between servers stays the one that is there.
pub(super) fn configuration(config: &Config, ring: &KeyRing, there: Option<&Data>) -> Data {
    let mut data: Data = [(AUTHORIZATION.to_owned(), permissions::authorization(ring))].into();
    if config.broker.servers > 0 {
        let kept = there.and_then(|data| data.get(ROUTES_PASSWORD)).filter(|password| password.len() >= PASSWORD);
        let password = kept.cloned().unwrap_or_else(new_password);
        let server = server(config, &password);
        data.insert(CONFIGURATION.to_owned(), permissions::server_config(&server, ring));
        data.insert(ROUTES_PASSWORD.to_owned(), password);
    }
    data
}

/// How many servers the configuration that is there was made for; none if it was made for somebody else's.
pub(super) fn servers(data: &Data) -> Option<u32> {
    let text = data.get(CONFIGURATION)?;
    let routes = text.lines().find_map(|line| line.trim().strip_prefix("routes: ["));
    Some(routes.map_or(1, |routes| u32::try_from(routes.matches("nats://").count()).unwrap_or(u32::MAX)))
}

/// Every name by which somebody connects to the broker.
pub(super) fn names(config: &Config) -> BTreeSet<String> {
    let BrokerConfig { service, headless, domain, .. } = &config.broker;
    let namespace = &config.namespace;
    let mut names: BTreeSet<String> = config.broker.names.iter().map(|name| in_one_spelling(name)).collect();
    for (host, alone) in [(service.clone(), true), (format!("*.{headless}"), false)] {
        names.extend(alone.then(|| host.clone()));
        names.extend([
            format!("{host}.{namespace}"),
            format!("{host}.{namespace}.svc"),
            format!("{host}.{namespace}.svc.{domain}"),
        ]);
    }
    // Through `kubectl port-forward`.
    names.extend(["localhost".to_owned(), "127.0.0.1".to_owned()]);
    names
}

/// Addresses are read back from certificates in one spelling.
fn in_one_spelling(name: &str) -> String {
    name.parse::<std::net::IpAddr>().map_or_else(|_| name.to_owned(), |address| address.to_string())
}

fn server(config: &Config, password: &str) -> ServerConfig {
    let broker = &config.broker;
    let tls = broker.tls.then(|| ServerTls {
        certificate: Path::new(TLS).join(CERTIFICATE),
        key: Path::new(TLS).join(KEY),
        authority: Path::new(TLS).join(CA),
    });
    let route = |n| format!("nats://{}-{n}.{}.{}.svc:{ROUTES_PORT}", broker.server, broker.headless, config.namespace);
    let cluster = (broker.servers > 1).then(|| ClusterConfig {
        name: config.name.clone(),
        port: ROUTES_PORT,
        routes: (0..broker.servers).map(route).collect(),
        credentials: Some(RouteCredentials { user: ROUTES_USER.to_owned(), password: password.to_owned() }),
        tls: tls.clone(),
    });
    ServerConfig {
        server_name: NAME.to_owned(),
        host: "0.0.0.0".to_owned(),
        port: PORT,
        store_dir: STORE.into(),
        max_file_store: broker.max_file_store,
        monitor_port: Some(MONITOR_PORT),
        pid_file: Some(PID_FILE.into()),
        tls,
        cluster,
        ..ServerConfig::default()
    }
}

fn new_password() -> String {
    let words: [u128; 2] = [uuid::Uuid::new_v4().as_u128(), uuid::Uuid::new_v4().as_u128()];
    format!("{:032x}{:032x}", words[0], words[1])
}
