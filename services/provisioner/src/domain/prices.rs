//! What infrastructure costs: a table with a date, given as data.

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
    /// Amazon.
    pub aws: UnitPrices,
    /// Microsoft.
    pub azure: UnitPrices,
    /// Google.
    pub gcp: UnitPrices,
    /// Own servers.
    pub bare_metal: UnitPrices,
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

const GIBIBYTE: f64 = 1_073_741_824.0;

impl UnitPrices {
    /// What `workers` workers cost an hour.
    #[must_use]
    pub fn per_hour(&self, demands: &Demands, workers: u32) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a price needs no more than 52 bits of bytes")]
        let gibibytes = demands.memory_bytes(workers) as f64 / GIBIBYTE;
        self.core * demands.cores(workers)
            + self.memory_gib * gibibytes
            + self.gpu * f64::from(demands.gpus(workers))
            + self.control_plane
    }

    fn is_sane(&self) -> bool {
        [self.core, self.memory_gib, self.gpu, self.control_plane]
            .iter()
            .all(|price| price.is_finite() && (0.0..=100_000.0).contains(price))
    }
}

impl Prices {
    /// The prices of a target.
    #[must_use]
    pub const fn of(&self, target: Target) -> UnitPrices {
        match target {
            Target::Kubernetes => self.kubernetes,
            Target::Aws => self.aws,
            Target::Azure => self.azure,
            Target::Gcp => self.gcp,
            Target::BareMetal => self.bare_metal,
            Target::Local | Target::Auto => self.local,
        }
    }

    /// The names of the parts that hold a price which is no amount (negative, infinite, beyond 100,000 an hour).
    #[must_use]
    pub fn insane(&self) -> Vec<&'static str> {
        [
            ("local", self.local),
            ("kubernetes", self.kubernetes),
            ("aws", self.aws),
            ("azure", self.azure),
            ("gcp", self.gcp),
            ("bare-metal", self.bare_metal),
        ]
        .into_iter()
        .filter_map(|(name, prices)| (!prices.is_sane()).then_some(name))
        .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::demands::tests::modest;
    use slipway_kernel::{ByteSize, CpuMillis, spec::Gpu};

    /// A table with round figures.
    pub(crate) fn round() -> Prices {
        let cloud = UnitPrices { core: 0.03, memory_gib: 0.004, gpu: 1.0, control_plane: 0.1 };
        let own = UnitPrices { core: 0.01, memory_gib: 0.001, gpu: 0.5, control_plane: 0.0 };
        let free = UnitPrices { core: 0.0, memory_gib: 0.0, gpu: 0.0, control_plane: 0.0 };
        Prices {
            as_of: "2026-01-01".to_owned(),
            currency: "USD".to_owned(),
            local: free,
            kubernetes: own,
            aws: cloud,
            azure: cloud,
            gcp: cloud,
            bare_metal: own,
        }
    }

    #[test]
    fn an_hour_costs_its_cores_memory_gpus_and_control_plane() {
        let demands = Demands { cpu: CpuMillis(2_000), memory: ByteSize(4 << 30), gpu: Gpu::Required, ..modest() };
        let cost = round().aws.per_hour(&demands, 2);
        assert!((cost - (0.03 * 4.0 + 0.004 * 8.0 + 2.0 + 0.1)).abs() < 1e-9, "{cost}");
    }

    #[test]
    fn a_price_that_is_no_amount_is_named() {
        let mut prices = round();
        prices.gcp.gpu = -1.0;
        prices.bare_metal.core = f64::NAN;
        assert_eq!(prices.insane(), ["gcp", "bare-metal"]);
        assert!(round().insane().is_empty());
    }
}
