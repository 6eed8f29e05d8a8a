//! What infrastructure costs, and where it is to be had: a table with a date, given as data.

use super::clouds::{Cloud, is_price};
use super::demands::Demands;
use serde::{Deserialize, Serialize};
use slipway_kernel::spec::Target;

/// The price table. The one that is built in holds list prices; an installation puts its own in their place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Prices {
    /// The day the figures are of (`2025-10-01`).
    #[serde(rename = "as_of")]
    pub as_of: String,
    /// The currency of every figure and of `spec.infrastructure.budgetPerHour`.
    pub currency: String,
    /// This machine.
    pub local: UnitPrices,
    /// A cluster that is there.
    pub kubernetes: UnitPrices,
    /// Own servers.
    pub bare_metal: UnitPrices,
    /// Amazon.
    pub aws: Cloud,
    /// Microsoft.
    pub azure: Cloud,
    /// Google.
    pub gcp: Cloud,
}

/// Prices an hour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitPrices {
    /// One core.
    pub core: f64,
    /// One gibibyte of memory.
    pub memory_gib: f64,
    /// One GPU.
    pub gpu: f64,
    /// The control plane, whatever runs on it.
    pub control_plane: f64,
}

impl UnitPrices {
    /// What `workers` workers cost an hour.
    #[must_use]
    pub fn per_hour(&self, demands: &Demands, workers: u32) -> f64 {
        self.core * demands.cores(workers)
            + self.memory_gib * demands.memory_gib(workers)
            + self.gpu * f64::from(demands.gpus(workers))
            + self.control_plane
    }

    fn is_sane(&self) -> bool {
        [self.core, self.memory_gib, self.gpu, self.control_plane].into_iter().all(is_price)
    }
}

impl Prices {
    /// The prices of a place of one's own.
    #[must_use]
    pub const fn own(&self, target: Target) -> UnitPrices {
        match target {
            Target::Kubernetes => self.kubernetes,
            Target::BareMetal => self.bare_metal,
            _ => self.local,
        }
    }

    /// What is rented of a cloud; `None` of a place of one's own.
    #[must_use]
    pub const fn cloud(&self, target: Target) -> Option<&Cloud> {
        match target {
            Target::Aws => Some(&self.aws),
            Target::Azure => Some(&self.azure),
            Target::Gcp => Some(&self.gcp),
            _ => None,
        }
    }

    /// What makes no sense in the table, by path: a price that is no amount (negative, infinite, beyond 100,000 an hour), a name that is
    /// there twice or means nothing.
    #[must_use]
    pub fn insane(&self) -> Vec<String> {
        let own = [("local", self.local), ("kubernetes", self.kubernetes), ("bare-metal", self.bare_metal)];
        let own = own.into_iter().filter(|(_, prices)| !prices.is_sane()).map(|(name, _)| name.to_owned());
        let clouds = [("aws", &self.aws), ("azure", &self.azure), ("gcp", &self.gcp)];
        own.chain(clouds.into_iter().flat_map(|(name, cloud)| cloud.insane(name))).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::demands::tests::modest;
    use slipway_kernel::{ByteSize, CpuMillis, spec::Gpu};

    /// A table with round figures.
    pub(crate) fn round() -> Prices {
        let cloud = crate::domain::clouds::tests::round();
        let own = UnitPrices { core: 0.01, memory_gib: 0.001, gpu: 0.5, control_plane: 0.0 };
        let free = UnitPrices { core: 0.0, memory_gib: 0.0, gpu: 0.0, control_plane: 0.0 };
        Prices {
            as_of: "2026-01-01".to_owned(),
            currency: "USD".to_owned(),
            local: free,
            kubernetes: own,
            bare_metal: own,
            aws: cloud.clone(),
            azure: cloud.clone(),
            gcp: cloud,
        }
    }

    #[test]
    fn an_hour_costs_its_cores_memory_gpus_and_control_plane() {
        let demands = Demands { cpu: CpuMillis(2_000), memory: ByteSize(4 << 30), gpu: Gpu::Required, ..modest() };
        let prices = UnitPrices { core: 0.03, memory_gib: 0.004, gpu: 1.0, control_plane: 0.1 };
        let cost = prices.per_hour(&demands, 2);
        assert!((cost - (0.03 * 4.0 + 0.004 * 8.0 + 2.0 + 0.1)).abs() < 1e-9, "{cost}");
    }

    #[test]
    fn a_price_that_is_no_amount_is_named() {
        let mut prices = round();
        prices.gcp.memory_gib = -1.0;
        prices.bare_metal.core = f64::NAN;
        assert_eq!(prices.insane(), ["bare-metal", "gcp.memory_gib"]);
        assert!(round().insane().is_empty());
    }
}
