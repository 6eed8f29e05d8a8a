//! One look at everything, and what it leads to.

use super::{
    Bridge,
    objects::Failure,
    wire::{self, document},
};
use crate::domain::bridge::{
    Resource, Status,
    milestones::milestones,
    own::SOURCE,
    status::{Said, status},
    step::{Step, step},
};
use serde_json::{Value, json};
use slipway_bus::{Command, IntakeAnswer, Verb};
use slipway_kernel::{Deployment, DeploymentId, fold};
use std::time::Duration;

/// How long the gate may take: it runs beside the bridge, and what it does not answer now the next round asks again.
const GATE: Duration = Duration::from_secs(10);
/// Steps that one resource may take in a row: held, demanded, told, and on the way out retired and let go. The next round takes the others.
const STEPS: usize = 6;

impl Bridge {
    /// Looks at every resource. `anew`: what was refused for lack of rights is tried again.
    pub(super) async fn round(&self, anew: bool) -> Result<(), Failure> {
        let objects = self.resources.list().await?;
        self.telemetry.custom_resources(objects.len());
        let mut failed = None;
        for object in objects {
            match Box::pin(self.attend(object, anew)).await {
                Ok(()) => {}
                // Whatever changed it has rung.
                Err(Failure::Moved(name)) => tracing::debug!(name, "a custom resource was changed meanwhile"),
                // One that the cluster refuses must not keep the others waiting; a gate or broker that is away would.
                Err(error @ Failure::Cluster { .. }) => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Does what is due for one resource.
    async fn attend(&self, mut object: Value, anew: bool) -> Result<(), Failure> {
        for _ in 0..STEPS {
            let Some(resource) = wire::resource(&object) else {
                tracing::warn!(name = %object["metadata"]["name"], "its name is no DNS label; it is left alone");
                return Ok(());
            };
            let viewed = self.viewed(&resource.id);
            if step(&resource, &viewed, anew) == Step::Tell && knows(&resource, &self.status(&resource, &viewed, None))
            {
                return Ok(());
            }
            // The view may be behind: what is done and told comes of the log itself.
            let deployment = self.read(&resource.id).await?;
            match step(&resource, &deployment, anew) {
                Step::Tell => return self.tell(&object, &resource, &deployment, None).await.map(drop),
                Step::Hold => object = self.resources.hold(&object).await?,
                Step::Deploy { id } => match self.deploy(&object, &resource, &deployment, id).await? {
                    Some(told) => object = told,
                    None => return Ok(()),
                },
                Step::Retire { id } => {
                    let data = json!({ "deployment": resource.id.name, "reason": "its custom resource was removed" });
                    let answer = self.demand(&resource, Verb::Retire, id, data).await?;
                    if let Some((error, message)) = refusal(&answer) {
                        let said = Said::NotRetired { error, message };
                        return self.tell(&object, &resource, &deployment, Some(&said)).await.map(drop);
                    }
                }
                Step::LetGo => {
                    let told = self.tell(&object, &resource, &deployment, None).await?;
                    return self.resources.let_go(&told).await;
                }
            }
        }
        Ok(())
    }

    /// Demands it at the gate. The resource as it stands then, or nothing if it was refused and told so.
    async fn deploy(
        &self,
        object: &Value,
        resource: &Resource,
        deployment: &Deployment,
        id: String,
    ) -> Result<Option<Value>, Failure> {
        let asking = Said::Asking { id: id.clone() };
        // What may be under way is written down first.
        let object = self.tell(object, resource, deployment, Some(&asking)).await?;
        let answer = self.demand(resource, Verb::Deploy, id, document(&object)).await?;
        let Some((error, message)) = refusal(&answer) else { return Ok(Some(object)) };
        let Some(resource) = wire::resource(&object) else { return Ok(None) };
        let said = Said::Refused { error, message };
        self.tell(&object, &resource, deployment, Some(&said)).await?;
        // One that leaves was not deployed, and is let go.
        Ok(None)
    }

    async fn demand(&self, resource: &Resource, verb: Verb, id: String, data: Value) -> Result<IntakeAnswer, Failure> {
        let command = Command { namespace: resource.id.namespace.clone(), verb, source: SOURCE.to_owned(), id, data };
        let answer = self.bus.intake().send(&command, GATE).await?;
        let outcome = answer.error.as_deref().unwrap_or("accepted");
        tracing::info!(deployment = %resource.id, %verb, id = command.id, outcome, "demanded for a custom resource");
        Ok(answer)
    }

    /// Tells a resource how it stands, and what happened since it was told last. The resource as it stands then.
    async fn tell(
        &self,
        object: &Value,
        resource: &Resource,
        deployment: &Deployment,
        said: Option<&Said>,
    ) -> Result<Value, Failure> {
        let next = self.status(resource, deployment, said);
        if knows(resource, &next) {
            return Ok(object.clone());
        }
        let now = self.bus.clock().now();
        for milestone in milestones(resource, deployment, &next) {
            self.resources.event(&wire::event(object, &milestone, self.resources.instance(), now)).await?;
        }
        self.resources.tell(object, &wire::status(&next)).await
    }

    fn status(&self, resource: &Resource, deployment: &Deployment, said: Option<&Said>) -> Status {
        status(resource, deployment, said, self.bus.clock().now())
    }

    fn viewed(&self, id: &DeploymentId) -> Deployment {
        self.view.get(id).map_or_else(|| fold(id, []), |folded| folded.deployment.clone())
    }

    async fn read(&self, id: &DeploymentId) -> Result<Deployment, Failure> {
        Ok(Box::pin(self.bus.log().fold(id)).await?.deployment)
    }
}

fn knows(resource: &Resource, next: &Status) -> bool {
    resource.status.as_ref() == Some(next)
}

/// The name of the error and what is to be said of it.
fn refusal(answer: &IntakeAnswer) -> Option<(String, String)> {
    if answer.accepted {
        return None;
    }
    let refused = answer.refusals.iter().map(|refusal| format!("{refusal}")).collect::<Vec<_>>();
    let message = if refused.is_empty() { answer.message.clone() } else { refused.join("; ") };
    Some((answer.error.clone().unwrap_or_else(|| "refused".to_owned()), message))
}
