//! A Kubernetes cluster that is there already.

use super::ATTEST_OWN;
use crate::domain::{
    choose::offer::{Gpus, Grade, Offer, Site},
    clouds::Quota,
    demands::{ArtifactPlace, Demands},
    surroundings::{ClusterGpus, Surroundings},
};
use slipway_kernel::spec::Target;

/// Memory of the largest GPU that a cluster nobody looked at is expected to have (H200: 141 GB).
const LARGEST_GPU_BYTES: u64 = 141_000_000_000;

/// What it offers.
#[must_use]
pub fn offer(demands: &Demands, surroundings: &Surroundings) -> Offer {
    let place = &surroundings.kubernetes;
    let prices = surroundings.prices.own(Target::Kubernetes);
    Offer {
        target: Target::Kubernetes,
        site: Site::Own,
        regions: place.regions.clone(),
        compliance: place.compliance.clone(),
        own: place.own,
        attest: ATTEST_OWN,
        capacity: None,
        quota: Quota::default(),
        gpus: match &surroundings.kubernetes_gpus {
            ClusterGpus::Seen(gpus) if gpus.is_empty() => {
                Gpus::None(
                    "no node that workers may be on has a whole one (`nvidia.com/gpu`), or the part that spec.placement.gpuProfile names"
                        .to_owned(),
                )
            }
            ClusterGpus::Seen(gpus) => Gpus::These(gpus.clone()),
            ClusterGpus::Said(true) => Gpus::Rented(LARGEST_GPU_BYTES),
            ClusterGpus::Said(false) => Gpus::None("no nodes with GPUs are configured (`kubernetes.gpus`)".to_owned()),
        },
        latency: place.latency,
        cost_per_hour: prices.per_hour(demands, demands.workers),
        cost_at_most: prices.per_hour(demands, demands.max_workers),
        elasticity: Grade::new(0.7, "pods scale within minutes, up to the nodes of the cluster"),
        effort: Grade::new(0.7, "the cluster is there; its upkeep is shared with others"),
        locality: match demands.artifact {
            ArtifactPlace::File => Grade::new(0.5, "the artifact travels to the cluster"),
            ArtifactPlace::Bus | ArtifactPlace::Web => Grade::new(0.7, "the artifact is fetched inside the cluster"),
        },
        access: surroundings.access(Target::Kubernetes),
    }
}
