//! The world as the provisioner touches it: looking around, making a place ready, cleaning up. A bench or test puts a
//! simulated one in its place.

use crate::{
    config::{Config, PriceTableError},
    domain::{
        cluster::Needs,
        prices::Prices,
        stack::{Chosen, variables},
        surroundings::{ClusterGpus, OwnPlace, Surroundings, name},
    },
    kubernetes,
    local::{self, NotReady, Order},
    machine::{self, reach},
    stack::{Cloud, Hears, Stacks},
};
use async_trait::async_trait;
use serde_json::{Map, Value};
use slipway_kernel::{
    Cause, Finding, FindingKind, Item, MachineFacts, Proof, Span,
    spec::{Placement, Target},
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// How often it is looked whether the nodes of a new pool have come: a machine takes one to five minutes.
const NODES_COME: Duration = Duration::from_secs(5);

/// What a place that is ready has.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The machine as it was found.
    pub machine: MachineFacts,
    /// A proof for each part.
    pub proofs: Vec<Proof>,
}

/// The world.
#[async_trait]
pub trait Effects: Send + Sync + 'static {
    /// What is there to choose from, for workers that are placed so.
    async fn surroundings(&self, placement: &Placement) -> Surroundings;

    /// The targets that can be made ready here.
    fn executors(&self) -> Vec<Target>;

    /// Makes a target ready, one of [`Self::executors`].
    async fn prepare(&self, target: Target, order: &Order, hears: &dyn Hears) -> Result<Prepared, NotReady>;

    /// Removes what was made for a deployment: on this machine, and in clouds that were chosen for it.
    async fn remove(&self, order: &Order, clouds: &[Chosen], hears: &dyn Hears) -> Result<Vec<Item>, NotReady>;

    /// What would have to be done for a deployment's stack to be again what it was made; empty: nothing.
    async fn drifted(&self, order: &Order) -> Result<Vec<String>, NotReady>;
}

/// The real world: this machine, and the cluster in reach.
#[derive(Clone)]
pub struct Installation {
    config: Arc<Config>,
    prices: Arc<Prices>,
    data_dir: PathBuf,
    stacks: Option<Arc<Stacks>>,
}

impl Installation {
    /// This machine, with its data below `data_dir`.
    ///
    /// # Errors
    /// When the price table cannot be read.
    pub fn new(config: Config, data_dir: PathBuf) -> Result<Self, PriceTableError> {
        let prices = Arc::new(config.prices.load()?);
        let stacks = Stacks::new(&config.stack, &data_dir).map(Arc::new);
        Ok(Self { config: Arc::new(config), prices, data_dir, stacks })
    }

    /// What is there to choose from, for workers that are placed so.
    pub async fn surroundings(&self, placement: &Placement) -> Surroundings {
        let (machine, kubernetes_gpus) = tokio::join!(self.machine(), self.cluster_gpus(placement));
        let config = &self.config;
        Surroundings {
            machine,
            local: OwnPlace {
                regions: config.local.regions.clone(),
                compliance: config.local.compliance.clone(),
                own: config.local.own,
                latency: config.local.latency,
            },
            cpu_overcommit: config.local.cpu_overcommit,
            kubernetes: OwnPlace {
                regions: config.kubernetes.regions.clone(),
                compliance: config.kubernetes.compliance.clone(),
                own: config.kubernetes.own,
                latency: config.kubernetes.latency,
            },
            kubernetes_gpus,
            bare_metal: OwnPlace {
                regions: config.bare_metal.regions.clone(),
                compliance: config.bare_metal.compliance.clone(),
                own: config.bare_metal.own,
                latency: config.bare_metal.latency,
            },
            cloud_latency: config.cloud.latency,
            executors: executors(config),
            reach: reach::probe(),
            prices: Prices::clone(&self.prices),
        }
    }

    async fn prepare_local(&self, order: &Order) -> Result<Prepared, NotReady> {
        let machine = self.machine().await;
        let proofs = local::prepare(&self.config.local, &self.data_dir, &machine, order).await?;
        Ok(Prepared { machine, proofs })
    }

    async fn prepare_kubernetes(&self, order: &Order) -> Result<Prepared, NotReady> {
        let demands = &order.demands;
        let needs = Needs::of(demands.workers, demands.cpu, demands.memory, demands.gpus(1));
        let needs = Needs { placement: order.placement.clone(), ..needs };
        kubernetes::prepare(&self.config.kubernetes, &needs).await.map_err(NotReady::Findings)
    }

    /// Makes what the deployment needs in the cloud; then the cluster there is looked at, as one that was there before.
    async fn prepare_cloud(&self, stacks: &Stacks, order: &Order, hears: &dyn Hears) -> Result<Prepared, NotReady> {
        let mut proofs = stacks.make(order, self.told(stacks, order), hears).await?;
        let patience = self.config.stack.nodes_timeout;
        let deadline = Instant::now() + patience.0;
        loop {
            match self.prepare_kubernetes(order).await {
                Ok(prepared) => {
                    proofs.extend(prepared.proofs);
                    return Ok(Prepared { proofs, ..prepared });
                }
                Err(NotReady::Findings(findings)) if may_pass(&findings) => {
                    if Instant::now() >= deadline {
                        return Err(NotReady::Findings(findings.into_iter().map(|one| late(one, patience)).collect()));
                    }
                    sleep(NODES_COME).await;
                }
                Err(not_ready) => return Err(not_ready),
            }
        }
    }

