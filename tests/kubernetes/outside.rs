//! What others find of a deployment in the cluster: rules and dashboards, and the ways in from outside. Against a real API server that serves the
//! definitions of the Gateway API and of Prometheus' operator.

use crate::{id, kubectl::Namespace, world::World};
use serde_json::{Value, json};
use slipway_controller::target::kubernetes::OnDrift;
use slipway_ingress::{config::KubernetesConfig as Routes, exposure::Exposure};
use slipway_kernel::{Cause, RevisionId, names, spec::Slo};
use slipway_observability::{KubernetesConfig as Shown, cluster::Cluster};
use std::{collections::BTreeMap, time::Duration};

fn shown(namespace: &Namespace) -> Shown {
    Shown {
        enabled: true,
        namespace: Some(namespace.name.clone()),
        rule_labels: BTreeMap::from([("release".to_owned(), "monitoring".to_owned())]),
        ..Shown::default()
    }
}

async fn cluster(config: &Shown) -> Cluster {
    Cluster::open(config).await.unwrap().unwrap()
}

fn names_of(objects: &[Value]) -> Vec<&str> {
    objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn rules_and_dashboards_follow_their_deployment_and_leave_those_of_others() {
    let namespace = Namespace::new(&[]).await;
    let (digits, other) = (id("digits"), id("other"));
    let config = shown(&namespace);
    let observability = cluster(&config).await;
    let slo = |availability| Slo { availability, ..Slo::default() };
    for deployment in [&digits, &other] {
        let items = observability.show(deployment, &slo(99.0)).await.unwrap();
        let told: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(told, ["PrometheusRule", "ConfigMap"], "{items:?}");
    }
    let name = names::deployment(&digits);
    let rule = namespace.get("prometheusrule", &name).unwrap();
    assert_eq!(rule["metadata"]["labels"]["release"], "monitoring");
    let expression = |rule: &Value| rule["spec"]["groups"][0]["rules"][0]["expr"].as_str().unwrap().to_owned();

    // Another objective, another rule; what is not wanted any more goes.
    observability.show(&digits, &slo(90.0)).await.unwrap();
    assert_ne!(expression(&namespace.get("prometheusrule", &name).unwrap()), expression(&rule));
    let without = cluster(&Shown { rules: false, ..config }).await;
    without.show(&digits, &slo(90.0)).await.unwrap();
    assert_eq!(names_of(&namespace.ours("prometheusrule")), [names::deployment(&other)]);

    observability.remove(&digits).await.unwrap();
    assert_eq!(names_of(&namespace.ours("configmap")), [format!("{}-dashboard", names::deployment(&other))]);
    assert_eq!(observability.remove(&digits).await.unwrap(), [], "again is the same");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn the_controller_removes_what_is_its_own_and_not_the_part_of_another_service() {
    let world = World::new().await;
    let digits = id("digits");
    let observability = cluster(&shown(&world.namespace)).await;
    observability.show(&digits, &Slo::default()).await.unwrap();
    let keeper = world.keeper(OnDrift::PutRight).await;
    let desired = world.desired(&digits, RevisionId::new(1, 1), |_| {}).await;
    keeper.want(&digits, std::slice::from_ref(&desired));
    world.namespace.until("the controller made its own", || world.namespace.ours("configmap").len() == 3).await;
    keeper.want(&digits, &[]);
    let dashboard = format!("{}-dashboard", names::deployment(&digits));
    world
        .namespace
        .until("its own are gone", || names_of(&world.namespace.ours("configmap")) == [dashboard.as_str()])
        .await;
    observability.remove(&digits).await.unwrap();
    world.until_empty().await;
}

fn routes(namespace: &Namespace) -> Routes {
    Routes {
        enabled: true,
        namespace: Some(namespace.name.clone()),
        hostname: Some("{name}.models.example".into()),
        grpc_hostname: Some("{name}.grpc.example".into()),
        gateway: "public".into(),
        ingress_class: "some".into(),
        ..Routes::default()
    }
}

/// Says of a route what the controller of a gateway would.
fn judge(namespace: &Namespace, kind: &str, name: &str, accepted: bool) {
    let generation = namespace.get(kind, name).unwrap()["metadata"]["generation"].clone();
    let condition = |kind: &str, is: bool| {
        json!({
            "type": kind, "status": if is { "True" } else { "False" }, "reason": "NoMatchingListenerHostname", "message": "no listener",
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let parent = json!({
        "parentRef": { "name": "public" }, "controllerName": "example.dev/gateway",
        "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", true)],
    });
    let status = json!({ "status": { "parents": [parent] } }).to_string();
    namespace.run(&["patch", kind, name, "--subresource=status", "--type=merge", "--patch", &status]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_route_counts_when_its_gateway_takes_it_and_else_the_finding_says_why() {
    let namespace = Namespace::new(&[]).await;
    let digits = id("digits");
    let exposure = Exposure::open(&routes(&namespace)).await.unwrap().unwrap();
    let timeout = Duration::from_secs(2);
    let (http, grpc) = (names::deployment(&digits), format!("{}-grpc", names::deployment(&digits)));

    // Nobody is there who takes routes.
    let finding = exposure.expose(&digits, timeout).await.unwrap_err();
    assert!(
        finding.cause == Cause::Transient && finding.message.contains("does the Gateway \"public\" exist"),
        "{finding:?}"
    );
    assert_eq!(namespace.get("httproute", &http).unwrap()["spec"]["hostnames"], json!(["digits.models.example"]));

    judge(&namespace, "httproute", &http, false);
    let finding = exposure.expose(&digits, timeout).await.unwrap_err();
    assert!(
        finding.cause == Cause::Deterministic && finding.message.contains("NoMatchingListenerHostname"),
        "{finding:?}"
    );

    judge(&namespace, "httproute", &http, true);
    judge(&namespace, "grpcroute", &grpc, true);
    let (items, proofs) = exposure.expose(&digits, timeout).await.unwrap();
    assert_eq!((items.len(), proofs.len()), (2, 2), "{items:?} {proofs:?}");
    assert!(proofs[0].detail.contains("example.dev/gateway"), "{proofs:?}");

    // Without a gateway: Ingresses instead, and the routes go.
    let by_class = Exposure::open(&Routes { gateway: String::new(), ..routes(&namespace) }).await.unwrap().unwrap();
    by_class.expose(&digits, timeout).await.unwrap();
    assert_eq!(names_of(&namespace.ours("ingress")), [http.as_str(), grpc.as_str()]);
    assert!(namespace.ours("httproute").is_empty() && namespace.ours("grpcroute").is_empty());
    assert_eq!(by_class.remove(&digits).await.unwrap().len(), 2);
    assert!(namespace.ours("ingress").is_empty());
}
