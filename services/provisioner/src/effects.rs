//! The world as the provisioner touches it: looking around, making a place ready, cleaning up. A bench or test puts a
//! simulated one in its place.

use crate::{
    config::{Config, PriceTableError},
    domain::{
        cluster::Needs,
        prices::Prices,
        surroundings::{ClusterGpus, OwnPlace, Surroundings},
    },
    kubernetes,
    local::{self, NotReady, Order},
    machine::{self, reach},
};
use async_trait::async_trait;
use slipway_kernel::{
    Finding, FindingKind, Item, MachineFacts, Proof,
    spec::{Placement, Target},
};
use std::{path::PathBuf, sync::Arc};

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

    /// Makes the `local` target ready.
    async fn prepare_local(&self, order: &Order) -> Result<Prepared, NotReady>;

    /// Looks whether the `kubernetes` target is ready.
    async fn prepare_kubernetes(&self, order: &Order) -> Result<Prepared, NotReady>;

    /// Removes what was made on this machine.
    async fn remove_local(&self, order: &Order) -> Result<Vec<Item>, NotReady>;
}

/// The real world: this machine, and the cluster in reach.
#[derive(Clone)]
pub struct Installation {
    config: Arc<Config>,
    prices: Arc<Prices>,
    data_dir: PathBuf,
}

impl Installation {
    /// This machine, with its data below `data_dir`.
    ///
    /// # Errors
    /// When the price table cannot be read.
    pub fn new(config: Config, data_dir: PathBuf) -> Result<Self, PriceTableError> {
        let prices = Arc::new(config.prices.load()?);
        Ok(Self { config: Arc::new(config), prices, data_dir })
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
                latency: config.local.latency,
            },
            cpu_overcommit: config.local.cpu_overcommit,
            kubernetes: OwnPlace {
                regions: config.kubernetes.regions.clone(),
                compliance: config.kubernetes.compliance.clone(),
                latency: config.kubernetes.latency,
            },
            kubernetes_gpus,
            bare_metal: OwnPlace {
                regions: config.bare_metal.regions.clone(),
                compliance: config.bare_metal.compliance.clone(),
                latency: config.bare_metal.latency,
            },
            cloud_latency: config.cloud.latency,
            executors: executors(config),
            reach: reach::probe(),
            prices: Prices::clone(&self.prices),
        }
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
    enabled.into_iter().filter_map(|(target, is_enabled)| is_enabled.then_some(target)).collect()
}

#[async_trait]
impl Effects for Installation {
    async fn surroundings(&self, placement: &Placement) -> Surroundings {
        Self::surroundings(self, placement).await
    }

    fn executors(&self) -> Vec<Target> {
        executors(&self.config)
    }

    async fn prepare_local(&self, order: &Order) -> Result<Prepared, NotReady> {
        let machine = self.machine().await;
        let proofs = local::prepare(&self.config.local, &self.data_dir, &machine, order).await?;
        Ok(Prepared { machine, proofs })
    }

    async fn prepare_kubernetes(&self, order: &Order) -> Result<Prepared, NotReady> {
        let needs = Needs::of(order.workers, order.cpu, order.memory, order.gpus);
        let needs = Needs { placement: order.placement.clone(), ..needs };
        kubernetes::prepare(&self.config.kubernetes, &needs).await.map_err(NotReady::Findings)
    }

    async fn remove_local(&self, order: &Order) -> Result<Vec<Item>, NotReady> {
        let (data_dir, order) = (self.data_dir.clone(), order.clone());
        let removed = tokio::task::spawn_blocking(move || local::remove(&data_dir, &order)).await;
        removed.unwrap_or_else(|error| {
            let message = format!("the removal ended before its time: {error}");
            Err(NotReady::Findings(vec![Finding::transient(FindingKind::DependencyUnavailable, message)]))
        })
    }
}
