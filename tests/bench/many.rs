//! Many deployments at once.

use crate::{
    figures::Samples,
    hops::{between, overhead, times},
    mesh::{Memory, Mesh, demand, id},
};
use anyhow::Context as _;
use slipway_kernel::Service;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet};

/// Demands under way at once: as many as the gate takes.
const DEMANDS: usize = 256;
/// How long all of them may take: a second each is far beyond what is expected, and a run that hangs must end.
const EACH: Duration = Duration::from_secs(1);

/// What was measured.
pub struct Many {
    pub count: usize,
    /// Released.
    pub released: usize,
    /// Of those, with one revision and no question asked twice.
    pub straight: usize,
    /// From the first request to the last fact.
    pub wall: Duration,
    pub facts: usize,
    /// From `requested` to `released` of each.
    pub overhead: Samples,
    pub before: Vec<Memory>,
    pub after: Vec<Memory>,
    /// Lines of warnings and errors.
    pub warnings: Vec<(Service, usize)>,
    /// Where some of those stand that were not released.
    pub standing: String,
}

/// Demands `count` deployments at once and waits for all of them.
pub async fn measure(count: usize) -> anyhow::Result<Many> {
    let mut mesh = Mesh::start().await?;
    let before = mesh.memory();
    let ids: Vec<_> = (0..count).map(|n| id(&format!("many-{n}"))).collect::<Result<_, _>>()?;
    let (mut demands, at_once) = (JoinSet::new(), Arc::new(Semaphore::new(DEMANDS)));
    for id in ids.clone() {
        let (bus, at_once) = (mesh.operator(), Arc::clone(&at_once));
        demands.spawn(async move {
            let _turn = at_once.acquire_owned().await?;
            demand(&bus, &id).await
        });
    }
    while let Some(demanded) = demands.join_next().await {
        demanded.context("a demand was dropped")?.context("a demand failed")?;
    }
    let patience = (EACH * u32::try_from(count).unwrap_or(u32::MAX)).max(Duration::from_secs(60));
    let left = mesh.wait(ids.clone(), patience).await?;
    let after = mesh.memory();
    let mut appended = mesh.appended().await?;
    appended.retain(|(key, _)| ids.contains(&key.deployment));
    let first = appended.iter().map(|(_, at)| *at).min().context("no fact at all")?;
    let last = appended.iter().map(|(_, at)| *at).max().context("no fact at all")?;
    let facts = appended.len();
    if !left.is_empty() {
        println!("{}\n{}", mesh.standing(&left), mesh.said());
    }
    Ok(Many {
        count,
        released: count - left.len(),
        straight: ids.iter().filter(|id| mesh.is_straight(id)).count(),
        wall: between(first, last),
        facts,
        overhead: overhead(&times(appended)),
        before,
        after,
        warnings: mesh.warnings(),
        standing: mesh.standing(&left),
    })
}
