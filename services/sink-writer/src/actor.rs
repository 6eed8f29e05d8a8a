//! Opening outputs and letting go of them: the duties of this service.

use crate::{domain::place, error::SinkError, outputs::Outputs, sinks::Sink};
use async_trait::async_trait;
use slipway_bus::{Actor, Done, DutyError, Scene};
use slipway_kernel::{
    Answer, Attempt, Deployment, DeploymentId, Due, Failed, Finding, Generation, Item, Proof, Ready, Removed, Revision,
    RevisionId, Service, Slot, Step, Timestamp, spec::Output,
};
use std::sync::Arc;

/// Answers `outputs` and `removal-sink-writer`.
pub(crate) struct OutputsActor {
    outputs: Arc<Outputs>,
}

impl OutputsActor {
    pub(crate) const fn new(outputs: Arc<Outputs>) -> Self {
        Self { outputs }
    }

    async fn configure(&self, revision: RevisionId, attempt: Attempt, scene: &Scene) -> Result<Done, DutyError> {
        let deployment = &scene.folded.deployment;
        let mut ready = Ready { configured: Vec::new(), proofs: Vec::new() };
        let mut findings: Vec<Finding> = Vec::new();
        for (n, output) in Outputs::of(deployment, revision.generation).iter().enumerate() {
            let opened = match self.outputs.lasting(output) {
                Ok(()) => self.outputs.sink(output).await,
                Err(error) => Err(error),
            };
            let proved = match opened {
                Ok(sink) => proved(sink, scene.id.clone()).await?,
                Err(error) => Err(error),
            };
            match proved {
                Ok(proof) => {
                    ready.configured.push(Item { name: format!("outputs[{n}]"), value: describe(output) });
                    ready.proofs.push(proof);
                }
                Err(error) => {
                    self.outputs.forget(output).await;
                    findings.push(error.finding(&format!("spec.outputs[{n}]")));
                }
            }
        }
        let answer =
            if findings.is_empty() { Answer::OutputsReady(ready) } else { Answer::OutputsFailed(Failed { findings }) };
        scene.append(&scene.key(revision, Slot::Outputs).at(attempt), answer).await?;
        Ok(Done::Wrote)
    }

    /// Results stay: they are the user's. What goes are connections and the marks kept for the deployment.
    async fn remove(&self, generation: Generation, attempt: Attempt, scene: &Scene) -> Result<Done, DutyError> {
        let mut items = Vec::new();
        for state in scene.folded.deployment.generations.values().filter(|state| state.generation <= generation) {
            for output in &state.spec().outputs {
                self.outputs.forget(output).await;
                let item = Item { name: describe(output), value: "closed; results are kept".to_owned() };
                if !items.contains(&item) {
                    items.push(item);
                }
            }
        }
        let at = RevisionId { generation, revision: Revision(0) };
        let key = scene.key(at, Slot::Removal(Service::SinkWriter)).at(attempt);
        scene.append(&key, Answer::Removed(Removed { items })).await?;
        Ok(Done::Wrote)
    }
}

/// Proves a sink in a task of its own: a duty that is dropped half-way must not leave its probe behind.
async fn proved(sink: Arc<dyn Sink>, id: DeploymentId) -> Result<Result<Proof, SinkError>, DutyError> {
    tokio::spawn(async move { sink.prove(&id).await }).await.map_err(DutyError::transient)
}

/// An output for a person; a secret stands here by reference only.
fn describe(output: &Output) -> String {
    match output {
        Output::Sqlite(sqlite) => format!("embedded database, table {}", sqlite.table),
        Output::Postgres(postgres) => format!("PostgreSQL by {}, table {}", postgres.url, postgres.table),
        Output::Files(files) => format!("files below {}{}", files.uri, describe_layout(output)),
        Output::S3(s3) => {
            let at = s3.endpoint.as_deref().unwrap_or("AWS");
            format!("bucket {} at {at} below `{}`{}", s3.bucket, s3.prefix, describe_layout(output))
        }
    }
}

fn describe_layout(output: &Output) -> String {
    output.layout().map_or_else(String::new, |layout| format!(", .{}", place::extension(layout)))
}

#[async_trait]
impl Actor for OutputsActor {
    type Duty = Step;

    fn service(&self) -> Service {
        Service::SinkWriter
    }

    fn due(&self, deployment: &Deployment, now: Timestamp) -> Due<Step> {
        deployment.step(Service::SinkWriter, Slot::Outputs, now)
    }

    fn label(&self, duty: &Step) -> &'static str {
        match duty {
            Step::Configure { .. } => "configure-outputs",
            Step::Remove { .. } => "remove-outputs",
        }
    }

    async fn perform(&self, duty: Step, scene: Scene) -> Result<Done, DutyError> {
        match duty {
            Step::Configure { revision, attempt } => self.configure(revision, attempt, &scene).await,
            Step::Remove { generation, attempt } => self.remove(generation, attempt, &scene).await,
        }
    }
}
