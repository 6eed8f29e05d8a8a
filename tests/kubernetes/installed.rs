//! Slipway as its chart installs it: the images, Secrets, rights and Services that a user gets.

use crate::kubectl::{Namespace, kubectl, until};
use serde_json::Value;
use slipway_testkit::{DataFolder, Postgres};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};

/// The name of the release.
pub const RELEASE: &str = "slipway";
/// The chart.
pub const CHART: &str = "charts/slipway";
/// How long an installation may take to be ready: longer than it should, so that what is wrong is said by `kubectl` and not by the clock.
const READY: Duration = Duration::from_secs(180);

/// An installation in a namespace of its own, with a database outside of the cluster.
pub struct Installed {
    pub namespace: Namespace,
    pub folder: DataFolder,
    pub postgres: Postgres,
    /// From the call of `helm install` to the moment at which every pod is ready.
    pub ready_in: Duration,
    /// One at a time: the node has room for no more, and each measures.
    _alone: MutexGuard<'static, ()>,
}

impl Installed {
    /// Installs it, and connects the data folder to it.
    pub async fn new() -> Self {
        Self::with(CHART, &[]).await
    }

    /// The same from another chart, or with more values (`key=value`).
    pub async fn with(chart: &str, values: &[&str]) -> Self {
        static ALONE: Mutex<()> = Mutex::const_new(());
        let alone = ALONE.lock().await;
        let namespace = Namespace::new(&["pod-security.kubernetes.io/enforce=restricted"]).await;
        let postgres = Postgres::start().await;
        let host = std::env::var("SLIPWAY_HOST_ADDRESS").expect("the runner says where pods reach this machine");
        let url = format!("url={}", postgres.url().replace("127.0.0.1", &host));
        namespace.run(&["create", "secret", "generic", "database", "--from-literal", &url]).unwrap();
        let began = Instant::now();
        let folder = DataFolder::new();
        let mut this = Self { namespace, folder, postgres, ready_in: Duration::ZERO, _alone: alone };
        let names = format!("nats.tls.names={{{}}}", node_address());
        let values = [values, &[names.as_str()]].concat();
        let flags: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
        install(&this.namespace, chart, &flags).unwrap();
        until("every pod is ready", READY, || this.waits_for().is_empty()).await;
        this.ready_in = began.elapsed();
        let namespace = this.namespace.name.clone();
        this.folder.cli(["connect", "--kube-namespace", &namespace]).await.ok();
        this
    }

    /// Deployments, StatefulSets and Jobs that are not what they shall be.
    pub fn waits_for(&self) -> Vec<String> {
        let all = self.namespace.run(&["get", "deployments,statefulsets,jobs", "--output", "json"]).unwrap();
        let all: Value = serde_json::from_str(&all).unwrap();
        let objects = all["items"].as_array().unwrap().iter();
        let stands = |object: &&Value| match object["kind"].as_str().unwrap() {
            "Job" => object["status"]["succeeded"] == 1,
            _ => {
                object["status"]["observedGeneration"] == object["metadata"]["generation"]
                    && object["status"]["updatedReplicas"] == object["spec"]["replicas"]
                    && object["status"]["readyReplicas"] == object["spec"]["replicas"]
            }
        };
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        objects.filter(|object| !stands(object)).map(name).collect()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
    }
}

impl Installed {
    /// What one would ask for when something went wrong.
    fn tell(&self) {
        println!("--- waits for: {:?}", self.waits_for());
        for question in [
            ["get", "pods", "--output=wide"].as_slice(),
            &["get", "events", "--field-selector=type=Warning"],
            &["logs", "--selector=app.kubernetes.io/instance=slipway", "--all-containers", "--tail=15", "--prefix"],
            &["logs", "--selector=slipway.dev/installation", "--all-containers", "--tail=15", "--prefix"],
        ] {
            let told = self.namespace.run(question).unwrap_or_else(|error| error);
            println!("--- kubectl {}\n{told}", question.join(" "));
        }
    }
}

/// `helm install`, and whatever it printed or complained of.
pub fn install(namespace: &Namespace, chart: &str, more: &[&str]) -> Result<String, String> {
    let install = ["install", RELEASE, chart, "--values", "tests/kubernetes/values.yaml"];
    namespace.helm(&[&install, more].concat())
}

/// Where the node is reached.
fn node_address() -> String {
    let path = r#"{.items[0].status.addresses[?(@.type=="InternalIP")].address}"#;
    kubectl(&["get", "nodes", "--output", &format!("jsonpath={path}")]).unwrap()
}
