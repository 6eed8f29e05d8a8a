//! Several brokers that vouch for each other.

use super::{Process, frame};
use crate::{eventually, free_port};
use slipway_bus::{
    Bus, BusConfig, Principal,
    permissions::{ClusterConfig, ServerConfig, open_config},
    topology::{TopologyConfig, ensure},
};
use slipway_kernel::Span;
use std::time::Duration;
use tempfile::TempDir;

/// How long an election may take, with two shared cores under load.
const ELECTION: Duration = Duration::from_secs(60);

/// A cluster without permissions.
#[derive(Debug)]
pub struct NatsCluster {
    _dir: TempDir,
    servers: Vec<(ServerConfig, Process)>,
}

impl NatsCluster {
    /// Starts `size` brokers and makes the topology with as many copies.
    pub async fn start(size: usize) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let ports: Vec<(u16, u16, u16)> = (0..size).map(|_| (free_port(), free_port(), free_port())).collect();
        let routes: Vec<String> = ports.iter().map(|(_, port, _)| format!("nats://127.0.0.1:{port}")).collect();
        let started = ports.iter().enumerate().map(|(n, (port, cluster, monitor))| {
            let config = ServerConfig {
                server_name: format!("n{n}"),
                port: *port,
                monitor_port: Some(*monitor),
                store_dir: dir.path().join(format!("n{n}")),
                cluster: Some(ClusterConfig {
                    name: "slipway".to_owned(),
                    port: *cluster,
                    routes: routes.clone(),
                    credentials: None,
                    tls: None,
                }),
                ..ServerConfig::default()
            };
            let path = dir.path().to_owned();
            async move {
                let process =
                    Process::start(&path, &config.server_name, &open_config(&config), config.monitor_port).await;
                (config, process.expect("a broker of the cluster starts"))
            }
        });
        let servers = futures::future::join_all(started).await;
        let cluster = Self { _dir: dir, servers };
        cluster.ensure(size).await;
        cluster
    }

    /// Makes the topology with `replicas` copies.
    pub async fn ensure(&self, replicas: usize) {
        let bus = self.bus(0, Principal::Bootstrap).await;
        ensure(&bus, &TopologyConfig { replicas, ..TopologyConfig::default() }).await.expect("the topology is made");
        bus.close().await;
    }

    /// Connects to one of the brokers first, and to any of them afterwards.
    pub async fn bus(&self, n: usize, principal: Principal) -> Bus {
        let mut urls: Vec<String> =
            self.servers.iter().map(|(config, _)| format!("nats://127.0.0.1:{}", config.port)).collect();
        urls.rotate_left(n);
        let config = BusConfig { url: urls.join(","), connect_timeout: Span::seconds(30), ..BusConfig::default() };
        Bus::connect(&config, principal, &frame(principal)).await.expect("the cluster lets it in")
    }

    /// The broker that leads a stream.
    pub async fn leader_of(&self, stream: &str) -> usize {
        eventually(ELECTION, || async {
            let client = async_nats::connect(self.urls()).await.ok()?;
            let info = async_nats::jetstream::new(client).get_stream(stream).await.ok()?;
            let leader = info.cached_info().cluster.as_ref()?.leader.clone()?;
            leader.strip_prefix('n')?.parse().ok()
        })
        .await
    }

    fn urls(&self) -> Vec<String> {
        self.servers.iter().map(|(config, _)| format!("nats://127.0.0.1:{}", config.port)).collect()
    }

    /// Ends one as a power cut would.
    pub async fn kill9(&mut self, n: usize) {
        self.servers[n].1.kill9().await;
    }

    /// Starts one again.
    pub async fn restart(&mut self, n: usize) {
        self.servers[n].1.start_again().await;
    }
}
