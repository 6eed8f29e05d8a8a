//! The checks: each sends something through the public door, or looks at what came of it, and hands what it saw to its judge.

pub(crate) mod golden;
pub(crate) mod killed;
pub(crate) mod load;
pub(crate) mod overload;
pub(crate) mod sinks;
pub(crate) mod strangers;
pub(crate) mod warm_up;

use crate::{
    config::Bounds,
    domain::assignment::Assignment,
    door::{Door, Fate},
    follow::Followed,
    probe::Probe,
    world::World,
};
use bytes::Bytes;
use slipway_loadtest::{Client, FailureClass, Limits, LoadError, Reply, Report, Shape, Stop, Target, Workload, run};
use std::{sync::Arc, time::Duration};

/// Beyond the time the revision has for a request: its own refusal shall be seen, not the generator's impatience.
const BEYOND_TIMEOUT: Duration = Duration::from_millis(500);
/// How late the generator may be (99 of 100) before it is part of what it measures: a quarter of the wanted latency, but
/// never less than what a busy machine always costs.
const LAG_SHARE: f64 = 0.25;
const LEAST_LAG: Duration = Duration::from_millis(5);

/// What every check of one proof works with.
pub(crate) struct Tools {
    pub(crate) assignment: Assignment,
    pub(crate) bounds: Bounds,
    pub(crate) world: Arc<dyn World>,
    pub(crate) target: Target,
    pub(crate) client: Client,
    pub(crate) door: Door,
    pub(crate) followed: Arc<Followed>,
    pub(crate) run: String,
}

impl Tools {
    /// The tools of a run.
    ///
    /// # Errors
    /// Never for ids, which hold nothing that a path or a header could not.
    pub(crate) fn new(
        assignment: &Assignment,
        bounds: Bounds,
        world: &Arc<dyn World>,
        target: &Target,
        run: &str,
    ) -> Result<Self, http::Error> {
        Ok(Self {
            assignment: assignment.clone(),
            bounds,
            world: Arc::clone(world),
            target: target.clone(),
            client: Client::new(target.clone(), &limits(assignment, &bounds)),
            door: Door::new(assignment, run, world)?,
            followed: Arc::new(Followed::new(bounds.followed_requests)),
            run: run.to_owned(),
        })
    }

    pub(crate) fn limits(&self) -> Limits {
        limits(&self.assignment, &self.bounds)
    }

    /// A phase of load that sends these bodies in turn.
    pub(crate) fn probe(&self, bodies: &Arc<[Bytes]>) -> Arc<Probe> {
        Arc::new(Probe::new(&self.door, bodies, &self.followed))
    }

    /// The same with less time for each request than the deployment allows.
    pub(crate) fn hurried_probe(&self, bodies: &Arc<[Bytes]>, timeout: Duration) -> Arc<Probe> {
        Arc::new(Probe::new(&self.door, bodies, &self.followed).within(timeout))
    }

    /// Sends load; dropping the future stops it at once.
    pub(crate) async fn load(
        &self,
        probe: &Arc<Probe>,
        shape: Shape,
        limits: Limits,
        stop: &Stop,
    ) -> Result<Report, LoadError> {
        let workload: Arc<dyn Workload> = Arc::clone(probe) as Arc<dyn Workload>;
        run(&self.target, workload, shape, limits, stop).await
    }

    /// Sends one request.
    pub(crate) async fn single(&self, body: Bytes) -> (Fate, Result<Reply, FailureClass>) {
        let number = self.followed.next();
        let outcome = self.client.send(self.door.request(body, self.followed.is_followed(number))).await;
        let fate = self.door.read(&outcome);
        self.followed.ended(number, &fate);
        (fate, outcome)
    }
}

fn limits(assignment: &Assignment, bounds: &Bounds) -> Limits {
    let wanted = assignment.slo.latency_p99.map_or(Duration::ZERO, |target| target.0.mul_f64(LAG_SHARE));
    let limits = Limits::default();
    Limits {
        timeout: assignment.request_timeout.0 + BEYOND_TIMEOUT,
        max_in_flight: bounds.max_in_flight,
        max_lag: if wanted.is_zero() { limits.max_lag } else { wanted.max(LEAST_LAG) },
        ..limits
    }
}
