//! Settings.

use serde::{Deserialize, Serialize};
use slipway_bus::BusConfig;
use slipway_kernel::{Refusal, Span};
use slipway_loadtest::Target;
use slipway_runtime::{Common, ServiceConfig};

/// Settings of the validator.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// What every service has.
    pub common: Common,
    /// The broker.
    pub bus: BusConfig,
    /// The door that is measured.
    pub ingress: IngressConfig,
    /// What a proof may use and how long it waits.
    pub bounds: Bounds,
}

/// The door that is measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct IngressConfig {
    /// Address of the public HTTP door.
    pub address: String,
    /// Address of the admin endpoints of the process the ingress runs in, whose `/metrics` tell how the live revision does; a host name
    /// stands for all its addresses, each a replica. Unset: the route reports of the replicas are used, which are coarser.
    pub admin: Option<String>,
}

impl Default for IngressConfig {
    fn default() -> Self {
        Self { address: "http://127.0.0.1:8080".to_owned(), admin: None }
    }
}

/// What a proof may use and how long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bounds {
    /// The most requests under way. A connection each: 512 fill the queues of several workers and not the machine.
    pub max_in_flight: usize,
    /// How long a revision is warmed up before anything is measured: caches, connections, the first batches.
    pub warm_up: Span,
    /// How many repeats of the load are added while its figures are unclear.
    pub extra_repeats: u32,
    /// Share of the machine that others may use before a miss is blamed on them: a quarter of two cores is half a core.
    pub foreign_load: f64,
    /// How long the overload lasts. Short, because the machine is shared with the live revision.
    pub overload: Span,
    /// The highest rate of the overload, in requests a second.
    pub overload_rate: u32,
    /// How long a killed worker may take to be replaced.
    pub worker_back: Span,
    /// How long the sinks may take to show all rows of the run.
    pub sinks_within: Span,
    /// The most golden rows that are sent; of a longer file every n-th.
    pub golden_rows: usize,
    /// The most requests of one run that are looked for in the sinks: four pages of the sink-writer's answer.
    pub followed_requests: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            max_in_flight: 512,
            warm_up: Span::millis(300),
            extra_repeats: 4,
            foreign_load: 0.25,
            overload: Span::millis(500),
            overload_rate: 5_000,
            worker_back: Span::seconds(30),
            sinks_within: Span::seconds(15),
            golden_rows: 2_000,
            followed_requests: 20_000,
        }
    }
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "validator";
    const ABOUT: &'static str = "Joins the four and proves a revision before it gets traffic.";

    fn common(&self) -> &Common {
        &self.common
    }

    fn check(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let mut address = |path: &str, value: &str| {
            if value.parse::<Target>().is_err() {
                refusals.push(Refusal::new(path, value, "http://host:port"));
            }
        };
        address("ingress.address", &self.ingress.address);
        if let Some(admin) = &self.ingress.admin {
            address("ingress.admin", admin);
        }
        self.bounds.check(&mut refusals);
        refusals
    }
}

impl Bounds {
    fn check(&self, refusals: &mut Vec<Refusal>) {
        let mut unless = |holds: bool, path: &str, value: String, allowed: &str| {
            if !holds {
                refusals.push(Refusal::new(format!("bounds.{path}"), value, allowed));
            }
        };
        let within = |span: Span, least: Span, most: Span| (least..=most).contains(&span);
        unless((1..=8_192).contains(&self.max_in_flight), "max_in_flight", self.max_in_flight.to_string(), "1 to 8192");
        unless(
            within(self.warm_up, Span::millis(1), Span::seconds(60)),
            "warm_up",
            self.warm_up.to_string(),
            "1ms to 60s",
        );
        unless(self.extra_repeats <= 20, "extra_repeats", self.extra_repeats.to_string(), "0 to 20");
        unless((0.0..=1.0).contains(&self.foreign_load), "foreign_load", self.foreign_load.to_string(), "0 to 1");
        unless(
            within(self.overload, Span::millis(50), Span::seconds(10)),
            "overload",
            self.overload.to_string(),
            "50ms to 10s",
        );
        unless(
            (1..=100_000).contains(&self.overload_rate),
            "overload_rate",
            self.overload_rate.to_string(),
            "1 to 100000",
        );
        for (path, span) in [("worker_back", self.worker_back), ("sinks_within", self.sinks_within)] {
            unless(within(span, Span::millis(100), Span::seconds(600)), path, span.to_string(), "100ms to 10m");
        }
        unless((1..=100_000).contains(&self.golden_rows), "golden_rows", self.golden_rows.to_string(), "1 to 100000");
        unless(
            (1..=1_000_000).contains(&self.followed_requests),
            "followed_requests",
            self.followed_requests.to_string(),
            "1 to 1000000",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed() {
        assert_eq!(Config::default().check(), []);
    }

    #[test]
    fn every_bad_value_is_reported_at_once() {
        let mut config = Config::default();
        config.ingress.address = "https://nowhere".into();
        config.ingress.admin = Some("nowhere".into());
        config.bounds = Bounds {
            max_in_flight: 0,
            warm_up: Span::seconds(100),
            extra_repeats: 100,
            foreign_load: 2.0,
            overload: Span::seconds(100),
            overload_rate: 0,
            worker_back: Span::millis(1),
            sinks_within: Span::seconds(10_000),
            golden_rows: 0,
            followed_requests: 0,
        };
        assert_eq!(config.check().len(), 12);
    }

    #[test]
    fn the_readme_lists_every_key() {
        slipway_runtime::check_readme::<Config>(include_str!("../README.md")).unwrap();
    }
}
