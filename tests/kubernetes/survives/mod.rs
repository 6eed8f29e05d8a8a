//! What the target survives: an API server that refuses, forgets or is silent, others that write at the same moment, and its own end between
//! any two calls. No test needs a node: pods are made and stay where they are, and who is to be ready is said to be.

mod crashes;
mod demands;
mod refusals;
mod stale;
mod together;
mod watches;

use crate::{
    faulty::{Call, Fault, Faulty, Verb},
    kubectl::until,
    world::{Keeper, World},
};
use serde_json::{Value, json};
use slipway_bus::{Registration, WorkerRecord, WorkerState};
use slipway_controller::target::{Desired, Group, Status, Target as _, kubernetes::OnDrift};
use slipway_kernel::{DeploymentId, RevisionId, Service, Timestamp, names, spec::Placement, spec::Scale};
use std::{collections::BTreeMap, time::Duration};

/// All that the target makes.
const KINDS: &str = "deployments,statefulsets,horizontalpodautoscalers,poddisruptionbudgets,services,networkpolicies,\
                     persistentvolumeclaims,configmaps";
/// Uid and generation, by kind and name.
type Identities = BTreeMap<String, (Value, Value)>;

/// How long it may take after the last fault: two of the longest pauses, and what is to be done.
const PATIENCE: Duration = Duration::from_secs(60);

async fn world() -> (World, Faulty) {
    let faulty = Faulty::start().await;
    (World::behind(&faulty).await, faulty)
}

/// Nodes that no cluster has, so that pods stay as the test says they are.
fn nowhere() -> Placement {
    serde_json::from_value(json!({ "nodeSelector": { "slipway.dev/test": "nowhere" } })).unwrap()
}

/// A revision with every object that there is for it but claims: two workers, and a scaler.
async fn desired(world: &World, id: &DeploymentId) -> Desired {
    let scale = Scale { max: 3, ..Scale::default() };
    world.scaled(id, RevisionId::new(1, 1), &nowhere(), scale, |plan| plan.replicas = 2).await
}

/// The same with a controller that keeps it, once all of it is there.
async fn made(world: &World, id: &DeploymentId) -> (Keeper, Desired) {
    let desired = desired(world, id).await;
    let keeper = world.keeper(OnDrift::PutRight).await;
    keeper.want(id, std::slice::from_ref(&desired));
    until_made(world, id, &desired).await;
    (keeper, desired)
}

/// Waits until everything of [`desired`] is there, with its pods.
async fn until_made(world: &World, id: &DeploymentId, desired: &Desired) {
    let name = names::revision(id, desired.wanted.revision);
    let is_whole = || {
        let kinds: Vec<String> = objects(world).into_keys().filter(|key| key.ends_with(&format!("/{name}"))).collect();
        kinds.len() == 5 && pods(world, id).len() == 2
    };
    until("all of it is made", PATIENCE, is_whole).await;
}

/// What a fault is for a call: a watch has no end, so there is none that could be lost.
fn of(call: &Call, fault: Fault) -> Fault {
    if call.verb == Verb::Watch && fault == Fault::Unanswered { Fault::Close } else { fault }
}

fn pods(world: &World, id: &DeploymentId) -> Vec<Value> {
    let mut pods = world.namespace.ours("pod");
    pods.retain(|pod| pod["metadata"]["labels"]["slipway.dev/deployment"] == names::label(id));
    pods
}

/// The token of whoever keeps a deployment, as its anchor tells.
fn held_under(world: &World, id: &DeploymentId) -> u64 {
    let anchor = world.namespace.get("configmap", &names::deployment(id)).unwrap();
    anchor["metadata"]["annotations"]["slipway.dev/token"].as_str().unwrap().parse().unwrap()
}

/// What was made, by kind and name, without what the API server, the controllers of the cluster and different keepers add.
fn objects(world: &World) -> BTreeMap<String, Value> {
    let all = world.namespace.ours(KINDS);
    let is_there = |owner: &Value| {
        let maps = all.iter().filter(|object| object["kind"] == "ConfigMap");
        maps.map(|map| &map["metadata"]).any(|map| (&map["name"], &map["uid"]) == (&owner["name"], &owner["uid"]))
    };
    let stripped = all.iter().map(|object| {
        let metadata = &object["metadata"];
        let owner = &metadata["ownerReferences"][0];
        let mut annotations = metadata["annotations"].clone();
        let mut spec = object["spec"].clone();
        if let Value::Object(annotations) = &mut annotations {
            annotations.remove("slipway.dev/token");
            annotations.remove("deployment.kubernetes.io/revision");
        }
        if let Some(Value::Object(annotations)) = spec.pointer_mut("/template/metadata/annotations") {
            annotations.remove("slipway.dev/token");
        }
        let object_without = json!({
            "labels": metadata["labels"],
            "annotations": annotations,
            "owner": owner["name"],
            // Of an owner that was made anew nothing would be left.
            "is_owned": is_there(owner),
            "is_leaving": !metadata["deletionTimestamp"].is_null(),
            "spec": spec,
            "data": object["data"],
        });
        let name = metadata["name"].as_str().unwrap();
        (format!("{}/{name}", object["kind"].as_str().unwrap()), object_without)
    });
    stripped.collect()
}

/// What tells an object that was made anew, and one that was changed, from the one before: its uid and generation.
fn identities(world: &World) -> Identities {
    let all = world.namespace.ours(&format!("{KINDS},pods"));
    let identity = |object: &Value| {
        let metadata = &object["metadata"];
        let key = format!("{}/{}", object["kind"].as_str().unwrap(), metadata["name"].as_str().unwrap());
        (key, (metadata["uid"].clone(), metadata["generation"].clone()))
    };
    all.iter().map(identity).collect()
}

/// Has every pod of a deployment answer, as far as anybody can see.
async fn serve(world: &World, id: &DeploymentId) -> Vec<Registration> {
    let bus = world.nats.bus_as(Service::InferenceWorker).await;
    let mut registered = Vec::new();
    for (number, pod) in pods(world, id).iter().enumerate() {
        let (name, ip) = (pod["metadata"]["name"].as_str().unwrap(), format!("10.250.0.{}", number + 1));
        let status = json!({ "status": { "podIP": ip, "podIPs": [{ "ip": ip }] } }).to_string();
        world.namespace.run(&["patch", "pod", name, "--subresource=status", "--patch", &status]).unwrap();
        let record = WorkerRecord {
            deployment: id.clone(),
            revision: RevisionId::new(1, 1),
            instance: name.to_owned(),
            host: "nowhere".into(),
            address: format!("{ip}:8443"),
            admin: format!("{ip}:9091"),
            pid: 1,
            fencing_token: 1,
            state: WorkerState::Ready,
            measurements: vec![],
            detail: Value::Null,
            since: Timestamp(0),
        };
        registered.push(bus.workers().register(record).await.unwrap());
    }
    registered
}

/// Waits for a condition, and fails when a try is told to have failed meanwhile.
async fn without_failure(keeper: &Keeper, group: &Group, waiting: impl Future<Output = ()>) {
    let fails = async {
        loop {
            let status = keeper.target.status(group);
            assert!(!matches!(status, Status::Failed(_)), "{status:?}");
            keeper.target.changed(Duration::from_millis(50)).await;
        }
    };
    tokio::select! { () = waiting => {}, () = fails => {} }
}
