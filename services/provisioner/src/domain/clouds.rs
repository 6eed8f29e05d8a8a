//! What a cloud has to rent: regions, types of GPU, and how much of it the account may have. Data of the price table.

use super::demands::Demands;
use serde::{Deserialize, Serialize};
use slipway_kernel::{ByteSize, Span};

/// A cloud.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cloud {
    /// One core an hour.
    pub core: f64,
    /// One gibibyte of memory an hour.
    pub memory_gib: f64,
    /// The control plane an hour, whatever runs on it and wherever it is.
    pub control_plane: f64,
    /// What the account may have.
    #[serde(default)]
    pub quota: Quota,
    /// The GPUs that can be rented.
    #[serde(default)]
    pub gpus: Vec<GpuType>,
    /// The regions that may be used. None: the cloud is not offered.
    #[serde(default)]
    pub regions: Vec<Region>,
}

/// A type of GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuType {
    /// Its name.
    pub name: String,
    /// Its memory, as its driver reports it.
    pub memory: ByteSize,
    /// One of them an hour, beside the cores and the memory of its machine.
    pub price: f64,
}

/// What the account may have; what is absent is not known and excludes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Cores.
    pub cores: Option<f64>,
    /// GPUs.
    pub gpus: Option<u32>,
}

/// A region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// The vendor's name of it.
    pub name: String,
    /// Where data in it is, in the words of `spec.infrastructure.residency`.
    pub residency: Vec<String>,
    /// What it complies with, in the words of `spec.infrastructure.compliance`.
    #[serde(default)]
    pub compliance: Vec<String>,
    /// How its prices stand to those of the cloud, but for the control plane's.
    #[serde(default = "one")]
    pub price_factor: f64,
    /// What the network between it and the clients costs; absent: `cloud.latency` of the configuration.
    #[serde(default)]
    pub latency: Option<Span>,
    /// The types of GPU that it has; absent: all of the cloud's.
    #[serde(default)]
    pub gpus: Option<Vec<String>>,
}

const fn one() -> f64 {
    1.0
}

impl Region {
    /// Whether data in it is where `residency` wants it; nowhere wanted is everywhere.
    #[must_use]
    pub fn holds(&self, residency: &[String]) -> bool {
        residency.is_empty() || residency.iter().any(|word| self.residency.contains(word))
    }

    fn lacks(&self, compliance: &[String]) -> usize {
        compliance.iter().filter(|regime| !self.compliance.contains(regime)).count()
    }
}

impl Cloud {
    /// The region that misses the fewest demands, of equals what is not the law; of those the cheapest, and the first. So a stricter demand
    /// never leads to a region that is excluded for less.
    #[must_use]
    pub fn region(&self, demands: &Demands, latency: Span) -> Option<&Region> {
        self.regions.iter().min_by(|a, b| {
            let misses = |region| self.misses(region, demands, latency);
            // Not by the factor alone: a region may have none but dear GPUs.
            let cost = |region| self.per_hour(region, demands, demands.workers);
            misses(a).cmp(&misses(b)).then(cost(a).total_cmp(&cost(b)))
        })
    }

    /// How many regions fulfil everything that depends on the region.
    #[must_use]
    pub fn suitable(&self, demands: &Demands, latency: Span) -> usize {
        self.regions.iter().filter(|region| self.misses(region, demands, latency).0 == 0).count()
    }

    /// How many kinds of demands the region misses, and which; the law first.
    fn misses(&self, region: &Region, demands: &Demands, latency: Span) -> (usize, [usize; 5]) {
        let too_small = || self.gpu(region, demands).is_none_or(|gpu| gpu.memory < demands.gpu_memory);
        let too_dear = |budget| self.per_hour(region, demands, demands.workers) > budget;
        let too_far = |budget| region.latency.unwrap_or(latency) > budget;
        let missed = [
            usize::from(!region.holds(&demands.residency)),
            region.lacks(&demands.compliance),
            usize::from(demands.gpus(1) > 0 && too_small()),
            usize::from(demands.latency_budget.is_some_and(too_far)),
            usize::from(demands.budget_per_hour.is_some_and(too_dear)),
        ];
        (missed.iter().filter(|missed| **missed > 0).count(), missed)
    }

