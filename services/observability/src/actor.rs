//! Making a deployment visible and proving it; removing what was made.

use crate::{
    config::Config,
    domain::{self, Where, missing},
    files::{Files, Kind},
    render,
    scrape::Scraper,
};
use async_trait::async_trait;
use slipway_bus::{Actor, Bus, Done, Due, DutyError, Scene, WorkerRecord};
use slipway_kernel::{
    Answer, Attempt, Deployment, Failed, Finding, FindingKind, Generation, Item, Proof, Ready, Removed, Revision,
    RevisionId, Service, Slot, Step, Timestamp, spec::Slo,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Between two looks for the promised series. They appear with the first request, which ingress makes for its own proof.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Answers `observability` and `removal-observability`.
pub(crate) struct ObservabilityActor {
    files: Files,
    scraper: Arc<Scraper>,
    bus: Bus,
    timeout: Duration,
}

impl ObservabilityActor {
    pub(crate) const fn new(config: &Config, files: Files, scraper: Arc<Scraper>, bus: Bus) -> Self {
        Self { files, scraper, bus, timeout: config.proof_timeout.0 }
    }

    async fn configure(&self, revision: RevisionId, attempt: Attempt, scene: &Scene) -> Result<Done, DutyError> {
        let deployment = &scene.folded.deployment;
        let Some(state) = deployment.generations.get(&revision.generation) else { return Ok(Done::Again) };
        let slo = state.spec().slo;
        let answer = match self.generate(&slo, scene).await {
            Ok(configured) => self.prove(revision, configured, scene).await?,
            Err(error) => {
                let finding = Finding::transient(
                    FindingKind::DependencyUnavailable,
                    format!("files could not be written: {error}"),
                );
                Answer::ObservabilityFailed(Failed { findings: vec![finding] })
            }
        };
        scene.append(&scene.key(revision, Slot::Observability).at(attempt), answer).await?;
        Ok(Done::Wrote)
    }

    async fn generate(&self, slo: &Slo, scene: &Scene) -> std::io::Result<Vec<Item>> {
        let workers = self.workers(scene, None).await.unwrap_or_default();
        let listed: Vec<_> =
            workers.iter().map(|w| (w.admin.clone(), w.revision.to_string(), w.instance.clone())).collect();
        let id = &scene.id;
        let parts = [
            (Kind::Targets, "scrape-targets", render::targets(id, &listed)),
            (Kind::Rules, "alert-rules", render::rules(id, slo)),
            (Kind::Dashboard, "dashboard", render::dashboard(id, slo)),
        ];
        parts
            .into_iter()
            .map(|(kind, name, content)| {
                let path = self.files.write(kind, id, &content)?;
                Ok(Item {
                    name: name.to_owned(),
                    value: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                })
            })
            .collect()
    }

    async fn workers(&self, scene: &Scene, revision: Option<RevisionId>) -> Result<Vec<WorkerRecord>, DutyError> {
        let mut workers = self.bus.workers().list().await?;
        workers
            .retain(|worker| worker.deployment == scene.id && revision.is_none_or(|wanted| worker.revision == wanted));
        Ok(workers)
    }

    /// Looks until every promised series is there, or the time is over.
    async fn prove(&self, revision: RevisionId, configured: Vec<Item>, scene: &Scene) -> Result<Answer, DutyError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let gaps = self.gaps(revision, scene).await?;
            if gaps.is_empty() {
                let names: Vec<&str> = domain::promised().iter().map(|promise| promise.name).collect();
                let proofs = vec![Proof { name: "series present".to_owned(), detail: names.join(", ") }];
                return Ok(Answer::ObservabilityReady(Ready { configured, proofs }));
            }
            if Instant::now() > deadline {
                let message = format!("promised series that nobody exposes: {}", gaps.join("; "));
                let finding = Finding::transient(FindingKind::TelemetryGap, message);
                return Ok(Answer::ObservabilityFailed(Failed { findings: vec![finding] }));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn gaps(&self, revision: RevisionId, scene: &Scene) -> Result<Vec<String>, DutyError> {
        let mut gaps = Vec::new();
        let mut look = |at: String, found: Result<Vec<&'static str>, String>| match found {
            Ok(names) if names.is_empty() => {}
            Ok(names) => gaps.push(format!("{at}: {}", names.join(", "))),
            Err(error) => gaps.push(error),
        };
        let ingress = self.scraper.ingress().await;
        look(
            "ingress".to_owned(),
            ingress.map(|s| missing(&s, Where::Ingress, &scene.id, revision)).map_err(|e| e.to_string()),
        );
        let workers = self.workers(scene, Some(revision)).await?;
        if workers.is_empty() {
            look(String::new(), Err("no worker is registered".to_owned()));
        }
        for worker in workers {
            let samples = self.scraper.target(&worker.admin).await;
            let found =
                samples.map(|s| missing(&s, Where::Worker, &scene.id, revision)).map_err(|error| error.to_string());
            look(worker.instance, found);
        }
        Ok(gaps)
    }

    async fn remove(&self, generation: Generation, attempt: Attempt, scene: &Scene) -> Result<Done, DutyError> {
        let mut items = Vec::new();
        for kind in Kind::ALL {
            if self.files.remove(kind, &scene.id).map_err(DutyError::transient)? {
                let path = self.files.path(kind, &scene.id);
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                items.push(Item { name, value: "removed".to_owned() });
            }
        }
        let at = RevisionId { generation, revision: Revision(0) };
        let key = scene.key(at, Slot::Removal(Service::Observability)).at(attempt);
        scene.append(&key, Answer::Removed(Removed { items })).await?;
        Ok(Done::Wrote)
    }
}

#[async_trait]
impl Actor for ObservabilityActor {
    type Duty = Step;

    fn service(&self) -> Service {
        Service::Observability
    }

    fn due(&self, deployment: &Deployment, now: Timestamp) -> Due<Step> {
        deployment.step(Service::Observability, Slot::Observability, now).into()
    }

    fn label(&self, duty: &Step) -> &'static str {
        match duty {
            Step::Configure { .. } => "configure-observability",
            Step::Remove { .. } => "remove-observability",
        }
    }

    async fn perform(&self, duty: Step, scene: Scene) -> Result<Done, DutyError> {
        match duty {
            Step::Configure { revision, attempt } => self.configure(revision, attempt, &scene).await,
            Step::Remove { generation, attempt } => self.remove(generation, attempt, &scene).await,
        }
    }
}
