//! What the three clouds have in common: a region of the price table, and what is rented there.

use crate::domain::{
    choose::offer::{Gpus, Grade, Offer, Site},
    clouds::{Cloud, GpuType, Region},
    demands::{ArtifactPlace, Demands},
    surroundings::Surroundings,
};
use slipway_kernel::spec::Target;

pub(super) fn offer(
    target: Target,
    cloud: &Cloud,
    effort: Grade,
    demands: &Demands,
    surroundings: &Surroundings,
) -> Offer {
    let latency = surroundings.cloud_latency;
    let region = cloud.region(demands, latency);
    let cost = |workers| region.map_or(0.0, |region| cloud.per_hour(region, demands, workers));
    Offer {
        target,
        site: region.map_or(Site::Nowhere, |region| Site::Region(chosen(cloud, region, demands, surroundings))),
        regions: region.map_or_else(Vec::new, |region| region.residency.clone()),
        compliance: region.map_or_else(Vec::new, |region| region.compliance.clone()),
        own: false,
        attest: "choose another target, or a region of the price table where it holds",
        capacity: None,
        quota: cloud.quota,
        gpus: region.and_then(|region| largest(cloud, region)).map_or_else(
            || Gpus::None("the price table names none there".to_owned()),
            |gpu| Gpus::Rented(gpu.memory.0),
        ),
        latency: region.and_then(|region| region.latency).unwrap_or(latency),
        cost_per_hour: cost(demands.workers),
        cost_at_most: cost(demands.max_workers),
        elasticity: Grade::new(1.0, "nodes are rented as the load asks for them"),
        effort,
        locality: match demands.artifact {
            ArtifactPlace::File | ArtifactPlace::Bus => Grade::new(0.3, "artifact and results cross the internet"),
            ArtifactPlace::Web => Grade::new(0.7, "the artifact is fetched over the vendor's network"),
        },
        access: surroundings.access(target),
    }
}

fn chosen(cloud: &Cloud, region: &Region, demands: &Demands, surroundings: &Surroundings) -> String {
    let name = &region.name;
    let suitable = cloud.suitable(demands, surroundings.cloud_latency);
    let why = match suitable {
        0 => "no region fulfils the demands, this one fulfils most of them".to_owned(),
        1 => "the one region that fulfils the demands".to_owned(),
        some => format!("the cheapest of {some} regions that fulfil the demands"),
    };
    let gpu = cloud.gpu(region, demands).filter(|_| demands.gpus(1) > 0);
    let gpu = gpu.map_or_else(String::new, |GpuType { name, memory, price }| {
        format!(", with {name} ({memory}) at {:.3} an hour", price * region.price_factor)
    });
    format!("{name}: {why}{gpu}")
}

fn largest<'a>(cloud: &'a Cloud, region: &Region) -> Option<&'a GpuType> {
    cloud.gpus_in(region).max_by_key(|gpu| gpu.memory)
}