    /// The types of GPU that a region has.
    pub fn gpus_in<'a, 'b>(&'a self, region: &'b Region) -> impl Iterator<Item = &'a GpuType> + use<'a, 'b> {
        let has = move |gpu: &&GpuType| region.gpus.as_ref().is_none_or(|names| names.contains(&gpu.name));
        self.gpus.iter().filter(has)
    }

    /// The cheapest type of GPU in the region that is large enough for a worker; where none is, the largest.
    #[must_use]
    pub fn gpu(&self, region: &Region, demands: &Demands) -> Option<&GpuType> {
        let fits = self.gpus_in(region).filter(|gpu| gpu.memory >= demands.gpu_memory);
        fits.min_by(|a, b| a.price.total_cmp(&b.price)).or_else(|| self.gpus_in(region).max_by_key(|gpu| gpu.memory))
    }

    /// What `workers` workers cost an hour in the region.
    #[must_use]
    pub fn per_hour(&self, region: &Region, demands: &Demands, workers: u32) -> f64 {
        let gpu = self.gpu(region, demands).map_or(0.0, |gpu| gpu.price);
        let used = self.core * demands.cores(workers)
            + self.memory_gib * demands.memory_gib(workers)
            + gpu * f64::from(demands.gpus(workers));
        used * region.price_factor + self.control_plane
    }

    /// What makes no sense in it, by path.
    #[must_use]
    pub fn insane(&self, name: &str) -> Vec<String> {
        let mut paths = Vec::new();
        let mut refuse_unless = |sane: bool, path: String| {
            if !sane {
                paths.push(format!("{name}.{path}"));
            }
        };
        for (part, price) in
            [("core", self.core), ("memory_gib", self.memory_gib), ("control_plane", self.control_plane)]
        {
            refuse_unless(is_price(price), part.to_owned());
        }
        refuse_unless(self.quota.cores.is_none_or(|cores| cores >= 0.0), "quota.cores".to_owned());
        for (place, gpu) in self.gpus.iter().enumerate() {
            refuse_unless(is_price(gpu.price), format!("gpus[{place}].price"));
            let earlier = self.gpus.iter().take(place).any(|other| other.name == gpu.name);
            refuse_unless(!gpu.name.is_empty() && !earlier, format!("gpus[{place}].name"));
        }
        for (place, region) in self.regions.iter().enumerate() {
            let earlier = self.regions.iter().take(place).any(|other| other.name == region.name);
            refuse_unless(!region.name.is_empty() && !earlier, format!("regions[{place}].name"));
            // Beyond it a figure is in the wrong unit.
            refuse_unless((0.01..=100.0).contains(&region.price_factor), format!("regions[{place}].price_factor"));
            let known = |name: &String| self.gpus.iter().any(|gpu| gpu.name == *name);
            refuse_unless(region.gpus.iter().flatten().all(known), format!("regions[{place}].gpus"));
        }
        paths
    }
}

