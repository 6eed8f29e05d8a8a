//! The bridge between custom resources and the gate, refused by the API server and ended between any two calls: each resource is demanded once and
//! retired once all the same, and every event is there once.

use super::{PATIENCE, of};
use crate::{
    faulty::{Call, Fault, Faulty, Moment, Verb},
    resources::{Resources, condition},
};
use serde_json::json;
use slipway_kernel::{Answer, Phase};
use slipway_testkit::eventually;
use std::{collections::HashMap, sync::Mutex};

/// Calls that change something, in the life of one resource: there are no more.
const MOST: u32 = 30;

/// A resource from its demand to its end.
struct Life<'a> {
    world: &'a mut Resources,
    faulty: &'a Faulty,
    name: String,
}

impl Life<'_> {
    /// Brings it there, though the controller may end on the way.
    async fn bring(&mut self, what: &str, is_there: impl Fn(&Resources, &str) -> bool + Send + Sync) {
        self.until(what, |life| life.faulty.has_ended() || is_there(life.world, &life.name)).await;
        if self.faulty.has_ended() {
            self.world.end_controller().await;
            self.faulty.heal();
            self.world.add_controller();
            self.until(what, |life| is_there(life.world, &life.name)).await;
        }
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool + Send + Sync) {
        let status = || self.world.resource(&self.name).map(|resource| resource["status"].clone());
        let looked = || async { if holds(self) { Ok(()) } else { Err(format!("it is not {what}: {:?}", status())) } };
        eventually(PATIENCE, looked).await;
    }

    async fn live(mut self) {
        self.world.apply(&self.name, &json!({}));
        let released = |world: &Resources, name: &str| {
            let resource = world.resource(name).unwrap_or_default();
            let ready = condition(&resource, "Ready");
            ready["status"] == "True" && ready["reason"] == "Released"
        };
        self.bring("released", released).await;
        self.world.namespace.run(&["delete", "modeldeployment", &self.name, "--wait=false"]).unwrap();
        let gone = |world: &Resources, name: &str| {
            world.resource(name).is_none() && world.deployment(name).phase() == Phase::Retired
        };
        self.bring("gone", gone).await;
        let (world, name) = (&*self.world, self.name.as_str());
        let facts = world.view.facts(&world.id(name));
        let retired = facts.iter().filter(|fact| matches!(fact.answer, Answer::RetireRequested(_))).count();
        assert_eq!((world.demands(name), retired), (1, 1), "{name}");
        assert_eq!(world.events(name), ["Accepted", "Released", "Retired"], "{name}");
    }
}

async fn ends(moment: Moment) {
    let faulty = Faulty::start().await;
    let mut world = Resources::behind(&faulty).await;
    for number in 1..MOST {
        world.add_controller();
        faulty.ends_at(number, moment);
        Life { world: &mut world, faulty: &faulty, name: format!("digits-{number}") }.live().await;
        world.end_controller().await;
        if faulty.is_to_end() {
            println!("one ended {moment:?} each of {} calls", number - 1);
            assert!(number > 6, "there are more calls than {number} in a life");
            return;
        }
        faulty.heal();
    }
    panic!("it never comes to an end");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_bridge_that_ends_right_before_any_call() {
    ends(Moment::Before).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_bridge_that_ends_right_after_any_call() {
    ends(Moment::After).await;
}

/// A fault for the first and the third call of each kind: the finalizer is refused, and the status.
fn twice(fault: Fault) -> impl Fn(&Call) -> Option<Fault> + Send + Sync {
    let counts = Mutex::new(HashMap::new());
    move |call| {
        let mut counts = counts.lock().unwrap();
        let count = counts.entry((call.verb, call.plural.clone())).or_insert(0_u32);
        *count += 1;
        [1, 3].contains(count).then(|| of(call, fault))
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_bridge_of_whose_calls_each_kind_is_refused_or_loses_its_answer_twice() {
    let faulty = Faulty::start().await;
    let mut world = Resources::behind(&faulty).await;
    for (name, fault) in
        [("too-many", Fault::Refuse(429)), ("too-late", Fault::Refuse(504)), ("unanswered", Fault::Unanswered)]
    {
        faulty.fails(twice(fault));
        world.add_controller();
        Life { world: &mut world, faulty: &faulty, name: name.to_owned() }.live().await;
        for verb in [Verb::List, Verb::Watch, Verb::Create, Verb::Apply] {
            assert!(faulty.count(|call, met| call.verb == verb && met.is_some()) > 0, "{fault:?} at {verb:?}");
        }
        world.end_controller().await;
        faulty.heal();
    }
}
