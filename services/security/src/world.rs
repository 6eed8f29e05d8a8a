//! The real world: keys, certificates, blobs, workers and the public door.

use crate::{
    artifact,
    authority::Authority,
    config::Config,
    effects::{Effects, Place, Trouble},
    keys::ApiKeys,
    proof::{Door, Visitors, WorkerProof},
    telemetry::SecurityMetrics,
};
use async_trait::async_trait;
use slipway_bus::{Bus, Watched, WorkerRecord};
use slipway_kernel::{DeploymentId, Digest, Item, Proof};
use slipway_runtime::tls::SpiffeId;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The real world.
#[derive(Clone, Debug)]
pub(crate) struct World {
    bus: Bus,
    authority: Arc<Authority>,
    keys: ApiKeys,
    workers: WorkerProof,
    door: Door,
    scratch: PathBuf,
    metrics: SecurityMetrics,
}

impl World {
    pub(crate) fn new(
        bus: &Bus,
        config: &Config,
        data_dir: &Path,
        authority: Arc<Authority>,
        workers: Watched<Vec<WorkerRecord>>,
        metrics: &SecurityMetrics,
    ) -> anyhow::Result<Self> {
        let own = data_dir.join("security");
        let scratch = own.join("scratch");
        artifact::sweep(&scratch);
        let proof = &config.proof;
        Ok(Self {
            bus: bus.clone(),
            authority,
            keys: ApiKeys::new(bus.clone(), own.join("keys"), config.api_keys.in_files, metrics.clone()),
            workers: WorkerProof::new(workers, proof.clone(), metrics.clone()),
            door: Door::new(proof.ingress_url.as_deref(), proof.timeout.0, metrics.clone())?,
            scratch,
            metrics: metrics.clone(),
        })
    }
}

impl World {
    /// The keys, for whoever answers demands for them.
    pub(crate) const fn keys(&self) -> &ApiKeys {
        &self.keys
    }
}

#[async_trait]
impl Effects for World {
    async fn verify_artifact(&self, digest: &Digest) -> Result<Proof, Trouble> {
        Ok(artifact::verify(&self.bus.blobs(), digest, &self.scratch).await?)
    }

    async fn ensure_key(&self, id: &DeploymentId, wanted: bool) -> Result<Item, Trouble> {
        Ok(self.keys.ensure(id, wanted).await?)
    }

    async fn prove_workers(&self, place: &Place) -> Result<Vec<Proof>, Trouble> {
        let visitors = Visitors::new(&self.authority, self.bus.clock().now());
        self.workers.of(place, visitors.map_err(|error| Trouble::Later(error.into()))?).await
    }

    async fn prove_door(&self, place: &Place) -> Result<Vec<Proof>, Trouble> {
        self.door.prove(place).await
    }

    async fn remove(&self, id: &DeploymentId) -> Result<Vec<Item>, Trouble> {
        let mut items = self.keys.remove(id).await?;
        let is_of = |subject: &str| {
            let parsed = subject.parse::<SpiffeId>();
            matches!(parsed, Ok(SpiffeId::Revision { deployment, .. }) if deployment == *id)
        };
        let withdrawn = self.bus.identities().withdraw(is_of, "the deployment is retired").await;
        let withdrawn = withdrawn.map_err(|error| Trouble::Later(error.into()))?;
        self.metrics.forget(self.bus.clock().now(), is_of);
        items.push(Item { name: "identities".to_owned(), value: format!("{withdrawn} withdrawn, no more are issued") });
        Ok(items)
    }
}