    /// What the module is told.
    fn told(&self, stacks: &Stacks, order: &Order) -> Map<String, Value> {
        let cloud = self.prices.cloud(stacks.cloud());
        let region = cloud.zip(order.region.as_deref());
        let region = region.and_then(|(cloud, name)| cloud.regions.iter().find(|region| region.name == name));
        let gpu = cloud.zip(region).and_then(|(cloud, region)| cloud.gpu(region, &order.demands));
        let gpu = gpu.filter(|_| order.demands.gpus(1) > 0).map(|gpu| gpu.name.as_str());
        variables::of(&order.deployment, &order.demands, order.region.as_deref(), gpu)
    }

    async fn machine(&self) -> MachineFacts {
        let data_dir = self.data_dir.clone();
        let looked = tokio::task::spawn_blocking(move || machine::probe(&data_dir)).await;
        // A probe that failed found nothing, so nothing is promised on it.
        let machine = looked.unwrap_or_else(|error| {
            tracing::warn!(%error, "the machine could not be looked at");
            MachineFacts { gpu_note: "the machine could not be looked at".to_owned(), ..MachineFacts::default() }
        });
        if !self.config.local.enabled {
            return machine;
        }
        let engines = local::engines(&self.config.local).await;
        let gpu_note = machine::gpu_note(&machine, &engines.gpu_note);
        MachineFacts { engines: engines.found, engine_note: engines.note, gpu_note, ..machine }
    }

    async fn cluster_gpus(&self, placement: &Placement) -> ClusterGpus {
        let config = &self.config.kubernetes;
        if config.enabled && !config.autoscaler {
            match kubernetes::gpus(config, placement).await {
                Ok(Some(gpus)) => return ClusterGpus::Seen(gpus),
                Ok(None) => {}
                // It is found again, and written down, when the place is made ready.
                Err(finding) => tracing::warn!(%finding.message, "the cluster was not looked at for the choice"),
            }
        }
        ClusterGpus::Said(config.gpus)
    }
}

fn executors(config: &Config) -> Vec<Target> {
    let enabled = [(Target::Local, config.local.enabled), (Target::Kubernetes, config.kubernetes.enabled)];
    let own = enabled.into_iter().filter_map(|(target, is_enabled)| is_enabled.then_some(target));
    own.chain(config.stack.cloud.map(Cloud::target)).collect()
}

#[async_trait]
impl Effects for Installation {
    async fn surroundings(&self, placement: &Placement) -> Surroundings {
        Self::surroundings(self, placement).await
    }

    fn executors(&self) -> Vec<Target> {
        executors(&self.config)
    }

    async fn prepare(&self, target: Target, order: &Order, hears: &dyn Hears) -> Result<Prepared, NotReady> {
        match self.stacks.as_ref().filter(|stacks| stacks.cloud() == target) {
            Some(stacks) => self.prepare_cloud(stacks, order, hears).await,
            None if target == Target::Kubernetes => self.prepare_kubernetes(order).await,
            None => self.prepare_local(order).await,
        }
    }

    async fn remove(&self, order: &Order, clouds: &[Chosen], hears: &dyn Hears) -> Result<Vec<Item>, NotReady> {
        let mut items = Vec::new();
        for Chosen { cloud, is_begun } in clouds {
            match self.stacks.as_ref().filter(|stacks| stacks.cloud() == *cloud) {
                Some(stacks) => items.extend(stacks.remove(order, self.told(stacks, order), hears).await?),
                None if *is_begun => return Err(NotReady::Findings(vec![left(order, *cloud)])),
                None => {}
            }
        }
        let (data_dir, order) = (self.data_dir.clone(), order.clone());
        let removed = tokio::task::spawn_blocking(move || local::remove(&data_dir, &order)).await;
        items.extend(removed.unwrap_or_else(|error| {
            let message = format!("the removal ended before its time: {error}");
            Err(NotReady::Findings(vec![Finding::transient(FindingKind::DependencyUnavailable, message)]))
        })?);
        Ok(items)
    }

    async fn drifted(&self, order: &Order) -> Result<Vec<String>, NotReady> {
        match &self.stacks {
            Some(stacks) => stacks.drifted(order, self.told(stacks, order)).await,
            None => Ok(Vec::new()),
        }
    }
}

/// Whether waiting may help. A lack of room does pass where nodes are on their way, also one that would last without them.
fn may_pass(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.cause == Cause::Transient || finding.kind == FindingKind::Unschedulable)
}

/// What nodes that were made have not ended in time. They may yet come.
fn late(mut finding: Finding, patience: Span) -> Finding {
    if finding.kind == FindingKind::Unschedulable {
        finding.cause = Cause::Transient;
        finding.message = format!("what was made has not ended it within {patience}: {}", finding.message);
    }
    finding
}

fn left(order: &Order, cloud: Target) -> Finding {
    let (stack, cloud) = (variables::name(&order.deployment), name(cloud));
    let message = format!(
        "the stack {stack} in {cloud} was begun, and this installation has no executor for `{cloud}` any more: set stack.cloud"
    );
    Finding::deterministic(FindingKind::ExecutorMissing, message).with_evidence("stack.cloud")
}
