//! `slipway topology`: streams, consumers and buckets of this version, made by the one identity that may.

use serde::{Deserialize, Serialize};
use slipway_bus::{
    Bus, BusConfig, Principal,
    topology::{TopologyConfig, VERSION, ensure},
};
use slipway_kernel::{Refusal, Span};
use slipway_runtime::{Common, Frame, ServiceConfig};

/// The settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    /// What every process has.
    common: Common,
    /// The broker, and the key `bootstrap`. Here it is waited for as long as it takes.
    bus: BusConfig,
    /// What is made.
    topology: TopologyConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            common: Common::default(),
            bus: BusConfig { connect_timeout: Span::default(), ..BusConfig::default() },
            topology: TopologyConfig::default(),
        }
    }
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "topology";
    const ABOUT: &'static str = "Makes the streams, consumers and buckets of this version at a broker.";

    fn common(&self) -> &Common {
        &self.common
    }

    fn check(&self) -> Vec<Refusal> {
        let replicas = self.topology.replicas;
        // What JetStream takes.
        let refusal = Refusal::new("topology.replicas", replicas, "1 to 5");
        if (1..=5).contains(&replicas) { Vec::new() } else { vec![refusal] }
    }
}

/// Makes what is missing and brings up to date what is there.
///
/// # Errors
/// When the broker refuses something, or has no leader for a minute.
pub(crate) async fn run(config: Config, frame: Frame) -> anyhow::Result<()> {
    let bus = Bus::connect(&config.bus, Principal::Bootstrap, &frame).await?;
    ensure(&bus, &config.topology).await?;
    tracing::info!(version = VERSION, replicas = config.topology.replicas, "the streams are there");
    bus.close().await;
    Ok(())
}
