//! What the three clouds have in common.

use crate::domain::{
    choose::offer::{Gpus, Grade, Offer},
    demands::{ArtifactPlace, Demands},
    surroundings::Surroundings,
};
use slipway_kernel::spec::Target;

/// Regimes that all three have attestations for, region by region; what runs there must still be set up accordingly.
const ATTESTED: [&str; 5] = ["gdpr", "hipaa", "pci-dss", "iso-27001", "soc-2"];

/// What sets one cloud apart.
pub(super) struct Cloud {
    pub(super) target: Target,
    pub(super) regions: &'static [&'static str],
    /// Memory of the largest GPU on offer, in bytes.
    pub(super) gpu_bytes: u64,
    pub(super) effort: Grade,
}

pub(super) fn offer(cloud: &Cloud, demands: &Demands, surroundings: &Surroundings) -> Offer {
    let prices = surroundings.prices.of(cloud.target);
    let own = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    Offer {
        target: cloud.target,
        regions: own(cloud.regions),
        compliance: own(&ATTESTED),
        attest: "choose another target",
        capacity: None,
        gpus: Gpus::Rented(cloud.gpu_bytes),
        latency: surroundings.cloud_latency,
        cost_per_hour: prices.per_hour(demands, demands.workers),
        cost_at_most: prices.per_hour(demands, demands.max_workers),
        elasticity: Grade::new(1.0, "nodes are rented as the load asks for them"),
        effort: cloud.effort,
        locality: match demands.artifact {
            ArtifactPlace::File | ArtifactPlace::Bus => Grade::new(0.3, "artifact and results cross the internet"),
            ArtifactPlace::Web => Grade::new(0.7, "the artifact is fetched over the vendor's network"),
        },
        access: surroundings.access(cloud.target),
    }
}
