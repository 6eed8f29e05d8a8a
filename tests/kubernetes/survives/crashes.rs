//! A controller that ends between any two calls: whoever comes next makes of what it left the very objects that were planned, and leaves nothing
//! when they are retired.

use super::{PATIENCE, desired, objects, pods, world};
use crate::{
    faulty::{Faulty, Moment},
    id,
    kubectl::{until, until_or},
    world::{Keeper, World},
};
use serde_json::{Value, json};
use slipway_controller::target::{Desired, kubernetes::OnDrift};
use slipway_kernel::{DeploymentId, RevisionId};
use std::collections::BTreeMap;

/// Calls that change something, from the first object to the last: more are not made of any revision.
const MOST: u32 = 40;

/// What shall be, and what there is when it is.
struct Course<'a> {
    world: &'a World,
    faulty: &'a Faulty,
    id: DeploymentId,
    desired: Desired,
    whole: BTreeMap<String, Value>,
    workers: usize,
}

impl Course<'_> {
    async fn keeper(&self, wanted: &[Desired]) -> Keeper {
        let keeper = self.world.keeper(OnDrift::PutRight).await;
        keeper.want(&self.id, wanted);
        keeper
    }

    fn is_whole(&self) -> bool {
        objects(self.world) == self.whole && pods(self.world, &self.id).len() == self.workers
    }

    fn is_empty(&self) -> bool {
        objects(self.world).is_empty() && pods(self.world, &self.id).is_empty()
    }

    /// Brings it there, though the controller may end on the way. The controller that brought it.
    async fn bring(&self, keeper: Keeper, wanted: &[Desired], what: &str) -> Keeper {
        keeper.want(&self.id, wanted);
        let is_there = || if wanted.is_empty() { self.is_empty() } else { self.is_whole() };
        until(what, PATIENCE, || self.faulty.has_ended() || is_there()).await;
        if !self.faulty.has_ended() {
            return keeper;
        }
        keeper.kill();
        self.faulty.heal();
        let next = self.keeper(wanted).await;
        let told = || {
            let mut found = objects(self.world);
            let names: Vec<String> = found.keys().cloned().collect();
            found.retain(|key, object| self.whole.get(key) != Some(object));
            format!("{what}; found {names:?}, of it other than planned {found:?}")
        };
        until_or(PATIENCE, is_there, told).await;
        next
    }

    /// Its whole life, in which one controller ends at the call number `number`. Whether there was such a call.
    async fn live(&self, number: u32, moment: Moment) -> bool {
        let keeper = self.keeper(&[]).await;
        self.faulty.ends_at(number, moment);
        let wanted = std::slice::from_ref(&self.desired);
        let what = |what: &str| format!("{what}, one ends {moment:?} call {number}");
        let keeper = self.bring(keeper, wanted, &what("all is made")).await;
        let keeper = self.bring(keeper, &[], &what("nothing is left")).await;
        keeper.stop().await;
        let has_ended = !self.faulty.is_to_end();
        self.faulty.heal();
        has_ended
    }
}

/// Ends a controller at each call of the life of a revision that is so many objects.
async fn survives(desired: impl AsyncFn(&World, &DeploymentId) -> Desired, count: usize, moment: Moment) {
    let (world, faulty) = world().await;
    let id = id("digits");
    let desired = desired(&world, &id).await;
    let workers = usize::try_from(desired.wanted.plan.replicas).unwrap();
    let mut course = Course { world: &world, faulty: &faulty, id, desired, whole: BTreeMap::new(), workers };
    let keeper = course.keeper(std::slice::from_ref(&course.desired)).await;
    let made = || pods(&world, &course.id).len() == workers && objects(&world).len() == count;
    until("all is made once", PATIENCE, made).await;
    course.whole = objects(&world);
    keeper.want(&course.id, &[]);
    world.until_empty().await;
    keeper.stop().await;
    let mut calls = 0;
    while course.live(calls + 1, moment).await {
        calls += 1;
        assert!(calls < MOST, "it never comes to an end");
    }
    println!("one ended {moment:?} each of {calls} calls");
    assert!(calls > 8, "there are more calls than {calls} in a life");
}

/// Two workers that have volumes which nobody makes.
async fn with_volumes(world: &World, id: &DeploymentId) -> Desired {
    let placement = json!({ "storage": { "size": "64Mi", "class": "nobody-provisions-it" } });
    let placement = serde_json::from_value(placement).unwrap();
    world.placed(id, RevisionId::new(1, 1), &placement, |plan| plan.replicas = 2).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn right_before_any_call() {
    survives(desired, 7, Moment::Before).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn right_after_any_call() {
    survives(desired, 7, Moment::After).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn right_before_any_call_of_workers_with_volumes() {
    survives(with_volumes, 8, Moment::Before).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn right_after_any_call_of_workers_with_volumes() {
    survives(with_volumes, 8, Moment::After).await;
}
