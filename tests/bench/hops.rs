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

/// What lies between the two facts of a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From one service to another that only decides and writes its fact.
    Bare,
    /// From one service to another that holds a lease, stores blobs, writes a database or waits for others meanwhile.
    Working,
    /// Inside one service.
    Inside,
}

/// One kind of hop.
pub struct Hop {
    pub name: &'static str,
    pub kind: Kind,
    pub samples: Samples,
}

/// What was measured.
pub struct Hops {
    /// From a fact to whoever is told of it.
    pub events: Arrivals,
    pub hops: Vec<Hop>,
    /// Those from one service to another in which nothing else is done.
    pub bare: Samples,
    /// All hops from one service to another.
    pub crossing: Samples,
    /// From `requested` to `released`.
    pub overhead: Samples,
}

/// A hop by the facts it begins and ends with; it begins with the latest of several.
const HOPS: [(&str, Kind, &[Slot], Slot); 11] = [
    ("gate → provisioner: decide", Kind::Bare, &[Slot::Request], Slot::Choice),
    ("provisioner: lease", Kind::Inside, &[Slot::Choice], Slot::Infrastructure),
    ("provisioner → platform-selector: lease", Kind::Working, &[Slot::Infrastructure], Slot::Platform),
    ("platform-selector → controller: plan, manifest stored", Kind::Working, &[Slot::Platform], Slot::Plan),
    ("controller: (no) workers start", Kind::Inside, &[Slot::Plan], Slot::Deployment),
    ("controller → ingress: all replicas route by it", Kind::Working, &[Slot::Deployment], Slot::Ingress),
    (
        "controller → sink-writer: real database, written and read back",
        Kind::Working,
        &[Slot::Deployment],
        Slot::Outputs,
    ),
    ("controller → observability: beside the other three", Kind::Working, &[Slot::Deployment], Slot::Observability),
    ("controller → security: lease", Kind::Working, &[Slot::Deployment], Slot::Security),
    ("last of the four → validator: lease, report stored", Kind::Working, &Slot::PARALLEL, Slot::Validation),
    ("validator → controller: all ingress replicas report", Kind::Working, &[Slot::Validation], Slot::Release),
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
    let hops: Vec<Hop> = HOPS.iter().map(|(name, kind, from, to)| hop(&times, name, *kind, from, *to)).collect();
    let of = |wanted: fn(Kind) -> bool| {
        let wanted = hops.iter().filter(|hop| wanted(hop.kind));
        Samples::new(wanted.flat_map(|hop| hop.samples.all().iter().copied()).collect())
    };
    let (bare, crossing) = (of(|kind| kind == Kind::Bare), of(|kind| kind != Kind::Inside));
    Ok(Hops { events, bare, crossing, overhead: overhead(&times), hops })
}

fn hop(
    times: &BTreeMap<DeploymentId, BTreeMap<Slot, i128>>,
    name: &'static str,
    kind: Kind,
    from: &[Slot],
    to: Slot,
) -> Hop {
    let one = |slots: &BTreeMap<Slot, i128>| {
        let begin = from.iter().filter_map(|slot| slots.get(slot)).max()?;
        Some(between(*begin, *slots.get(&to)?))
    };
    Hop { name, kind, samples: Samples::new(times.values().filter_map(one).collect()) }
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
