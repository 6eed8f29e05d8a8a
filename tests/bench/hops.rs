//! From one fact to the next, one deployment at a time, beside what JetStream itself takes.

use crate::{
    figures::Samples,
    mesh::{Mesh, demand, id},
};
use anyhow::ensure;
use slipway_kernel::{DeploymentId, FactKey, Slot};
use slipway_testkit::NatsServer;
use std::{collections::BTreeMap, time::Duration};

/// How long one deployment may take.
const ONE: Duration = Duration::from_secs(30);

/// What JetStream itself takes.
pub struct Floor {
    pub acknowledged: Samples,
    pub fetched: Samples,
}

/// One kind of hop.
pub struct Hop {
    pub name: &'static str,
    /// From one service to another; else inside one.
    pub crosses: bool,
    pub samples: Samples,
}

/// What was measured.
pub struct Hops {
    pub hops: Vec<Hop>,
    /// All hops from one service to another.
    pub crossing: Samples,
    /// From `requested` to `released`.
    pub overhead: Samples,
}

/// A hop by the facts it begins and ends with; it begins with the latest of several.
const HOPS: [(&str, bool, &[Slot], Slot); 10] = [
    ("gate (controller) → provisioner", true, &[Slot::Request], Slot::Choice),
    ("choice → infrastructure (provisioner)", false, &[Slot::Choice], Slot::Infrastructure),
    ("provisioner → platform-selector", true, &[Slot::Infrastructure], Slot::Platform),
    ("platform-selector → controller", true, &[Slot::Platform], Slot::Plan),
    ("plan → deployment (controller)", false, &[Slot::Plan], Slot::Deployment),
    ("controller → ingress", true, &[Slot::Deployment], Slot::Ingress),
    ("controller → sink-writer", true, &[Slot::Deployment], Slot::Outputs),
    ("controller → observability", true, &[Slot::Deployment], Slot::Observability),
    ("controller → security", true, &[Slot::Deployment], Slot::Security),
    ("last of the four → validator", true, &Slot::PARALLEL, Slot::Validation),
];
const LAST: (&str, bool, &[Slot], Slot) = ("validator → controller", true, &[Slot::Validation], Slot::Release);

/// Publish and fetch at a broker of its own.
pub async fn floor(rounds: usize) -> Floor {
    let server = NatsServer::secured().await;
    let floor = server.floor(rounds.max(200)).await;
    Floor { acknowledged: Samples::new(floor.acknowledged), fetched: Samples::new(floor.fetched) }
}

/// So many deployments, one after the other.
pub async fn measure(rounds: usize) -> anyhow::Result<Hops> {
    let mut mesh = Mesh::start().await?;
    for round in 0..rounds {
        let id = id(&format!("one-{round}"))?;
        demand(&mesh.operator(), &id).await?;
        let left = mesh.wait(vec![id], ONE).await?;
        ensure!(left.is_empty(), "not released in {ONE:?}:\n{}\n{}", mesh.standing(&left), mesh.said());
    }
    let mut times: BTreeMap<DeploymentId, BTreeMap<Slot, i128>> = times(mesh.appended().await?);
    // The first one had to wait for the services.
    times.remove(&id("warm-up")?);
    let all = HOPS.iter().chain([&LAST]);
    let hops: Vec<Hop> = all.map(|(name, crosses, from, to)| hop(&times, name, *crosses, from, *to)).collect();
    let crossing = hops.iter().filter(|hop| hop.crosses).flat_map(|hop| hop.samples.all().iter().copied());
    Ok(Hops { crossing: Samples::new(crossing.collect()), overhead: overhead(&times), hops })
}

fn hop(
    times: &BTreeMap<DeploymentId, BTreeMap<Slot, i128>>,
    name: &'static str,
    crosses: bool,
    from: &[Slot],
    to: Slot,
) -> Hop {
    let one = |slots: &BTreeMap<Slot, i128>| {
        let begin = from.iter().filter_map(|slot| slots.get(slot)).max()?;
        Some(between(*begin, *slots.get(&to)?))
    };
    Hop { name, crosses, samples: Samples::new(times.values().filter_map(one).collect()) }
}

/// First attempts of the first generation, by deployment.
pub fn times(appended: Vec<(FactKey, i128)>) -> BTreeMap<DeploymentId, BTreeMap<Slot, i128>> {
    let mut times: BTreeMap<DeploymentId, BTreeMap<Slot, i128>> = BTreeMap::new();
    for (key, at) in appended {
        times.entry(key.deployment).or_default().entry(key.slot).or_insert(at);
    }
    times
}

/// From `requested` to `released`, of those that came so far.
pub fn overhead(times: &BTreeMap<DeploymentId, BTreeMap<Slot, i128>>) -> Samples {
    let one = |slots: &BTreeMap<Slot, i128>| Some(between(*slots.get(&Slot::Request)?, *slots.get(&Slot::Release)?));
    Samples::new(times.values().filter_map(one).collect())
}

/// Nanoseconds apart; nothing if the clock was set back.
pub fn between(from: i128, to: i128) -> Duration {
    Duration::from_nanos(u64::try_from(to - from).unwrap_or_default())
}
