//! Between how many workers, and by what.
//!
//! The API server itself counts processor time only. Requests under way or waiting are counted by Prometheus, and KEDA asks it; where either is
//! missing, processor time stands for them, and the object says so.

use super::{Order, workload};
use serde_json::{Value, json};
use slipway_kernel::spec::ScaleSignal;

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
    is_wanted(order).then(|| match (order.scale.signal, &order.cluster.prometheus) {
        (ScaleSignal::Cpu, _) => horizontal(order, order.scale.target, None),
        (ScaleSignal::Concurrency, Some(server)) if order.cluster.has_keda => {
            scaled_object(order, server, "slipway_worker_requests_in_flight")
        }
        (ScaleSignal::QueueDepth, Some(server)) if order.cluster.has_keda => {
            scaled_object(order, server, "slipway_worker_queue_depth")
        }
        (ScaleSignal::Concurrency | ScaleSignal::QueueDepth, _) => {
            let why = "processor time: requests are counted only with KEDA and `kubernetes.prometheus`";
            horizontal(order, CPU_PERCENT, Some(why))
        }
    })
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

fn scaled_object(order: &Order<'_>, server: &str, series: &str) -> Value {
    let query = format!(
        r#"sum({series}{{namespace="{}",deployment="{}",revision="{}"}})"#,
        order.deployment.namespace, order.deployment.name, order.revision
    );
    json!({
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": order.metadata(&order.name()),
        "spec": {
            "scaleTargetRef": target(order),
            "minReplicaCount": order.plan.replicas,
            "maxReplicaCount": order.scale.max,
            "cooldownPeriod": STEADY_S,
            "triggers": [{
                "type": "prometheus",
                "metricType": "AverageValue",
                "metadata": { "serverAddress": server, "query": query, "threshold": order.scale.target.to_string() },
            }],
        },
    })
}

fn target(order: &Order<'_>) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": workload::kind(order), "name": order.name() })
}
