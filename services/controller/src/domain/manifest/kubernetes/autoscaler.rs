//! Between how many workers, and by what.
//!
//! The API server itself counts processor time only. Requests under way or waiting in workers are counted by Prometheus, those that wait in the
//! queue of the revision by the broker, and KEDA asks both; where nobody counts, processor time stands for them, and the object says so.

use super::{Order, workload};
use serde_json::{Value, json};
use slipway_kernel::{names, spec::ScaleSignal};

/// Use of processor time that one worker should have where requests cannot be counted: what is above it queues.
const CPU_PERCENT: u32 = 80;
/// How long a smaller number must have been enough: a worker that is started anew loads and measures its model first.
const STEADY_S: u32 = 120;

/// Whether the number of workers is the scaler's to decide.
pub(super) fn is_wanted(order: &Order<'_>) -> bool {
    order.scale.max > order.plan.replicas
}

/// The object, if one is wanted.
pub(super) fn autoscaler(order: &Order<'_>) -> Option<Value> {
    is_wanted(order).then(|| {
        if order.scale.signal == ScaleSignal::Cpu {
            return horizontal(order, order.scale.target, None);
        }
        let triggers = triggers(order);
        if order.cluster.has_keda && !triggers.is_empty() {
            return scaled_object(order, &triggers);
        }
        let why = "processor time: requests are counted only with KEDA, and `kubernetes.prometheus` or `kubernetes.broker_monitor`";
        horizontal(order, CPU_PERCENT, Some(why))
    })
}

/// Who counts the requests. Of several triggers the one that wants most workers decides.
fn triggers(order: &Order<'_>) -> Vec<Value> {
    let (cluster, target) = (order.cluster, order.scale.target.to_string());
    let counted = |series: &str| {
        let (namespace, name) = (&order.deployment.namespace, &order.deployment.name);
        let revision = order.revision;
        let query = format!(r#"sum({series}{{namespace="{namespace}",deployment="{name}",revision="{revision}"}})"#);
        cluster.prometheus.as_ref().map(|server| {
            json!({
                "type": "prometheus",
                "metricType": "AverageValue",
                "metadata": { "serverAddress": server, "query": query, "threshold": target },
            })
        })
    };
    let left = || {
        cluster.queues.as_ref().map(|queues| {
            json!({
                "type": "nats-jetstream",
                "metadata": {
                    "natsServerMonitoringEndpoint": queues.monitor,
                    "account": "$G",
                    "stream": queues.stream,
                    "consumer": names::queue(order.deployment, order.revision),
                    "lagThreshold": target,
                },
            })
        })
    };
    match order.scale.signal {
        ScaleSignal::Cpu => Vec::new(),
        ScaleSignal::Concurrency => counted("slipway_worker_requests_in_flight").into_iter().collect(),
        ScaleSignal::QueueDepth => left().into_iter().chain(counted("slipway_worker_queue_depth")).collect(),
    }
}

fn horizontal(order: &Order<'_>, percent: u32, why: Option<&str>) -> Value {
    let mut metadata = order.metadata(&order.name());
    if let Some(why) = why {
        metadata["annotations"]["slipway.dev/scaled-by"] = why.into();
    }
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": target(order),
            "minReplicas": order.plan.replicas,
            "maxReplicas": order.scale.max,
            "metrics": [{
                "type": "Resource",
                "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": percent } },
            }],
            "behavior": { "scaleDown": { "stabilizationWindowSeconds": STEADY_S } },
        },
    })
}

fn scaled_object(order: &Order<'_>, triggers: &[Value]) -> Value {
    json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": order.metadata(&order.name()),
        "spec": {
            "scaleTargetRef": target(order),
            "minReplicaCount": order.plan.replicas,
            "maxReplicaCount": order.scale.max,
            "cooldownPeriod": STEADY_S,
            "triggers": triggers,
        },
    })
}

fn target(order: &Order<'_>) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": workload::kind(order), "name": order.name() })
}
