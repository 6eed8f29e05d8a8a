//! The world as the provisioner touches it: looking around, making a place ready, cleaning up. A bench or test puts a
//! simulated one in its place.

use crate::{
    config::{Config, PriceTableError},
    domain::{
        prices::Prices,
        surroundings::{OwnPlace, Surroundings},
    },
    local::{self, NotReady, Order},
    machine::{self, reach},
};
use async_trait::async_trait;
use slipway_kernel::{Finding, FindingKind, Item, MachineFacts, Proof};
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
    /// What is there to choose from.
    async fn surroundings(&self) -> Surroundings;

    /// Makes the `local` target ready.
    async fn prepare_local(&self, order: &Order) -> Result<Prepared, NotReady>;

    /// Removes what was made on this machine.
    async fn remove_local(&self, order: &Order) -> Result<Vec<Item>, NotReady>;
}

/// The real world: this machine.
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

    /// What is there to choose from.
    pub async fn surroundings(&self) -> Surroundings {
        let machine = self.machine().await;
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
            kubernetes_gpus: config.kubernetes.gpus,
            bare_metal: OwnPlace {
                regions: config.bare_metal.regions.clone(),
                compliance: config.bare_metal.compliance.clone(),
                latency: config.bare_metal.latency,
            },
            cloud_latency: config.cloud.latency,
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
        let engines = local::engines(&self.config.local).await;
        let gpu_note = machine::gpu_note(&machine, &engines.gpu_note);
        MachineFacts { engines: engines.found, engine_note: engines.note, gpu_note, ..machine }
    }
}

#[async_trait]
impl Effects for Installation {
    async fn surroundings(&self) -> Surroundings {
        Self::surroundings(self).await
    }

    async fn prepare_local(&self, order: &Order) -> Result<Prepared, NotReady> {
        let machine = self.machine().await;
        let proofs = local::prepare(&self.config.local, &self.data_dir, &machine, order).await?;
        Ok(Prepared { machine, proofs })
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
