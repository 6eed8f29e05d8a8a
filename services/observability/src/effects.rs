//! The world as observability's duties touch it: generated files, and targets that are scraped. A bench or test puts a simulated
//! one in its place.

use crate::{
    cluster::Cluster,
    config::Config,
    domain::{self, Where, missing},
    files::{Files, Kind},
    scrape::Scraper,
};
use async_trait::async_trait;
use slipway_bus::{Bus, DutyError, WorkerRecord};
use slipway_kernel::{DeploymentId, Finding, FindingKind, Item, Proof, Ready, RevisionId, spec::Slo};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// Between two looks for the promised series. They appear with the first request, which ingress makes for its own proof.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What is made visible.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The revision whose series are proved.
    pub revision: RevisionId,
    /// What the rules watch over.
    pub slo: Slo,
}

/// The world.
#[async_trait]
pub trait Effects: Send + Sync + 'static {
    /// Makes a deployment visible and proves it; the finding if that did not come about.
    ///
    /// # Errors
    /// When it could not even be tried.
    async fn show(&self, subject: &Subject) -> Result<Result<Ready, Finding>, DutyError>;

    /// Removes what was made for the deployment. Doing it again changes nothing.
    ///
    /// # Errors
    /// When something could not be removed.
    async fn remove(&self, id: &DeploymentId) -> Result<Vec<Item>, DutyError>;
}

/// The real world: the folder of generated files, the cluster if there is one, and the metrics of ingress and workers.
pub(crate) struct Exposing {
    files: Files,
    cluster: Option<Cluster>,
    scraper: Arc<Scraper>,
    bus: Bus,
    timeout: Duration,
}

impl Exposing {
    pub(crate) const fn new(
        config: &Config,
        files: Files,
        cluster: Option<Cluster>,
        scraper: Arc<Scraper>,
        bus: Bus,
    ) -> Self {
        Self { files, cluster, scraper, bus, timeout: config.proof_timeout.0 }
    }

    async fn generate(&self, id: &DeploymentId, slo: &Slo) -> std::io::Result<Vec<Item>> {
        let workers = self.workers(id, None).await.unwrap_or_default();
        let made = self.files.generate(id, slo, &workers)?;
        Ok(made.into_iter().map(|(name, path)| Item { name: name.to_owned(), value: file_name(&path) }).collect())
    }

    async fn workers(&self, id: &DeploymentId, revision: Option<RevisionId>) -> Result<Vec<WorkerRecord>, DutyError> {
        let mut workers = self.bus.workers().list().await?;
        workers.retain(|worker| worker.deployment == *id && revision.is_none_or(|wanted| worker.revision == wanted));
        Ok(workers)
    }

    /// Looks until every promised series is there, or the time is over.
    async fn prove(&self, subject: &Subject, configured: Vec<Item>) -> Result<Result<Ready, Finding>, DutyError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let gaps = self.gaps(subject).await?;
            if gaps.is_empty() {
                let names: Vec<&str> = domain::promised().iter().map(|promise| promise.name).collect();
                let proofs = vec![Proof { name: "series present".to_owned(), detail: names.join(", ") }];
                return Ok(Ok(Ready { configured, proofs }));
            }
            if Instant::now() > deadline {
                let message = format!("promised series that nobody exposes: {}", gaps.join("; "));
                return Ok(Err(Finding::transient(FindingKind::TelemetryGap, message)));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn gaps(&self, subject: &Subject) -> Result<Vec<String>, DutyError> {
        let (id, revision) = (&subject.deployment, subject.revision);
        let mut gaps = Vec::new();
        let mut look = |at: String, found: Result<Vec<&'static str>, String>| match found {
            Ok(names) if names.is_empty() => {}
            Ok(names) => gaps.push(format!("{at}: {}", names.join(", "))),
            Err(error) => gaps.push(error),
        };
        // One replica suffices: the others expose a revision with the first request that they have for it.
        let ingress = self.scraper.ingress().await.map(|told| {
            let samples: Vec<_> = told.into_iter().flat_map(|told| told.samples).collect();
            missing(&samples, Where::Ingress, id, revision)
        });
        look("ingress".to_owned(), ingress.map_err(|error| error.to_string()));
        let workers = self.workers(id, Some(revision)).await?;
        if workers.is_empty() {
            look(String::new(), Err("no worker is registered".to_owned()));
        }
        for worker in workers {
            let samples = self.scraper.target(&worker.admin).await;
            let found = samples.map(|s| missing(&s, Where::Worker, id, revision)).map_err(|error| error.to_string());
            look(worker.instance, found);
        }
        Ok(gaps)
    }
}

#[async_trait]
impl Effects for Exposing {
    async fn show(&self, subject: &Subject) -> Result<Result<Ready, Finding>, DutyError> {
        let (id, slo) = (&subject.deployment, &subject.slo);
        let mut configured = match self.generate(id, slo).await {
            Ok(configured) => configured,
            Err(error) => {
                let message = format!("files could not be written: {error}");
                return Ok(Err(Finding::transient(FindingKind::DependencyUnavailable, message)));
            }
        };
        if let Some(cluster) = &self.cluster {
            match cluster.show(id, slo).await {
                Ok(shown) => configured.extend(shown),
                Err(error) => return Ok(Err(error.finding())),
            }
        }
        self.prove(subject, configured).await
    }

    async fn remove(&self, id: &DeploymentId) -> Result<Vec<Item>, DutyError> {
        let mut items = Vec::new();
        for kind in Kind::ALL {
            if self.files.remove(kind, id).map_err(DutyError::transient)? {
                let name = file_name(&self.files.path(kind, id));
                items.push(Item { name, value: "removed".to_owned() });
            }
        }
        if let Some(cluster) = &self.cluster {
            items.extend(cluster.remove(id).await.map_err(DutyError::transient)?);
        }
        Ok(items)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A world in which everything is seen at once and nothing is left behind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simulated;

#[async_trait]
impl Effects for Simulated {
    async fn show(&self, _: &Subject) -> Result<Result<Ready, Finding>, DutyError> {
        let proofs = vec![Proof { name: "series present".to_owned(), detail: "simulated".to_owned() }];
        Ok(Ok(Ready { configured: Vec::new(), proofs }))
    }

    async fn remove(&self, _: &DeploymentId) -> Result<Vec<Item>, DutyError> {
        Ok(Vec::new())
    }
}
