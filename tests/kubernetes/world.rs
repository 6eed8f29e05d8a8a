//! A controller's target over a real broker and a real API server, told by the test what shall run.

use crate::{
    faulty::Faulty,
    kubectl::{Namespace, until},
};
use serde_json::json;
use slipway_bus::{Bus, Principal};
use slipway_controller::{
    KubernetesConfig, Telemetry,
    domain::{
        Wanted,
        manifest::{
            Model,
            kubernetes::{self, Order},
        },
    },
    target::{
        Desired, Group, Status, Target,
        kubernetes::{Kubernetes, OnDrift, Setup},
    },
};
use slipway_kernel::{
    ByteSize, CpuMillis, DeploymentId, Digest, Finding, Plan, RevisionId, Service, Span,
    spec::{Placement, Scale},
};
use slipway_runtime::TelemetryConfig;
use slipway_testkit::{NatsServer, frame};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinHandle;

/// The shortest lease there is, so that another controller need not be waited for long.
const LEASE: Span = Span::seconds(2);

/// How long a status is waited for: volumes may take two minutes before anybody gives up.
const PATIENCE: Duration = Duration::from_secs(150);

pub struct World {
    pub namespace: Namespace,
    pub nats: NatsServer,
    /// What the controller is told of the cluster.
    pub settings: KubernetesConfig,
    bus: Bus,
}

/// A replica of the controller, as far as the target goes.
pub struct Keeper {
    pub target: Arc<Kubernetes>,
    running: JoinHandle<()>,
    frame: slipway_runtime::Frame,
}

impl Keeper {
    /// Ends at once, in the middle of whatever it does.
    pub fn kill(self) {
        self.running.abort();
        self.frame.shutdown.cancel();
    }

    /// Ends in good order, and says within which time.
    pub async fn stop(self) -> Duration {
        let began = tokio::time::Instant::now();
        self.frame.shutdown.cancel();
        self.running.await.unwrap();
        began.elapsed()
    }

    /// What shall run of a deployment.
    pub fn want(&self, id: &DeploymentId, revisions: &[Desired]) {
        self.target.want(id, revisions.to_vec());
        self.target.all_told();
    }

    /// Waits until a try stands so.
    pub async fn until(&self, what: &str, group: &Group, holds: impl Fn(&Status) -> bool) {
        let told = || format!("{what}; it is {:?}", self.target.status(group));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds(&self.target.status(group)) {
            assert!(tokio::time::Instant::now() < deadline, "{}", told());
            self.target.changed(Duration::from_millis(200)).await;
        }
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with_labels(&[]).await
    }

    /// Whose controllers reach the API server through a proxy.
    pub async fn behind(faulty: &Faulty) -> Self {
        let mut world = Self::new().await;
        world.settings.kubeconfig = Some(faulty.kubeconfig().to_owned());
        world
    }

    /// With labels on the namespace.
    pub async fn with_labels(labels: &[&str]) -> Self {
        let namespace = Namespace::new(labels).await;
        namespace.run(&["create", "serviceaccount", "slipway-worker"]).unwrap();
        let nats = NatsServer::ready().await;
        let bus = nats.bus_as(Service::Controller).await;
        let settings = KubernetesConfig {
            enabled: true,
            namespace: Some(namespace.name.clone()),
            image: "localhost/slipway-worker:test".into(),
            lease: LEASE,
            ..KubernetesConfig::default()
        };
        Self { namespace, nats, settings, bus }
    }

    /// How a controller is set up.
    pub async fn setup(&self, on_drift: OnDrift) -> Setup {
        let settings = KubernetesConfig { on_drift, ..self.settings.clone() };
        let broker = self.nats.config(Principal::Operator);
        settings.setup(&broker, &TelemetryConfig::default()).await.unwrap()
    }

