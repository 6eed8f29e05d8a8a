//! From one fact to the next, one deployment at a time, beside what JetStream itself takes.

use crate::{
    events::Arrivals,
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

/// From one fact to the next.
pub struct Hop {
    pub name: &'static str,
    pub samples: Samples,
}

/// What was measured.
pub struct Hops {
    /// From a fact to whoever is told of it.
    pub events: Arrivals,
    pub hops: Vec<Hop>,
    /// From `requested` to `released`.
    pub overhead: Samples,
}

/// A hop by the facts it begins and ends with; it begins with the latest of several.
const HOPS: [(&str, &[Slot], Slot); 11] = [
    ("gate → provisioner: decide", &[Slot::Request], Slot::Choice),
    ("provisioner: lease", &[Slot::Choice], Slot::Infrastructure),
    ("provisioner → platform-selector: lease", &[Slot::Infrastructure], Slot::Platform),
    ("platform-selector → controller: plan, manifest stored", &[Slot::Platform], Slot::Plan),
    ("controller: (no) workers start", &[Slot::Plan], Slot::Deployment),
    ("controller → ingress: lease, all replicas route by it", &[Slot::Deployment], Slot::Ingress),
    ("controller → sink-writer: real database, written and read back", &[Slot::Deployment], Slot::Outputs),
    ("controller → observability: beside the other three", &[Slot::Deployment], Slot::Observability),
    ("controller → security: lease", &[Slot::Deployment], Slot::Security),
    ("last of the four → validator: lease, two reports stored", &Slot::PARALLEL, Slot::Validation),
    ("validator → controller: all ingress replicas report", &[Slot::Validation], Slot::Release),
];

/// Publish and fetch at a broker of its own.
pub async fn floor(rounds: usize) -> Floor {
    let server = NatsServer::secured().await;
    let floor = server.floor(rounds.max(200)).await;
    Floor { acknowledged: Samples::new(floor.acknowledged), fetched: Samples::new(floor.fetched) }
}

/// So many deployments, one after the other.
pub async fn measure(rounds: usize) -> anyhow::Result<Hops> {
    let mut mesh = Mesh::start().await?;
    let before = Arrivals::read(&mesh).await?;
    for round in 0..rounds {
        let id = id(&format!("one-{round}"))?;
        demand(&mesh.operator(), &id).await?;
        let left = mesh.wait(vec![id], ONE).await?;
        ensure!(left.is_empty(), "not released in {ONE:?}:\n{}\n{}", mesh.standing(&left), mesh.said());
    }
    let events = Arrivals::read(&mesh).await?.since(&before);
    let mut times: BTreeMap<DeploymentId, BTreeMap<Slot, i128>> = times(mesh.appended().await?);
    // The first one had to wait for the services.
    times.remove(&id("warm-up")?);
    let hops = HOPS.iter().map(|(name, from, to)| hop(&times, name, from, *to)).collect();
    Ok(Hops { events, hops, overhead: overhead(&times) })
}

fn hop(times: &BTreeMap<DeploymentId, BTreeMap<Slot, i128>>, name: &'static str, from: &[Slot], to: Slot) -> Hop {
    let one = |slots: &BTreeMap<Slot, i128>| {
        let begin = from.iter().filter_map(|slot| slots.get(slot)).max()?;
        Some(between(*begin, *slots.get(&to)?))
    };
    Hop { name, samples: Samples::new(times.values().filter_map(one).collect()) }
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
