//! The manifests of a revision on Kubernetes, one kind a file, as data: what the API server is sent is what stands in the blob, and what
//! `kubectl apply` or a GitOps repository would take.
//!
//! A revision never changes: its objects bear its name, the settings of its workers are named by their content. What differs from one try, or
//! from one keeper of the workers, to the next (the owner, the attempt, the fencing token) is no part of it; the target adds it.

mod anchor;
mod autoscaler;
mod claim;
mod deployment;
mod disruption;
mod network;
mod placement;
mod pod;
mod server;
mod service;
mod settings;
mod stateful_set;
mod workload;

pub use anchor::anchor;
pub use server::SERVER;

use super::Model;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slipway_kernel::{
    DeploymentId, Plan, RevisionId, Span, names,
    spec::{Placement, Scale},
};
use std::collections::BTreeMap;

/// The media type of the document.
pub const MEDIA_TYPE: &str = "application/vnd.slipway.kubernetes.v1+json";
/// Where a worker takes requests.
pub const WORKER_PORT: u16 = 8443;
/// Where its health and metrics are.
pub const ADMIN_PORT: u16 = 9091;
/// The name of the container.
pub const CONTAINER: &str = "worker";
/// The annotation of a pod with the fencing token under which it was started.
pub const TOKEN: &str = "slipway.dev/token";
/// The label of a pod with the try it belongs to.
pub const ATTEMPT: &str = "slipway.dev/attempt";

/// What all workers of an installation have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Which installation of Slipway: what it made bears this name, and nothing else is ever touched.
    pub installation: String,
    /// The namespace of the workers.
    pub namespace: String,
    /// The namespace of Slipway's own services, which are let in.
    pub services_namespace: String,
    /// The worker's image.
    pub image: String,
    /// When it is pulled: `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: String,
    /// Secrets with the credentials of its registry.
    pub image_pull_secrets: Vec<String>,
    /// The service account of workers. It needs no rights: workers never talk to the API server.
    pub service_account: String,
    /// The Secret with the workers' key of the broker, `inference-worker.nk` in it.
    pub key_secret: String,
    /// The ConfigMap with the authority that vouches for the broker, `ca.crt` in it; none for a broker without TLS.
    pub ca_config_map: Option<String>,
    /// The broker as workers reach it.
    pub broker_url: String,
    /// Ports outside the namespace that workers need: the broker's, and that of traces.
    pub egress_ports: Vec<u16>,
    /// Logs and traces, as under `[common.telemetry]`.
    pub telemetry: Value,
    /// How long a worker may finish what it has.
    pub drain: Span,
    /// How long a worker may take until it is ready before the kubelet starts it anew.
    pub start_within: Span,
    /// The Prometheus that scaling by requests asks; with KEDA only.
    pub prometheus: Option<String>,
    /// Where KEDA reads how many requests wait in queues; with KEDA only.
    pub queues: Option<Queues>,
    /// Annotations of every worker's pod.
    pub pod_annotations: BTreeMap<String, String>,
    /// Whether the cluster serves KEDA's `ScaledObject`.
    pub has_keda: bool,
}

/// Where KEDA reads how many requests wait in the queue of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queues {
    /// `host:port` of the broker's monitoring.
    pub monitor: String,
    /// The stream of all queues.
    pub stream: String,
}

/// A revision to be rendered.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Whose.
    pub deployment: &'a DeploymentId,
    /// Which.
    pub revision: RevisionId,
    /// How.
    pub plan: &'a Plan,
    /// What workers must know of the model.
    pub model: &'a Model,
    /// How many workers there may be.
    pub scale: Scale,
    /// On which nodes, and with what.
    pub placement: &'a Placement,
    /// Where.
    pub cluster: &'a Cluster,
}

impl Order<'_> {
    fn name(&self) -> String {
        names::revision(self.deployment, self.revision)
    }

    /// What tells the pods of this revision from all others.
    fn selector(&self) -> Value {
        json!({
            "slipway.dev/installation": self.cluster.installation,
            "slipway.dev/deployment": names::label(self.deployment),
            "slipway.dev/revision": self.revision.to_string(),
        })
    }

    fn metadata(&self, name: &str) -> Value {
        let mut labels = self.selector();
        add_common(&mut labels);
        json!({
            "name": name,
            "namespace": self.cluster.namespace,
            "labels": labels,
            "annotations": { "slipway.dev/plan": self.plan.digest().to_string() },
        })
    }
}