    /// Starts a replica.
    pub async fn keeper(&self, on_drift: OnDrift) -> Keeper {
        let frame = frame(Principal::Service(Service::Controller));
        let bus = self.nats.bus_in(Principal::Service(Service::Controller), &frame).await;
        let target = Arc::new(Kubernetes::new(self.setup(on_drift).await, bus, Telemetry::default()));
        let (kept, shutdown) = (Arc::clone(&target), frame.clone());
        let running = tokio::spawn(async move { kept.run(shutdown).await.unwrap() });
        Keeper { target, running, frame }
    }

    /// A revision as the log would tell of it, its manifests stored.
    pub async fn desired(&self, id: &DeploymentId, revision: RevisionId, change: impl FnOnce(&mut Plan)) -> Desired {
        self.placed(id, revision, &Placement::default(), change).await
    }

    /// The same for a document that says on which nodes, and with what.
    pub async fn placed(
        &self,
        id: &DeploymentId,
        revision: RevisionId,
        placement: &Placement,
        change: impl FnOnce(&mut Plan),
    ) -> Desired {
        self.scaled(id, revision, placement, Scale { max: 1, ..Scale::default() }, change).await
    }

    /// The same with as many workers as it takes.
    pub async fn scaled(
        &self,
        id: &DeploymentId,
        revision: RevisionId,
        placement: &Placement,
        scale: Scale,
        change: impl FnOnce(&mut Plan),
    ) -> Desired {
        let mut plan = Plan {
            target: "kubernetes".into(),
            platform: "slipway".into(),
            model_digest: Digest::of(b"model"),
            replicas: 1,
            cpu: CpuMillis(100),
            memory: ByteSize::mebibytes(64),
            threads: 1,
            max_batch: 8,
            max_delay: Span::millis(2),
            queue_limit: 100,
            fixed_batching: false,
            latency_target: None,
        };
        change(&mut plan);
        let cluster = self.setup(OnDrift::PutRight).await.cluster;
        let (model, cluster) = (&Model::default(), &cluster);
        let order = Order { deployment: id, revision, plan: &plan, model, scale, placement, cluster };
        let text = kubernetes::document(&order).to_string();
        let manifests = Some(self.bus.blobs().put(text, kubernetes::MEDIA_TYPE).await.unwrap());
        Desired { wanted: Wanted { revision, plan, attempt: 0, manifests }, model: Model::default() }
    }

    /// What a revision fails with.
    pub async fn fails_with(&self, change: impl FnOnce(&mut Plan)) -> Vec<Finding> {
        let id = "default.digits".parse().unwrap();
        let desired = self.desired(&id, RevisionId::new(1, 1), change).await;
        self.is_failed_by(&id, desired).await
    }

    /// What this one fails with.
    pub async fn is_failed_by(&self, id: &DeploymentId, desired: Desired) -> Vec<Finding> {
        let keeper = self.keeper(OnDrift::PutRight).await;
        keeper.want(id, std::slice::from_ref(&desired));
        let group = group(id, &desired);
        keeper.until("it fails", &group, |status| matches!(status, Status::Failed(_))).await;
        let Status::Failed(findings) = keeper.target.status(&group) else { panic!("it changed its mind") };
        findings
    }

    /// Nothing that Slipway made is left.
    pub async fn until_empty(&self) {
        for kind in [
            "deployment",
            "statefulset",
            "persistentvolumeclaim",
            "configmap",
            "service",
            "networkpolicy",
            "poddisruptionbudget",
            "pod",
        ] {
            let none = || self.namespace.ours(kind).is_empty();
            until(&format!("no {kind} is left"), Duration::from_secs(90), none).await;
        }
    }

    /// A quota, a range of limits: whatever a namespace is bounded by.
    pub fn bound(&self, kind: &str, spec: &serde_json::Value) {
        let api_version = "v1";
        self.namespace.apply(&json!({
            "apiVersion": api_version, "kind": kind, "metadata": { "name": "bound" }, "spec": spec,
        }));
    }
}

/// One try at a revision.
pub fn group(id: &DeploymentId, desired: &Desired) -> Group {
    Group { deployment: id.clone(), revision: desired.wanted.revision, attempt: desired.wanted.attempt }
}
