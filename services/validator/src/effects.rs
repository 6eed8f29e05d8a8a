//! What a proof does to the world, behind one trait: the real checks, and a simulation that touches nothing, with which a bench
//! runs the mesh alone.

use crate::{
    checks::Tools,
    config::{Bounds, Config},
    course,
    domain::{
        assignment::Assignment,
        judge::{Judged, load::Repeat, names, production},
    },
    mesh::Mesh,
    watch,
    world::World,
};
use async_trait::async_trait;
use slipway_bus::Bus;
use slipway_loadtest::{LoadError, Target};
use slipway_runtime::CancellationToken;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What a proof came to.
#[derive(Clone, Debug)]
pub struct Proof {
    /// Its id: the correlation id of its requests.
    pub run: String,
    /// Every check.
    pub judged: Vec<Judged>,
    /// The repeats of the load.
    pub repeats: Vec<Repeat>,
    /// How long it took.
    pub took: Duration,
}

/// What a proof does.
#[async_trait]
pub trait Effects: Send + Sync + 'static {
    /// Proves a revision. Dropping the future stops all of it at once.
    async fn prove(&self, assignment: &Assignment) -> Proof;
}

/// The real checks, through the public door.
pub struct Checks {
    world: Arc<dyn World>,
    target: Target,
    bounds: Bounds,
}

impl Checks {
    /// Checks in a world of one's own.
    #[must_use]
    pub fn new(world: Arc<dyn World>, target: Target, bounds: Bounds) -> Self {
        Self { world, target, bounds }
    }

    /// Checks in the mesh.
    ///
    /// # Errors
    /// If the address of the ingress is none.
    pub fn in_mesh(bus: &Bus, config: &Config) -> Result<Self, LoadError> {
        let world = Arc::new(Mesh::new(bus.clone(), &config.ingress));
        Ok(Self::new(world, config.ingress.address.parse()?, config.bounds))
    }
}

#[async_trait]
impl Effects for Checks {
    async fn prove(&self, assignment: &Assignment) -> Proof {
        // Version 7 begins with the time: runs sort as they were made.
        let run = uuid::Uuid::now_v7().simple().to_string();
        let begin = Instant::now();
        let tools = match Tools::new(assignment, self.bounds, &self.world, &self.target, &run) {
            Ok(tools) => tools,
            Err(error) => {
                let judged = vec![Judged::inconclusive(names::GOLDEN_OUTPUTS, error.to_string())];
                return Proof { run, judged, repeats: Vec::new(), took: begin.elapsed() };
            }
        };
        let stop = CancellationToken::new();
        // Boxed: the course holds all its checks, and is held by the watch.
        let proof = Box::pin(course::run(&tools, &stop));
        let live = assignment.live.as_ref();
        let (ran, watched) =
            watch::beside(self.world.as_ref(), &assignment.deployment, live, || stop.cancel(), proof).await;
        let mut judged = ran.judged;
        judged.push(production::judge(&watched));
        Proof { run, judged, repeats: ran.repeats, took: begin.elapsed() }
    }
}

/// A proof that touches nothing and passes: for measuring the mesh without the load of its proofs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simulated;

#[async_trait]
impl Effects for Simulated {
    async fn prove(&self, _assignment: &Assignment) -> Proof {
        let judged = names::ALL.map(|name| Judged::passed(name, "simulated")).into();
        Proof { run: uuid::Uuid::now_v7().simple().to_string(), judged, repeats: Vec::new(), took: Duration::ZERO }
    }
}
