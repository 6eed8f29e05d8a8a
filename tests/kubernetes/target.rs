//! The target against a real API server: what is made, kept, put right and removed, by one controller, by two, and by one after another.

use crate::world::{Keeper, World, group};
use serde_json::{Value, json};
use slipway_controller::target::{Desired, Status, Target as _, kubernetes::OnDrift};
use slipway_kernel::{
    Cause, DeploymentId, FindingKind, RevisionId, names,
    spec::{Placement, Scale, ScaleSignal},
};

fn id(name: &str) -> DeploymentId {
    format!("default.{name}").parse().unwrap()
}

/// A world in which one controller has made one revision.
async fn made(world: &World, on_drift: OnDrift) -> (Keeper, DeploymentId, Desired, String) {
    let (keeper, id) = (world.keeper(on_drift).await, id("digits"));
    let desired = world.desired(&id, RevisionId::new(1, 1), |_| {}).await;
    keeper.want(&id, std::slice::from_ref(&desired));
    let name = names::revision(&id, desired.wanted.revision);
    world.namespace.until("its Deployment is there", || world.namespace.get("deployment", &name).is_some()).await;
    (keeper, id, desired, name)
}

fn token(world: &World, deployment: &str) -> String {
    let object = world.namespace.get("deployment", deployment).unwrap();
    object["spec"]["template"]["metadata"]["annotations"]["slipway.dev/token"].as_str().unwrap().to_owned()
}

fn image(world: &World, deployment: &str) -> Value {
    let object = world.namespace.get("deployment", deployment).unwrap();
    object["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_is_wanted_is_made_owned_by_its_anchor_and_what_is_retired_leaves_nothing() {
    let world = World::new().await;
    let (keeper, id, desired, name) = made(&world, OnDrift::PutRight).await;
    let anchor = world.namespace.get("configmap", &names::deployment(&id)).unwrap();
    for kind in ["deployment", "service", "networkpolicy"] {
        let object = world.namespace.get(kind, &name).unwrap();
        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], anchor["metadata"]["uid"], "{kind}");
    }
    assert_eq!(world.namespace.ours("configmap").len(), 2, "the anchor and the settings");
    keeper.want(&id, &[]);
    world.until_empty().await;
    keeper.until("it is gone", &group(&id, &desired), |status| *status == Status::Gone).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn where_keda_is_served_workers_are_scaled_by_the_requests_that_wait_for_them() {
    let mut world = World::new().await;
    world.settings.broker_monitor = Some("nats.slipway.svc:8222".into());
    let (keeper, id) = (world.keeper(OnDrift::PutRight).await, id("digits"));
    let scale = Scale { max: 4, signal: ScaleSignal::QueueDepth, target: 20, ..Scale::default() };
    let desired = world.scaled(&id, RevisionId::new(1, 1), &Placement::default(), scale, |_| {}).await;
    keeper.want(&id, std::slice::from_ref(&desired));
    let name = names::revision(&id, desired.wanted.revision);
    world.namespace.until("its ScaledObject is there", || world.namespace.get("scaledobject", &name).is_some()).await;
    let scaler = world.namespace.get("scaledobject", &name).unwrap();
    let lag = &scaler["spec"]["triggers"][0]["metadata"];
    assert_eq!((&lag["stream"], &lag["lagThreshold"]), (&json!("REQUESTS"), &json!("20")));
    assert!(world.namespace.ours("horizontalpodautoscaler").is_empty(), "two would pull at one number");
    keeper.want(&id, &[]);
    world.until_empty().await;
    keeper.until("it is gone", &group(&id, &desired), |status| *status == Status::Gone).await;
    assert!(world.namespace.ours("scaledobject").is_empty());
}

