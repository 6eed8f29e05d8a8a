//! Settings.

use serde::{Deserialize, Serialize};
use slipway_bus::BusConfig;
use slipway_kernel::{Refusal, Span};
use slipway_runtime::{Common, ServiceConfig};

/// Settings of observability.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// What every service has.
    pub common: Common,
    /// The broker.
    pub bus: BusConfig,
    /// `host:port` of each ingress replica's metrics. A host name stands for all its addresses, looked up each time: that of a headless
    /// Service is every replica.
    pub ingress_metrics: Vec<String>,
    /// How long the promised series may take to appear.
    pub proof_timeout: Span,
    /// The watch on the objectives.
    pub watch: WatchConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            common: Common::default(),
            bus: BusConfig::default(),
            ingress_metrics: vec!["127.0.0.1:9464".to_owned()],
            proof_timeout: Span::seconds(30),
            watch: WatchConfig::default(),
        }
    }
}

/// The watch on the objectives.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchConfig {
    /// How often the ingress replicas are asked.
    pub interval: Span,
    /// The short window: a degradation is seen this late at the earliest, a recovery too.
    pub short: Span,
    /// The long window: an objective must be missed in both.
    pub long: Span,
    /// Fewer requests than this in the short window tell nothing.
    pub min_requests: u32,
    /// How many times faster than sustainable the error budget must burn. 14.4 spends a 30-day budget in 50 hours.
    pub burn_rate: f64,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            interval: Span::seconds(2),
            short: Span::seconds(10),
            long: Span::seconds(60),
            min_requests: 20,
            burn_rate: 14.4,
        }
    }
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "observability";
    const ABOUT: &'static str = "Makes each deployment visible, proves that it is, and watches its objectives.";

    fn common(&self) -> &Common {
        &self.common
    }

    fn check(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        for address in &self.ingress_metrics {
            if address.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
                refusals.push(Refusal::new("ingress_metrics", address, "host:port"));
            }
        }
        let watch = &self.watch;
        if watch.interval < Span::millis(100) || watch.interval > watch.short {
            refusals.push(Refusal::new("watch.interval", watch.interval, "100ms to watch.short"));
        }
        if watch.long < watch.short || watch.long > Span::seconds(3_600) {
            refusals.push(Refusal::new("watch.long", watch.long, "watch.short to 1h"));
        }
        if !(1.0..=1_000.0).contains(&watch.burn_rate) {
            refusals.push(Refusal::new("watch.burn_rate", watch.burn_rate, "1 to 1000"));
        }
        refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_lists_the_settings_as_they_are() {
        slipway_runtime::check_readme::<Config>(include_str!("../README.md")).unwrap();
    }
}
