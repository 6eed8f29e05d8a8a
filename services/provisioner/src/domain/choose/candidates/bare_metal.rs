//! Own servers, set up with a container runtime and kubeadm.

use super::ATTEST_OWN;
use crate::domain::{
    choose::offer::{Gpus, Grade, Offer, Site},
    clouds::Quota,
    demands::{ArtifactPlace, Demands},
    surroundings::Surroundings,
};
use slipway_kernel::spec::Target;

/// Memory of the GPUs that own servers for inference are commonly bought with (A100, H100: 80 GB).
const COMMON_GPU_BYTES: u64 = 80_000_000_000;

/// What it offers.
#[must_use]
pub fn offer(demands: &Demands, surroundings: &Surroundings) -> Offer {
    let place = &surroundings.bare_metal;
    let prices = surroundings.prices.own(Target::BareMetal);
    Offer {
        target: Target::BareMetal,
        site: Site::Own,
        regions: place.regions.clone(),
        compliance: place.compliance.clone(),
        own: place.own,
        attest: ATTEST_OWN,
        capacity: None,
        quota: Quota::default(),
        gpus: Gpus::Rented(COMMON_GPU_BYTES),
        latency: place.latency,
        cost_per_hour: prices.per_hour(demands, demands.workers),
        cost_at_most: prices.per_hour(demands, demands.max_workers),
        elasticity: Grade::new(0.3, "servers are bought for the peak, or it queues"),
        effort: Grade::new(0.1, "hardware, network, storage, cluster and their upkeep are yours"),
        locality: match demands.artifact {
            ArtifactPlace::File => Grade::new(0.7, "the artifact stays in the house"),
            ArtifactPlace::Bus | ArtifactPlace::Web => {
                Grade::new(0.6, "the artifact is fetched once, results stay in the house")
            }
        },
        access: surroundings.access(Target::BareMetal),
    }
}
