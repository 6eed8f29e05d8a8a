//! `slipway status`: where deployments stand.

use super::{folded, id};
use crate::{
    cli::{Format, Global, StatusArgs},
    context::session,
    failure::Failure,
    output,
};
use serde::Serialize;
use slipway_bus::{Bus, WorkerRecord, WorkerState, WorkerTrouble};
use slipway_kernel::{Deployment, DeploymentId, Generation, Revision, Route, Service, SetAside, Span, Timestamp};
use slipway_provisioner::domain::stack::Progress;
use std::collections::BTreeMap;

/// Where one deployment stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Standing {
    deployment: String,
    generation: Option<Generation>,
    revision: Option<Revision>,
    phase: String,
    paused: bool,
    routes: Vec<Route>,
    workers: Vec<WorkerRecord>,
    /// What is wrong with them.
    troubles: Vec<WorkerTrouble>,
    /// How far what is made for it in a cloud is.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
    since: Option<Timestamp>,
    set_aside: Vec<String>,
}

/// What the log does not tell.
struct Living {
    workers: Vec<WorkerRecord>,
    troubles: Vec<WorkerTrouble>,
    progress: BTreeMap<DeploymentId, Progress>,
}

pub(crate) async fn run(args: StatusArgs, global: &Global) -> Result<(), Failure> {
    let (_, bus) = session(global).await?;
    let living = Living {
        workers: bus.workers().list().await?,
        troubles: bus.troubles().list().await?,
        progress: progress(&bus).await?,
    };
    let standings: Vec<Standing> = match args.name {
        Some(name) => {
            let (_, folded) = folded(&bus, &id(global, &name)).await?;
            vec![standing(&folded.deployment, &living)]
        }
        None => {
            let view = bus.log().follow().await?;
            let known = view.ids().into_iter().filter_map(|id| view.get(&id));
            known.map(|folded| standing(&folded.deployment, &living)).collect()
        }
    };
    match global.output {
        Format::Json => output::json(&standings),
        Format::Human => human(&standings, bus.clock().now()),
    }
    Ok(())
}

/// How far stacks are that are being made or removed: their holders say it with the lease.
async fn progress(bus: &Bus) -> Result<BTreeMap<DeploymentId, Progress>, Failure> {
    let held = bus.leases().list(Service::Provisioner, slipway_provisioner::WORK).await?;
    // Who makes no stack says nothing.
    let told = held.into_iter().filter(|(_, lease)| !lease.value.is_null());
    Ok(told.filter_map(|(id, lease)| Some((id, serde_json::from_value(lease.value).ok()?))).collect())
}

fn standing(deployment: &Deployment, living: &Living) -> Standing {
    let newest = deployment.newest();
    let aside = |aside: &SetAside| format!("{}: {}", aside.subject, aside.reason);
    Standing {
        deployment: deployment.id.to_string(),
        generation: newest.map(|generation| generation.generation),
        revision: newest.and_then(|generation| generation.latest()).map(|revision| revision.id.revision),
        phase: deployment.phase().to_string(),
        paused: newest.is_some_and(slipway_kernel::GenerationState::is_paused),
        routes: deployment.routes().shares,
        workers: living.workers.iter().filter(|worker| worker.deployment == deployment.id).cloned().collect(),
        troubles: living.troubles.iter().filter(|trouble| trouble.deployment == deployment.id).cloned().collect(),
        progress: living.progress.get(&deployment.id).cloned(),
        since: newest.and_then(|generation| generation.facts().map(|fact| fact.at).max()),
        set_aside: deployment.set_aside.iter().map(aside).collect(),
    }
}

fn human(standings: &[Standing], now: Timestamp) {
    if standings.is_empty() {
        output::line("nothing is deployed; begin with `slipway deploy -f FILE`");
        return;
    }
    let mut table = output::table(["deployment", "generation", "phase", "for", "traffic", "workers"]);
    for standing in standings {
        let generation = standing.generation.map_or_else(String::new, |g| match standing.revision {
            Some(revision) => format!("{g}-{revision}"),
            None => g.to_string(),
        });
        let paused = if standing.paused { " (paused)" } else { "" };
        let since =
            standing.since.map_or_else(String::new, |since| Span::seconds(now.since(since).as_secs()).to_string());
        let traffic: Vec<String> = standing.routes.iter().map(|r| format!("{} {} %", r.revision, r.percent)).collect();
        let ready = standing.workers.iter().filter(|worker| worker.state == WorkerState::Ready).count();
        table.add_row([
            standing.deployment.clone(),
            generation,
            format!("{}{paused}", standing.phase),
            since,
            if traffic.is_empty() { "none".to_owned() } else { traffic.join(", ") },
            format!("{ready}/{}", standing.workers.len()),
        ]);
    }
    output::line(table);
    for (standing, progress) in standings.iter().filter_map(|standing| Some((standing, standing.progress.as_ref()?))) {
        output::line(format!("{} {}: {progress}", output::Mark::Note.sign(), standing.deployment));
    }
    for trouble in standings.iter().flat_map(|standing| &standing.troubles) {
        let sign = output::Mark::Note.sign();
        output::line(format!("{sign} {} {}: {}", trouble.deployment, trouble.revision, trouble.detail));
    }
    for aside in standings.iter().flat_map(|standing| &standing.set_aside) {
        output::line(format!("{} set aside: {aside}", output::Mark::Note.sign()));
    }
}