/// The labels that tools look for.
fn add_common(labels: &mut Value) {
    labels["app.kubernetes.io/managed-by"] = "slipway".into();
    labels["app.kubernetes.io/name"] = "slipway-worker".into();
    labels["app.kubernetes.io/component"] = "inference-worker".into();
}

/// The document: a list, in the order in which its items are to be made.
#[must_use]
pub fn document(order: &Order<'_>) -> Value {
    let settings = settings::config_map(order);
    let settings_name = settings["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let items: Vec<Value> = [
        Some(settings),
        Some(network::policy(order)),
        Some(service::headless(order)),
        Some(workload::workload(order, &settings_name)),
        disruption::budget(order),
        autoscaler::autoscaler(order),
    ]
    .into_iter()
    .flatten()
    .collect();
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        manifest::Server,
        scenario::{id, plan},
    };
    use slipway_kernel::{
        ModelFormat, TensorSpec,
        spec::{Gpu, ModelSignature, ScaleSignal},
    };

    pub(super) fn cluster() -> Cluster {
        Cluster {
            installation: "slipway".into(),
            namespace: "models".into(),
            services_namespace: "slipway".into(),
            image: "registry.example/slipway-worker:0.1.0".into(),
            image_pull_policy: "IfNotPresent".into(),
            image_pull_secrets: vec!["registry".into()],
            service_account: "slipway-worker".into(),
            key_secret: "slipway-key-inference-worker".into(),
            ca_config_map: Some("slipway-broker-ca".into()),
            broker_url: "tls://slipway-nats.slipway:4222".into(),
            egress_ports: vec![4222],
            telemetry: json!({ "filter": "info" }),
            drain: Span::seconds(10),
            start_within: Span::seconds(600),
            prometheus: None,
            queues: None,
            pod_annotations: BTreeMap::from([("prometheus.io/scrape".into(), "true".into())]),
            has_keda: false,
        }
    }

    fn rendered(replicas: u32, scale: Scale, model: &Model, cluster: &Cluster) -> Value {
        made(replicas, scale, model, json!({}), cluster)
    }

    /// Two workers that never become more, each with a GPU.
    fn placed(placement: Value) -> Value {
        let scale = Scale { min: 2, max: 2, ..Scale::default() };
        made(2, scale, &Model { gpu: Gpu::Required, ..Model::default() }, placement, &cluster())
    }

    fn made(replicas: u32, scale: Scale, model: &Model, placement: Value, cluster: &Cluster) -> Value {
        let plan = Plan { target: "kubernetes".into(), replicas, ..plan() };
        let (id, placement) = (id(), serde_json::from_value(placement).unwrap());
        let (revision, placement) = (RevisionId::new(2, 1), &placement);
        document(&Order { deployment: &id, revision, plan: &plan, model, scale, placement, cluster })
    }

    fn pod<'a>(document: &'a Value, kind: &str) -> &'a Value {
        &item(document, kind)["spec"]["template"]["spec"]
    }

    fn kinds(document: &Value) -> Vec<&str> {
        document["items"].as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect()
    }

    fn item<'a>(document: &'a Value, kind: &str) -> &'a Value {
        document["items"].as_array().unwrap().iter().find(|item| item["kind"] == kind).unwrap()
    }

    #[test]
    fn one_worker_that_never_becomes_two_needs_neither_budget_nor_scaler() {
        let scale = Scale { min: 1, max: 1, ..Scale::default() };
        let document = rendered(1, scale, &Model::default(), &cluster());
        assert_eq!(kinds(&document), ["ConfigMap", "NetworkPolicy", "Service", "Deployment"]);
        assert_eq!(item(&document, "Deployment")["spec"]["replicas"], 1);
    }

    #[test]
    fn where_a_scaler_decides_the_number_nobody_else_states_it() {
        let document = rendered(2, Scale::default(), &Model::default(), &cluster());
        let all =
            ["ConfigMap", "NetworkPolicy", "Service", "Deployment", "PodDisruptionBudget", "HorizontalPodAutoscaler"];
        assert_eq!(kinds(&document), all);
        assert!(item(&document, "Deployment")["spec"].get("replicas").is_none());
        let scaler = &item(&document, "HorizontalPodAutoscaler")["spec"];
        assert_eq!((scaler["minReplicas"].as_u64(), scaler["maxReplicas"].as_u64()), (Some(2), Some(4)));
    }

    #[test]
    fn requests_under_way_scale_only_where_somebody_counts_them() {
        let scale = Scale { signal: ScaleSignal::Concurrency, target: 8, ..Scale::default() };
        let counted = Cluster { has_keda: true, prometheus: Some("http://prometheus:9090".into()), ..cluster() };
        let document = rendered(1, scale, &Model::default(), &counted);
        let trigger = &item(&document, "ScaledObject")["spec"]["triggers"][0];
        assert_eq!(trigger["metadata"]["threshold"], "8");
        assert!(trigger["metadata"]["query"].as_str().unwrap().contains(r#"revision="2-1""#));
        let document = rendered(1, scale, &Model::default(), &cluster());
        let scaler = item(&document, "HorizontalPodAutoscaler");
        assert_eq!(scaler["spec"]["metrics"][0]["resource"]["name"], "cpu");
        assert!(scaler["metadata"]["annotations"]["slipway.dev/scaled-by"].as_str().unwrap().contains("KEDA"));
    }

    #[test]
    fn requests_that_wait_are_counted_where_they_wait_at_the_broker_and_in_workers() {
        let scale = Scale { signal: ScaleSignal::QueueDepth, target: 20, ..Scale::default() };
        let queues = Queues { monitor: "nats.slipway.svc:8222".into(), stream: "REQUESTS".into() };
        let cluster = Cluster { has_keda: true, queues: Some(queues), ..cluster() };
        let document = rendered(1, scale, &Model::default(), &cluster);
        let triggers = &item(&document, "ScaledObject")["spec"]["triggers"];
        assert_eq!(triggers.as_array().unwrap().len(), 1, "nobody counts those in workers");
        let lag = &triggers[0]["metadata"];
        assert_eq!(
            (&lag["consumer"], &lag["lagThreshold"]),
            (&json!(names::queue(&id(), RevisionId::new(2, 1))), &json!("20"))
        );
        let both = Cluster { prometheus: Some("http://prometheus:9090".into()), ..cluster };
        let document = rendered(1, scale, &Model::default(), &both);
        let triggers = item(&document, "ScaledObject")["spec"]["triggers"].as_array().unwrap();
        assert_eq!(triggers.iter().map(|one| &one["type"]).collect::<Vec<_>>(), ["nats-jetstream", "prometheus"]);
    }

    #[test]
    fn a_gpu_is_asked_for_only_where_nothing_else_will_do() {
        for (gpu, wanted) in [(Gpu::Required, Some("1")), (Gpu::Optional, None), (Gpu::None, None)] {
            let document = rendered(1, Scale::default(), &Model { gpu, ..Model::default() }, &cluster());
            let limits =
                &item(&document, "Deployment")["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"];
            assert_eq!(limits.get("nvidia.com/gpu").and_then(Value::as_str), wanted, "{gpu:?}");
        }
    }

    #[test]
    fn pods_are_spread_over_nodes_unless_the_document_says_otherwise() {
        let keys = |placement: Value| {
            let document = placed(placement);
            let all = pod(&document, "Deployment")["topologySpreadConstraints"].as_array().cloned().unwrap_or_default();
            all.iter().map(|one| one["topologyKey"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(keys(json!({})), ["kubernetes.io/hostname"]);
        assert_eq!(keys(json!({ "spread": "zone" })), ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]);
        assert_eq!(keys(json!({ "spread": "none" })), [""; 0]);
    }

    #[test]
    fn what_must_hold_of_a_node_is_one_term_and_what_had_better_hold_counts_by_itself() {
        let document = placed(json!({ "nodeAffinity": [
            { "key": "gpu", "operator": "In", "values": ["a100"] },
            { "key": "spot", "operator": "DoesNotExist" },
            { "key": "cores", "operator": "Gt", "values": ["7"], "weight": 5 },
        ] }));
        let node = &pod(&document, "Deployment")["affinity"]["nodeAffinity"];
        let required = &node["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
        assert_eq!(required.as_array().unwrap().len(), 1);
        let spot = json!({ "key": "spot", "operator": "DoesNotExist" });
        assert_eq!(
            (required[0]["matchExpressions"].as_array().unwrap().len(), &required[0]["matchExpressions"][1]),
            (2, &spot)
        );
        let preferred = &node["preferredDuringSchedulingIgnoredDuringExecution"][0];
        assert_eq!(
            (&preferred["weight"], &preferred["preference"]["matchExpressions"][0]["key"]),
            (&json!(5), &json!("cores"))
        );
        assert!(pod(&placed(json!({})), "Deployment").get("affinity").is_none());
    }

    #[test]
    fn a_model_server_has_what_the_plan_gives_and_the_worker_beside_it_what_it_takes_to_hand_over() {
        let server =
            Server { platform: "triton".into(), image: "triton:1".into(), model_bytes: 1 << 30, signature: None };
        let model = Model { gpu: Gpu::Required, server: Some(server), ..Model::default() };
        let document = rendered(1, Scale::default(), &model, &cluster());
        let pod = pod(&document, "Deployment");
        let [worker, server] = pod["containers"].as_array().unwrap().as_slice() else { panic!("two containers") };
        let limit = |container: &Value, name: &str| container["resources"]["limits"][name].as_str().map(str::to_owned);
        assert_eq!((limit(server, "nvidia.com/gpu").as_deref(), limit(worker, "nvidia.com/gpu")), (Some("1"), None));
        assert_eq!(limit(server, "memory"), Some((576_u64 << 20).to_string()), "the plan's, and an eighth");
        assert_eq!(limit(worker, "memory"), Some((1_440_u64 << 20).to_string()), "the file, 256 MiB, and an eighth");
        assert_eq!(server["image"], "triton:1");
        let settings = item(&document, "ConfigMap")["data"]["worker.toml"].as_str().unwrap();
        assert!(settings.contains("[worker.server]") && settings.contains("kind = \"triton\""), "{settings}");
        assert!(settings.contains("memory = \"1280Mi\"") && settings.contains("device = \"cuda\""), "{settings}");
        let mounted = |container: &Value| container["volumeMounts"].to_string().contains("/models");
        assert!(mounted(worker) && mounted(server));
    }

    #[test]
    fn a_container_of_ones_own_is_told_where_the_model_is_and_started_as_its_image_says() {
        let image = format!("registry.example/own@sha256:{}", "a".repeat(64));
        let server =
            Server { platform: "container".into(), image: image.clone(), model_bytes: 1 << 20, signature: None };
        let model = Model { format: ModelFormat::Other, server: Some(server), ..Model::default() };
        let document = rendered(1, Scale::default(), &model, &cluster());
        let server = &pod(&document, "Deployment")["containers"][1];
        assert_eq!(server["image"], image);
        assert_eq!(server["env"], json!([{ "name": "SLIPWAY_MODEL_FILE", "value": "/models/model" }]));
        assert!(["command", "args", "ports", "livenessProbe"].iter().all(|key| server.get(key).is_none()), "{server}");
        let settings = item(&document, "ConfigMap")["data"]["worker.toml"].as_str().unwrap();
        for line in ["kind = \"open-inference\"", "file = \"/models/model\"", "model_format = \"other\""] {
            assert!(settings.contains(line), "{line}: {settings}");
        }
    }

    #[test]
    fn tensorflow_serving_waits_for_the_model_that_the_worker_lays() {
        let server = Server {
            platform: "tensorflow-serving".into(),
            image: "serving:1".into(),
            model_bytes: 1,
            signature: None,
        };
        let model = Model { format: ModelFormat::SavedModel, server: Some(server), ..Model::default() };
        let document = rendered(1, Scale::default(), &model, &cluster());
        let server = &pod(&document, "Deployment")["containers"][1];
        let arguments = server["args"].to_string();
        assert!(
            arguments.contains("--model_base_path=/models/model") && arguments.contains("--port=8001"),
            "{arguments}"
        );
        assert_eq!(server["startupProbe"]["httpGet"]["path"], "/v1/models/model");
        let settings = item(&document, "ConfigMap")["data"]["worker.toml"].as_str().unwrap();
        assert!(settings.contains("kind = \"tensorflow-serving\""), "{settings}");
    }

    #[test]
    fn triton_is_told_what_torchscript_takes_and_gives() {
        let tensor = |name: &str| TensorSpec { name: name.into(), datatype: "FP32".into(), shape: vec![-1, 4] };
        let signature = ModelSignature { inputs: vec![tensor("x")], outputs: vec![tensor("y__0")] };
        let server =
            Server { platform: "triton".into(), image: "triton:1".into(), model_bytes: 1, signature: Some(signature) };
        let model = Model { format: ModelFormat::Torchscript, server: Some(server), ..Model::default() };
        let document = rendered(1, Scale::default(), &model, &cluster());
        let settings = item(&document, "ConfigMap")["data"]["worker.toml"].as_str().unwrap();
        let settings: toml::Table = settings.parse().unwrap();
        assert_eq!(settings["worker"]["server"]["outputs"][0]["name"].as_str(), Some("y__0"));
    }

    #[test]
    fn a_part_of_a_gpu_is_asked_for_instead_of_a_whole_one() {
        let document = placed(json!({ "gpuProfile": "1g.5gb" }));
        let limits = &pod(&document, "Deployment")["containers"][0]["resources"]["limits"];
        assert_eq!((&limits["nvidia.com/mig-1g.5gb"], limits.get("nvidia.com/gpu")), (&json!("1"), None));
    }

    #[test]
    fn workers_with_a_volume_are_a_stateful_set_that_a_scaler_finds() {
        let storage = json!({ "storage": { "size": "10Gi" } });
        let document = placed(storage.clone());
        assert_eq!(kinds(&document), ["ConfigMap", "NetworkPolicy", "Service", "StatefulSet", "PodDisruptionBudget"]);
        let set = item(&document, "StatefulSet");
        assert_eq!(set["spec"]["serviceName"], item(&document, "Service")["metadata"]["name"]);
        let claim = &set["spec"]["volumeClaimTemplates"][0];
        assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "10Gi");
        assert!(claim["spec"].get("storageClassName").is_none(), "the cluster's default");
        let mounts = pod(&document, "StatefulSet")["containers"][0]["volumeMounts"].as_array().unwrap();
        let mounted = mounts.iter().find(|mount| mount["name"] == claim["metadata"]["name"]).unwrap();
        assert_eq!(mounted["mountPath"], "/var/lib/slipway/artifacts");
        let growing = made(1, Scale::default(), &Model::default(), storage, &cluster());
        assert_eq!(item(&growing, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["kind"], "StatefulSet");
        assert!(item(&growing, "StatefulSet")["spec"].get("replicas").is_none());
    }

    #[test]
    fn a_lost_node_is_waited_for_as_long_as_the_document_says_or_half_a_minute() {
        let waits = |placement: Value| {
            let document = placed(placement);
            let all = pod(&document, "Deployment")["tolerations"].as_array().unwrap().clone();
            let one = |one: &Value| format!("{} {}", one["key"].as_str().unwrap_or("any"), one["tolerationSeconds"]);
            all.iter().map(one).collect::<Vec<_>>()
        };
        let (not_ready, unreachable) = ("node.kubernetes.io/not-ready 30", "node.kubernetes.io/unreachable 30");
        assert_eq!(waits(json!({})), [not_ready, unreachable]);
        let own = json!({ "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute" });
        assert_eq!(waits(json!({ "tolerations": [own] })), ["node.kubernetes.io/unreachable null", not_ready]);
        assert_eq!(waits(json!({ "tolerations": [{ "operator": "Exists" }] })), ["any null"]);
    }

    #[test]
    fn other_settings_are_another_object() {
        let name = |cluster: &Cluster| {
            let document = rendered(1, Scale::default(), &Model::default(), cluster);
            item(&document, "ConfigMap")["metadata"]["name"].as_str().unwrap().to_owned()
        };
        let other = Cluster { broker_url: "tls://elsewhere:4222".into(), ..cluster() };
        assert_ne!(name(&cluster()), name(&other));
        assert_eq!(name(&cluster()), name(&cluster()));
    }

    /// Compares with a file beside the tests, or writes it.
    fn golden(file: &str, document: &Value) {
        let text = serde_json::to_string_pretty(document).unwrap() + "\n";
        let path = format!("{}/tests/{file}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "UPDATE_GOLDEN=1 writes it anew");
    }

    #[test]
    fn the_golden_files_show_what_is_made() {
        let scale = Scale { min: 2, max: 4, signal: ScaleSignal::Cpu, target: 70 };
        golden("kubernetes.json", &rendered(2, scale, &Model::default(), &cluster()));
        let document = placed(json!({
            "nodeSelector": { "node.kubernetes.io/instance-type": "p4d.24xlarge" },
            "nodeAffinity": [
                { "key": "topology.kubernetes.io/zone", "operator": "In", "values": ["eu-1a", "eu-1b"] },
                { "key": "spot", "operator": "DoesNotExist", "weight": 50 },
            ],
            "tolerations": [
                { "key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule" },
                { "key": "reserved", "value": "models", "effect": "NoExecute", "tolerationSeconds": 3600 },
            ],
            "spread": "zone",
            "priorityClass": "models",
            "gpuProfile": "1g.5gb",
            "storage": { "size": "10Gi", "class": "fast-ssd", "mode": "ReadWriteOncePod" },
        }));
        golden("kubernetes-placed.json", &document);
        // By its digest, as security wants it.
        let image = format!("registry.example/triton@sha256:{}", "a".repeat(64));
        let server = Server { platform: "triton".into(), image, model_bytes: 48 << 20, signature: None };
        let model = Model { gpu: Gpu::Required, server: Some(server), ..Model::default() };
        golden("kubernetes-triton.json", &rendered(1, Scale { min: 1, max: 1, ..scale }, &model, &cluster()));
    }
}
