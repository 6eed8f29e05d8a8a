//! A real broker.

mod client;
mod cluster;
mod process;
mod raw;

pub use client::{Heard, ModelClient};
pub use cluster::NatsCluster;
pub use process::nats_binary;
pub use raw::{Appended, Floor};

use crate::free_port;
use process::Process;
use slipway_bus::{
    Bus, BusConfig, Principal,
    keys::{KeyRing, make_all, make_client},
    permissions::{ServerConfig, open_config, server_config},
    topology::{TopologyConfig, ensure},
};
use slipway_kernel::{Service, Span};
use slipway_runtime::Frame;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A frame for a test, named after a principal.
#[must_use]
pub fn frame(principal: Principal) -> Frame {
    Frame::for_test(principal.name())
}

/// One broker on free ports, with its files in a folder that goes with it.
#[derive(Debug)]
pub struct NatsServer {
    dir: TempDir,
    keys: Option<KeyRing>,
    config: ServerConfig,
    process: Process,
}

impl NatsServer {
    /// Without permissions and without streams.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Without permissions, with the topology.
    pub async fn ready() -> Self {
        let server = Self::start_with(None).await;
        server.ensure().await;
        server
    }

    /// With generated keys and permissions, and the topology.
    pub async fn secured() -> Self {
        Self::secured_for(&[]).await
    }

    /// The same, with clients of models besides, each `<namespace>.<name>`.
    pub async fn secured_for(clients: &[&str]) -> Self {
        let server = Self::start_with(Some(clients)).await;
        server.ensure().await;
        server
    }

    /// With the keys of all principals and of these clients, or without permissions.
    async fn start_with(clients: Option<&[&str]>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let keys = clients.map(|clients| {
            let folder = dir.path().join("keys");
            for client in clients {
                make_client(&folder, &client.parse().expect("a client's name")).expect("a key");
            }
            make_all(&folder).expect("keys")
        });
        // A port that was free may be taken by another test meanwhile.
        for _ in 0..5 {
            let config = ServerConfig {
                port: free_port(),
                monitor_port: Some(free_port()),
                store_dir: dir.path().join("store"),
                ..ServerConfig::default()
            };
            let text = match &keys {
                Some(keys) => server_config(&config, keys),
                None => open_config(&config),
            };
            if let Some(process) = Process::start(dir.path(), "nats", &text, config.monitor_port).await {
                return Self { dir, keys, config, process };
            }
        }
        panic!("the broker did not start five times; see its log in {}", dir.path().display());
    }

    async fn ensure(&self) {
        let bus = self.bus(Principal::Bootstrap).await;
        let clients = self.keys.iter().flat_map(KeyRing::clients);
        let namespaces = clients.map(|(client, _)| client.namespace.clone()).collect();
        ensure(&bus, &TopologyConfig { namespaces, ..TopologyConfig::default() }).await.expect("the topology is made");
        bus.close().await;
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.config.port)
    }

    /// Where its monitor is.
    #[must_use]
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.config.monitor_port.unwrap_or_default())
    }

    /// How to connect as somebody.
    #[must_use]
    pub fn config(&self, principal: Principal) -> BusConfig {
        BusConfig {
            url: self.url(),
            nkey_seed_file: self.seed_file(principal),
            connect_timeout: Span::seconds(10),
            ..BusConfig::default()
        }
    }

    /// The file with somebody's seed, if the broker has permissions.
    #[must_use]
    pub fn seed_file(&self, principal: Principal) -> Option<PathBuf> {
        self.keys.as_ref().map(|keys| keys.seed_file(principal))
    }

    /// Connects as somebody, with a frame made for it.
    pub async fn bus(&self, principal: Principal) -> Bus {
        self.bus_in(principal, &frame(principal)).await
    }

    /// Connects as a service.
    pub async fn bus_as(&self, service: Service) -> Bus {
        self.bus(Principal::Service(service)).await
    }

    /// Connects as somebody in a frame.
    pub async fn bus_in(&self, principal: Principal, frame: &Frame) -> Bus {
        Bus::connect(&self.config(principal), principal, frame).await.expect("the broker lets it in")
    }

    /// Puts an object into a bucket of a user's own, which is made first. Only where there are no permissions: no principal of
    /// Slipway has such buckets.
    pub async fn put_object(&self, bucket: &str, name: &str, content: &[u8]) {
        use async_nats::jetstream::{self, object_store::Config};
        let client = async_nats::connect(self.url()).await.expect("the broker lets anybody in");
        let config = Config { bucket: bucket.to_owned(), ..Config::default() };
        let store = jetstream::new(client).create_object_store(config).await.expect("a bucket");
        store.put(name, &mut &*content).await.expect("an object");
    }

    /// The folder with configuration, keys, log and `store`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Ends it as an operator would, and waits.
    pub async fn stop(&mut self) {
        self.process.stop().await;
    }

    /// Ends it as a power cut would.
    pub async fn kill9(&mut self) {
        self.process.kill9().await;
    }

    /// Starts it again on the same ports with the same files, after ending it if it runs.
    pub async fn restart(&mut self) {
        self.process.stop().await;
        self.process.start_again().await;
    }
}