/// A revision of two workers that have volumes.
async fn with_volumes(world: &World, id: &DeploymentId, class: &str) -> Desired {
    let placement =
        json!({ "storage": { "size": "64Mi", "class": class }, "nodeSelector": { "kubernetes.io/os": "linux" } });
    let placement = serde_json::from_value(placement).unwrap();
    world.placed(id, RevisionId::new(1, 1), &placement, |plan| plan.replicas = 2).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn workers_with_volumes_keep_them_until_their_revision_goes_and_then_nothing_is_left() {
    let world = World::new().await;
    let (keeper, id) = (world.keeper(OnDrift::PutRight).await, id("digits"));
    let desired = with_volumes(&world, &id, "nobody-provisions-it").await;
    keeper.want(&id, std::slice::from_ref(&desired));
    let name = names::revision(&id, desired.wanted.revision);
    let claims = || world.namespace.ours("persistentvolumeclaim");
    world.namespace.until("each worker has a claim", || claims().len() == 2).await;
    assert_eq!(claims()[0]["metadata"]["labels"]["slipway.dev/revision"], "1-1");
    let set = world.namespace.get("statefulset", &name).unwrap();
    let template = &set["spec"]["template"]["metadata"];
    assert_eq!(template["labels"]["slipway.dev/attempt"], "0");
    assert!(template["annotations"]["slipway.dev/token"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    let uids = || claims().iter().map(|claim| claim["metadata"]["uid"].clone()).collect::<Vec<_>>();
    let before = uids();
    world.namespace.run(&["delete", "pod", &format!("{name}-0"), "--grace-period=0", "--force"]).unwrap();
    world.namespace.until("its pod is back", || world.namespace.get("pod", &format!("{name}-0")).is_some()).await;
    // Rounds that come after are seen by what they put right.
    world.namespace.run(&["delete", "service", &name]).unwrap();
    world.namespace.until("another round is over", || world.namespace.get("service", &name).is_some()).await;
    assert_eq!(uids(), before, "what is used is no orphan");
    keeper.want(&id, &[]);
    world.until_empty().await;
    keeper.until("it is gone", &group(&id, &desired), |status| *status == Status::Gone).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_claim_that_was_left_behind_goes() {
    let world = World::new().await;
    world.namespace.apply(&json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": "models-long-gone-0", "labels": {
            "slipway.dev/installation": "slipway",
            "slipway.dev/deployment": "default.long-gone",
            "slipway.dev/revision": "1-1",
        }},
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    }));
    let keeper = world.keeper(OnDrift::PutRight).await;
    keeper.target.all_told();
    world.namespace.until("it is gone", || world.namespace.ours("persistentvolumeclaim").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_quota_without_room_for_volumes_is_said_to_be_one() {
    let world = World::new().await;
    world.bound("ResourceQuota", &json!({ "hard": { "requests.storage": "64Mi" } }));
    let counts =
        || world.namespace.get("resourcequota", "bound").is_some_and(|quota| !quota["status"]["hard"].is_null());
    world.namespace.until("the quota counts", counts).await;
    let (keeper, id) = (world.keeper(OnDrift::PutRight).await, id("digits"));
    let desired = with_volumes(&world, &id, "any").await;
    keeper.want(&id, std::slice::from_ref(&desired));
    let group = group(&id, &desired);
    keeper.until("it fails", &group, |status| matches!(status, Status::Failed(_))).await;
    let Status::Failed(findings) = keeper.target.status(&group) else { panic!("it changed its mind") };
    assert_eq!(findings[0].kind, FindingKind::Unschedulable, "{findings:?}");
    assert!(findings[0].message.contains("quota"), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn one_revision_goes_and_the_other_stays() {
    let world = World::new().await;
    let (keeper, id, first, name) = made(&world, OnDrift::PutRight).await;
    let second = world.desired(&id, RevisionId::new(1, 2), |plan| plan.max_batch = 4).await;
    let other = names::revision(&id, second.wanted.revision);
    keeper.want(&id, &[first.clone(), second.clone()]);
    world.namespace.until("both are there", || world.namespace.get("deployment", &other).is_some()).await;
    keeper.want(&id, &[second]);
    keeper.until("the first is gone", &group(&id, &first), |status| *status == Status::Gone).await;
    assert!(world.namespace.get("deployment", &name).is_none());
    assert!(world.namespace.get("deployment", &other).is_some());
    assert!(world.namespace.get("configmap", &names::deployment(&id)).is_some(), "the anchor stays");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_others_change_or_remove_is_put_right() {
    let world = World::new().await;
    let (keeper, _, _, name) = made(&world, OnDrift::PutRight).await;
    let planned = image(&world, &name);
    let deployment = format!("deployment/{name}");
    world.namespace.run(&["set", "image", &deployment, "worker=localhost/other:1"]).unwrap();
    world.namespace.until("the image is the planned one", || image(&world, &name) == planned).await;
    world.namespace.run(&["delete", "service", &name]).unwrap();
    world.namespace.until("the service is back", || world.namespace.get("service", &name).is_some()).await;
    drop(keeper);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_others_change_is_left_where_that_is_wanted() {
    let world = World::new().await;
    let (keeper, id, first, name) = made(&world, OnDrift::Report).await;
    let deployment = format!("deployment/{name}");
    world.namespace.run(&["set", "image", &deployment, "worker=localhost/other:1"]).unwrap();
    // Rounds that come after are seen by what they make.
    let second = world.desired(&id, RevisionId::new(1, 2), |plan| plan.max_batch = 4).await;
    let other = names::revision(&id, second.wanted.revision);
    keeper.want(&id, &[first, second]);
    world.namespace.until("another round is over", || world.namespace.get("deployment", &other).is_some()).await;
    assert_eq!(image(&world, &name), "localhost/other:1");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn of_two_controllers_one_keeps_and_the_other_takes_over_without_touching_the_pods() {
    let world = World::new().await;
    let (first, id, desired, name) = made(&world, OnDrift::PutRight).await;
    let group = group(&id, &desired);
    let second = world.keeper(OnDrift::PutRight).await;
    second.want(&id, std::slice::from_ref(&desired));
    assert_eq!(second.target.status(&group), Status::Elsewhere);
    let before = (token(&world, &name), world.namespace.get("deployment", &name).unwrap()["metadata"]["uid"].clone());
    first.kill();
    second.until("the second keeps", &group, |status| *status != Status::Elsewhere).await;
    let anchor = || world.namespace.get("configmap", &names::deployment(&id)).unwrap();
    let held = || anchor()["metadata"]["annotations"]["slipway.dev/token"].as_str().unwrap().parse::<u64>().unwrap();
    world.namespace.until("the anchor bears the new token", || held() > before.0.parse().unwrap()).await;
    let after = (token(&world, &name), world.namespace.get("deployment", &name).unwrap()["metadata"]["uid"].clone());
    assert_eq!(before, after);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_a_controller_left_half_done_the_next_one_ends() {
    let world = World::new().await;
    let (first, id, desired, name) = made(&world, OnDrift::PutRight).await;
    first.kill();
    // Between any two calls: whatever is missing is made, whatever nobody wants is found by its label.
    world.namespace.run(&["delete", "networkpolicy", &name]).unwrap();
    let orphan = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "orphan", "labels": {
            "slipway.dev/installation": "slipway",
            "slipway.dev/deployment": "default.long-gone",
            "slipway.dev/revision": "1-1",
        }},
    });
    let stranger = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "stranger" } });
    world.namespace.apply(&orphan);
    world.namespace.apply(&stranger);
    let second = world.keeper(OnDrift::PutRight).await;
    second.want(&id, std::slice::from_ref(&desired));
    world.namespace.until("the policy is back", || world.namespace.get("networkpolicy", &name).is_some()).await;
    world.namespace.until("the orphan is gone", || world.namespace.get("configmap", "orphan").is_none()).await;
    assert!(world.namespace.get("configmap", "stranger").is_some(), "what is not ours is not touched");
}

/// What a revision fails with, first of all.
async fn fails_with(world: &World, change: impl FnOnce(&mut slipway_kernel::Plan)) -> (FindingKind, Cause, String) {
    let findings = world.fails_with(change).await;
    (findings[0].kind, findings[0].cause, findings[0].message.clone())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_quota_without_room_is_said_to_be_one() {
    let world = World::new().await;
    world.bound("ResourceQuota", &json!({ "hard": { "pods": "0" } }));
    world
        .namespace
        .until("the quota counts", || {
            world.namespace.get("resourcequota", "bound").is_some_and(|quota| !quota["status"]["hard"].is_null())
        })
        .await;
    let (kind, _, message) = fails_with(&world, |_| {}).await;
    assert_eq!(kind, FindingKind::Unschedulable, "{message}");
    assert!(message.contains("quota"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn limits_that_do_not_allow_a_worker_are_a_policy() {
    let world = World::new().await;
    world.bound("LimitRange", &json!({ "limits": [{ "type": "Container", "max": { "memory": "16Mi" } }] }));
    let (kind, cause, message) = fails_with(&world, |_| {}).await;
    assert_eq!((kind, cause), (FindingKind::PolicyViolation, Cause::Deterministic), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_policy_that_does_not_admit_a_worker_is_told_in_its_own_words() {
    let world = World::new().await;
    let policy = Policy::against_pods_of(&world);
    // The API server needs a moment to know it.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "tried" },
        "spec": { "containers": [{ "name": "c", "image": "localhost/none:1" }] },
    });
    let tried = || world.namespace.given(&["create", "--dry-run=server", "-f", "-"], &pod.to_string());
    world.namespace.until("the policy holds", || tried().is_err()).await;
    let (kind, cause, message) = fails_with(&world, |_| {}).await;
    drop(policy);
    assert_eq!((kind, cause), (FindingKind::PolicyViolation, Cause::Deterministic), "{message}");
    assert!(message.contains("no pods on Sundays"), "{message}");
}

/// A rule of the whole cluster that refuses pods in one namespace.
struct Policy(String);

impl Policy {
    fn against_pods_of(world: &World) -> Self {
        let (name, namespace) = (world.namespace.name.clone(), &world.namespace.name);
        let api_version = "admissionregistration.k8s.io/v1";
        let here = json!({ "matchLabels": { "kubernetes.io/metadata.name": namespace } });
        let pods =
            json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }]);
        world.namespace.apply(&json!({
            "apiVersion": api_version, "kind": "ValidatingAdmissionPolicy", "metadata": { "name": name },
            "spec": {
                "matchConstraints": { "namespaceSelector": here, "resourceRules": pods },
                "validations": [{ "expression": "false", "message": "no pods on Sundays" }],
            },
        }));
        world.namespace.apply(&json!({
            "apiVersion": api_version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": name },
            "spec": { "policyName": name, "validationActions": ["Deny"] },
        }));
        Self(name)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            // It refuses pods of a namespace that goes with the test: left behind it harms nobody.
            let _ = crate::kubectl::kubectl(&["delete", kind, &self.0, "--wait=false"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn the_pods_keep_to_the_restricted_standard() {
    let world = World::with_labels(&["pod-security.kubernetes.io/enforce=restricted"]).await;
    let (_keeper, _, _, name) = made(&world, OnDrift::PutRight).await;
    let pods = || world.namespace.ours("pod");
    world.namespace.until("its pod is made", || !pods().is_empty()).await;
    let deployment = world.namespace.get("deployment", &name).unwrap();
    let refused =
        deployment["status"]["conditions"].as_array().unwrap().iter().any(|one| one["type"] == "ReplicaFailure");
    assert!(!refused, "{deployment}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn no_node_that_is_large_enough_is_told_by_its_constraint() {
    let world = World::new().await;
    let (kind, cause, message) = fails_with(&world, |plan| plan.memory = slipway_kernel::ByteSize(1 << 45)).await;
    assert_eq!((kind, cause), (FindingKind::Unschedulable, Cause::Deterministic), "{message}");
    assert!(message.contains("(memory)") || message.contains("no node"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_namespace_that_goes_is_said_to_go() {
    let world = World::new().await;
    // Something that holds it up, so that it stays in the middle of going.
    world.namespace.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "holds", "finalizers": ["slipway.dev/test"] },
    }));
    world.namespace.run(&["delete", "namespace", &world.namespace.name, "--wait=false"]).unwrap();
    let (kind, _, message) = fails_with(&world, |_| {}).await;
    world
        .namespace
        .run(&["patch", "configmap", "holds", "--type=merge", "--patch", r#"{"metadata":{"finalizers":null}}"#])
        .unwrap();
    assert_eq!(kind, FindingKind::Misconfigured, "{message}");
    assert!(message.contains("removed"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_was_planned_for_another_place_is_refused_by_name() {
    let world = World::new().await;
    let (keeper, id) = (world.keeper(OnDrift::PutRight).await, id("digits"));
    let mut desired = world.desired(&id, RevisionId::new(1, 1), |plan| plan.target = "local".into()).await;
    desired.wanted.manifests = None;
    keeper.want(&id, std::slice::from_ref(&desired));
    keeper.until("it fails", &group(&id, &desired), |status| matches!(status, Status::Failed(_))).await;
    let Status::Failed(findings) = keeper.target.status(&group(&id, &desired)) else { panic!("it changed its mind") };
    assert_eq!(findings[0].kind, FindingKind::ExecutorMissing);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_cluster_that_refuses_to_be_looked_at_is_told_in_its_own_words() {
    let mut world = World::new().await;
    let nobody = world.namespace.kubeconfig_of("default");
    world.settings.kubeconfig = Some(nobody.path().to_owned());
    let (keeper, id) = (world.keeper(OnDrift::PutRight).await, id("digits"));
    let desired = world.desired(&id, RevisionId::new(1, 1), |_| {}).await;
    keeper.want(&id, std::slice::from_ref(&desired));
    let says = |status: &Status| matches!(status, Status::Starting { detail, .. } if detail.contains("forbidden"));
    keeper.until("it says why nothing starts", &group(&id, &desired), says).await;
}