/// Whether it is an amount an hour.
pub(super) fn is_price(price: f64) -> bool {
    price.is_finite() && (0.0..=100_000.0).contains(&price)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::demands::tests::modest;
    use slipway_kernel::spec::Gpu;

    pub(crate) fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    /// A cloud with round figures: a cheap region in the US, one in Europe, and one in Europe that complies with more and has small GPUs only.
    pub(crate) fn round() -> Cloud {
        let region = |name: &str, residency: &[&str], compliance: &[&str], price_factor| Region {
            name: name.to_owned(),
            residency: words(residency),
            compliance: words(compliance),
            price_factor,
            latency: None,
            gpus: None,
        };
        let gpu = |name: &str, gibibytes: u64, price| GpuType {
            name: name.to_owned(),
            memory: ByteSize(gibibytes << 30),
            price,
        };
        Cloud {
            core: 0.03,
            memory_gib: 0.004,
            control_plane: 0.1,
            quota: Quota::default(),
            gpus: vec![gpu("large", 80, 4.0), gpu("small", 16, 1.0), gpu("dear", 16, 2.0)],
            regions: vec![
                region("us-1", &["us"], &["hipaa", "soc-2"], 1.0),
                region("eu-1", &["eu"], &["gdpr"], 1.25),
                Region { gpus: Some(words(&["small"])), ..region("eu-2", &["eu", "de"], &["gdpr", "iso-27001"], 1.5) },
            ],
        }
    }

    fn region(demands: &Demands) -> String {
        round().region(demands, Span::millis(25)).unwrap().name.clone()
    }

    #[test]
    fn of_the_regions_that_fulfil_the_demands_the_cheapest_is_taken() {
        assert_eq!(region(&modest()), "us-1");
        assert_eq!(region(&Demands { residency: words(&["eu"]), ..modest() }), "eu-1");
        assert_eq!(region(&Demands { residency: words(&["de"]), ..modest() }), "eu-2");
        assert_eq!(region(&Demands { compliance: words(&["gdpr", "iso-27001"]), ..modest() }), "eu-2");
        let europe = Demands { residency: words(&["eu"]), ..modest() };
        assert_eq!(round().suitable(&europe, Span::millis(25)), 2);
        let near = Demands { latency_budget: Some(Span::millis(10)), ..europe };
        assert_eq!(round().suitable(&near, Span::millis(25)), 0);
    }

    #[test]
    fn a_region_that_is_cheap_but_for_its_gpus_is_not_the_cheapest_for_who_wants_one() {
        let mut cloud = round();
        cloud.regions[1].gpus = Some(words(&["large"]));
        let of = |demands: &Demands| cloud.region(demands, Span::millis(25)).unwrap().name.as_str();
        let europe = Demands { residency: words(&["eu"]), ..modest() };
        assert_eq!([of(&europe), of(&Demands { gpu: Gpu::Required, ..europe.clone() })], ["eu-1", "eu-2"]);
    }

    #[test]
    fn where_none_fulfils_all_the_fewest_are_missed_and_of_those_not_the_law() {
        let demands = Demands { residency: words(&["eu"]), compliance: words(&["hipaa"]), ..modest() };
        assert_eq!(region(&demands), "eu-1");
        let large =
            Demands { residency: words(&["de"]), gpu: Gpu::Required, gpu_memory: ByteSize(40 << 30), ..modest() };
        assert_eq!(region(&large), "eu-2");
        assert_eq!(region(&Demands { compliance: words(&["hipaa"]), ..large }), "us-1", "one thing, not two");
    }

    #[test]
    fn a_gpu_is_the_cheapest_that_is_large_enough() {
        let (cloud, demands) = (round(), |gibibytes: u64| Demands {
            gpu: Gpu::Required,
            gpu_memory: ByteSize(gibibytes << 30),
            ..modest()
        });
        let in_region = |index: usize, gibibytes| {
            cloud.gpu(&cloud.regions[index], &demands(gibibytes)).map(|gpu| gpu.name.as_str())
        };
        assert_eq!(
            [in_region(0, 0), in_region(0, 16), in_region(0, 20)],
            [Some("small"), Some("small"), Some("large")]
        );
        assert_eq!(in_region(2, 20), Some("small"), "the largest there is");
        assert_eq!(region(&Demands { residency: words(&["eu"]), ..demands(20) }), "eu-1");
    }

    #[test]
    fn a_region_makes_everything_dearer_but_the_control_plane() {
        let (cloud, demands) = (round(), Demands { gpu: Gpu::Required, ..modest() });
        let cost = cloud.per_hour(&cloud.regions[1], &demands, 2);
        assert!((cost - (1.25 * (0.03 * 2.0 + 0.004 + 2.0) + 0.1)).abs() < 1e-9, "{cost}");
    }

    #[test]
    fn what_makes_no_sense_is_named_by_its_path() {
        let mut cloud = round();
        assert!(cloud.insane("aws").is_empty());
        cloud.core = f64::NAN;
        cloud.quota.cores = Some(-1.0);
        cloud.gpus[1].price = -1.0;
        cloud.gpus[2].name = "large".to_owned();
        cloud.regions[0].price_factor = 0.0;
        cloud.regions[1].name = String::new();
        cloud.regions[2].gpus = Some(words(&["unheard-of"]));
        let expected = [
            "core",
            "quota.cores",
            "gpus[1].price",
            "gpus[2].name",
            "regions[0].price_factor",
            "regions[1].name",
            "regions[2].gpus",
        ];
        assert_eq!(cloud.insane("aws"), expected.map(|path| format!("aws.{path}")));
    }
}
