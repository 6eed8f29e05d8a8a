//! The `kubernetes` target: the cluster is looked at, and judged ready or not ([`cluster`]). Nothing is made in it: what workers need there, the
//! controller makes with them.

mod ask;

use crate::{
    config::KubernetesConfig,
    domain::cluster::{
        self, Looked, Needs, Settings, Unanswered,
        access::{self, Need, Who},
        node,
    },
};
use ask::Api;
use futures::StreamExt as _;
use serde_json::Value;
use slipway_cluster::Cluster;
use slipway_kernel::{Finding, FindingKind, GpuFacts, spec::Placement};
use std::fmt;

/// Reviews that are asked for at the same time: enough that four dozen take as long as six, few enough not to be held back as a flood.
const REVIEWS_AT_ONCE: usize = 8;

/// Where all nodes are.
const NODES: &str = "/api/v1/nodes";
const STORAGE_CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";

/// Looks at the cluster as it is now.
async fn look(config: &KubernetesConfig) -> Result<Looked, Finding> {
    let found = slipway_cluster::connect(config.kubeconfig.as_deref(), None).await.map_err(|error| unknown(&error))?;
    let namespace = config.namespace.clone().unwrap_or_else(|| found.namespace.clone());
    let api = Api::new(found.client.clone());
    let at = |kind: &str| format!("/api/v1/namespaces/{namespace}/{kind}");
    let (own, quotas, ranges) = (format!("/api/v1/namespaces/{namespace}"), at("resourcequotas"), at("limitranges"));
    let (who, reviews) = whose(config, &found);
    let (version, space, nodes, (pods, other_pods), quotas, limit_ranges, storage_classes, groups, access) = tokio::join!(
        api.get("/version"),
        api.get(&own),
        api.list(NODES, "", node::essence),
        pods(&api, &namespace),
        api.list(&quotas, "", Value::clone),
        api.list(&ranges, "", Value::clone),
        api.list(STORAGE_CLASSES, "", Value::clone),
        api.get("/apis"),
        review(&api, reviews, &namespace),
    );
    Ok(Looked {
        namespace_name: namespace.clone(),
        who,
        version,
        namespace: space,
        nodes,
        pods,
        other_pods,
        quotas,
        limit_ranges,
        storage_classes,
        groups,
        access,
    })
}

/// The GPUs that workers can be given there on nodes that they may be on; none are known where nodes cannot be looked at.
///
/// # Errors
/// The finding, when it is not known which cluster, or how to get there.
pub async fn gpus(config: &KubernetesConfig, placement: &Placement) -> Result<Option<Vec<GpuFacts>>, Finding> {
    let found = slipway_cluster::connect(config.kubeconfig.as_deref(), None).await.map_err(|error| unknown(&error))?;
    let nodes = Api::new(found.client).list(NODES, "", node::essence).await;
    Ok(nodes.ok().map(|nodes| cluster::gpus(&nodes, placement, &settings(config))))
}

/// What the operator says of the cluster, for the judgement.
fn settings(config: &KubernetesConfig) -> Settings {
    Settings {
        tolerated_taints: config.tolerated_taints.clone(),
        autoscaler: config.autoscaler,
        engines: config.engines.clone(),
    }
}

/// Whether the cluster is ready for these workers, with what it has and a proof for each part.
///
/// # Errors
/// The findings; never empty.
pub async fn prepare(config: &KubernetesConfig, needs: &Needs) -> Result<crate::effects::Prepared, Vec<Finding>> {
    let looked = look(config).await.map_err(|finding| vec![finding])?;
    let (machine, proofs) = cluster::judge(&looked, needs, &settings(config))?;
    Ok(crate::effects::Prepared { machine, proofs })
}

/// The pods of all namespaces; where those may not be seen, those of our own, and why.
async fn pods(api: &Api, namespace: &str) -> (Result<Value, Unanswered>, Option<Unanswered>) {
    // Pods that have ended ask for nothing.
    const ALIVE: &str = "status.phase!=Succeeded,status.phase!=Failed";
    match api.list("/api/v1/pods", ALIVE, node::essence).await {
        Err(Unanswered::Forbidden(why)) => {
            let own = format!("/api/v1/namespaces/{namespace}/pods");
            (api.list(&own, ALIVE, node::essence).await, Some(Unanswered::Forbidden(why)))
        }
        all => (all, None),
    }
}

/// Whose rights are looked at: for a person, and for the question.
fn whose<'a>(config: &'a KubernetesConfig, found: &Cluster) -> (String, Option<Who<'a>>) {
    match &config.controller {
        Some(user) => (format!("the controller (`{user}`)"), Some(Who::Other(user))),
        None if found.is_own => ("the controller (unnamed in kubernetes.controller)".to_owned(), None),
        // One kubeconfig, for the controller and for us.
        None => ("this user".to_owned(), Some(Who::Self_)),
    }
}

async fn review(api: &Api, who: Option<Who<'_>>, namespace: &str) -> Vec<(Need, Result<Value, Unanswered>)> {
    let Some(who) = who else { return Vec::new() };
    let asked = access::needs().into_iter().map(|need| async move {
        let (path, question) = need.review(who, namespace);
        (need, api.post(&path, &question).await)
    });
    futures::stream::iter(asked).buffered(REVIEWS_AT_ONCE).collect().await
}

fn unknown(error: &dyn fmt::Display) -> Finding {
    Finding::deterministic(FindingKind::Misconfigured, format!("the cluster cannot be looked at: {error}"))
        .with_evidence("kubernetes.kubeconfig")
}
