//! This machine: supervised processes, no network between the parts, nothing to rent.

use super::ATTEST_OWN;
use crate::domain::{
    choose::offer::{Capacity, Gpus, Grade, Offer, Site},
    clouds::Quota,
    demands::{ArtifactPlace, Demands},
    surroundings::Surroundings,
};
use slipway_kernel::spec::Target;

/// What it offers.
#[must_use]
pub fn offer(demands: &Demands, surroundings: &Surroundings) -> Offer {
    let machine = &surroundings.machine;
    let prices = surroundings.prices.own(Target::Local);
    let cores = f64::from(machine.cores);
    Offer {
        target: Target::Local,
        site: Site::Own,
        regions: surroundings.local.regions.clone(),
        compliance: surroundings.local.compliance.clone(),
        own: surroundings.local.own,
        attest: ATTEST_OWN,
        capacity: Some(Capacity {
            cores: cores * surroundings.cpu_overcommit.max(1.0),
            cores_of_machine: cores,
            memory_bytes: machine.memory_bytes,
        }),
        quota: Quota::default(),
        gpus: if machine.gpus.is_empty() {
            Gpus::None(machine.gpu_note.clone())
        } else {
            Gpus::These(machine.gpus.clone())
        },
        latency: surroundings.local.latency,
        cost_per_hour: prices.per_hour(demands, demands.workers),
        cost_at_most: prices.per_hour(demands, demands.max_workers),
        elasticity: Grade::new(0.2, "a fixed number of cores; a peak beyond them queues"),
        effort: Grade::new(1.0, "nothing to set up: processes of this installation"),
        locality: match demands.artifact {
            ArtifactPlace::File => Grade::new(1.0, "the artifact is a file of this machine"),
            ArtifactPlace::Bus => Grade::new(0.9, "the artifact lies in the broker beside it"),
            ArtifactPlace::Web => Grade::new(0.6, "the artifact is fetched once, results stay here"),
        },
        access: surroundings.access(Target::Local),
    }
}
