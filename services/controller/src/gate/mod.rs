//! The gate: the one door for people, CI and custom resources.
//!
//! It finds out who sent a demand and whether he may, reads it strictly, decides on the deployment as the log tells it,
//! writes one fact against the sequence it decided on, and answers with the subject written or a named error. A demand
//! that comes twice (same `ce-source` and `ce-id`) is answered the same and changes nothing.

mod decide;
mod demand;
mod refused;
mod rights;

pub use decide::decide;
pub use demand::{Command, Demand};
pub use refused::Refused;
pub use rights::{PrincipalConfig, authorize};

use crate::telemetry::Telemetry;
use async_trait::async_trait;
use slipway_bus::{Bus, DeadLetter, Draft, DutyError, Folded, Gate, IntakeAnswer, IntakeMessage, View, WrittenAgainst};
use slipway_kernel::{DeploymentId, IntakeReference, fold};
use std::sync::Arc;

/// How often a decision is made anew when the log moved meanwhile. Each round loses against another fact of the same
/// deployment; a busy one gets a few in a row, never twenty.
const MAX_ROUNDS: u32 = 20;

/// The gate of one replica.
#[derive(Clone, Debug)]
pub struct Gatekeeper {
    bus: Bus,
    view: View,
    principals: Arc<[PrincipalConfig]>,
    telemetry: Telemetry,
}

impl Gatekeeper {
    /// A gate with these rights.
    #[must_use]
    pub fn new(bus: Bus, view: View, principals: &[PrincipalConfig], telemetry: Telemetry) -> Self {
        Self { bus, view, principals: principals.into(), telemetry }
    }

    async fn answer(&self, message: &IntakeMessage) -> Result<Result<IntakeAnswer, Refused>, DutyError> {
        let actor = match authorize(&self.principals, &message.credential, &message.namespace, message.verb) {
            Ok(actor) => actor,
            Err(refused) => return Ok(Err(refused)),
        };
        let demand = match demand::read(&message.namespace, message.verb, &message.envelope) {
            Ok(demand) => demand,
            Err(refused) => {
                if matches!(refused, Refused::Malformed(_)) {
                    self.bury(message, &refused).await;
                }
                return Ok(Err(refused));
            }
        };
        self.write(message, actor, &demand).await
    }

    async fn write(
        &self,
        message: &IntakeMessage,
        actor: &str,
        demand: &Demand,
    ) -> Result<Result<IntakeAnswer, Refused>, DutyError> {
        let id = demand.deployment();
        let intake = IntakeReference { source: message.envelope.source.clone(), id: message.envelope.id.clone() };
        let mut known = self.viewed(&id);
        for _ in 0..MAX_ROUNDS {
            if let Some(fact) = known.deployment.answered_intake(&intake.source, &intake.id) {
                return Ok(Ok(IntakeAnswer::accepted(&fact.key, format!("{} already", fact.answer.name()))));
            }
            let (key, answer) = match decide(&known.deployment, demand, intake.clone()) {
                Ok(decided) => decided,
                // The view may be behind; nothing is refused on what the log itself does not say.
                Err(refused) if self.is_behind(&id, &mut known).await? => {
                    tracing::debug!(deployment = %id, %refused, "decided anew on the log itself");
                    continue;
                }
                Err(refused) => return Ok(Err(refused)),
            };
            let name = answer.name();
            let correlation = message.envelope.correlation.clone().unwrap_or_else(|| message.envelope.id.clone());
            let draft = Draft::new(answer, actor, correlation).traced();
            match self.bus.log().append_against(&key, draft, known.last_sequence).await? {
                WrittenAgainst::Stored(_) => return Ok(Ok(IntakeAnswer::accepted(&key, name))),
                WrittenAgainst::Adopted(fact) if fact.answer.intake() == Some(&intake) => {
                    return Ok(Ok(IntakeAnswer::accepted(&key, format!("{name} already"))));
                }
                WrittenAgainst::Adopted(_) | WrittenAgainst::Moved => known = self.bus.log().fold(&id).await?,
            }
        }
        Err(DutyError::transient(anyhow::anyhow!("`{id}` moved {MAX_ROUNDS} times while a demand was decided on")))
    }

    fn viewed(&self, id: &DeploymentId) -> Folded {
        let unknown = || Folded { deployment: fold(id, []), last_sequence: 0 };
        self.view.get(id).map_or_else(unknown, |folded| Folded::clone(&folded))
    }

    /// Reads the log itself; whether it says more than what was known, which is then replaced.
    async fn is_behind(&self, id: &DeploymentId, known: &mut Folded) -> Result<bool, DutyError> {
        let fresh = self.bus.log().fold(id).await?;
        let behind = fresh.last_sequence > known.last_sequence;
        *known = fresh;
        Ok(behind)
    }

    /// What cannot be read is kept for a person, with the reason.
    async fn bury(&self, message: &IntakeMessage, refused: &Refused) {
        let letter = DeadLetter {
            service: self.bus.principal().name().to_owned(),
            subject: message.subject.clone(),
            headers: vec![
                ("ce-id".to_owned(), message.envelope.id.clone()),
                ("ce-source".to_owned(), message.envelope.source.clone()),
                ("ce-type".to_owned(), message.envelope.kind.clone()),
            ],
            payload: message.envelope.data.clone(),
            reason: format!("{}: {refused}", refused.name()),
        };
        if let Err(error) = self.bus.dead().put(&letter).await {
            tracing::error!(subject = message.subject, %error, "the dead letter could not be written");
        }
    }
}

#[async_trait]
impl Gate for Gatekeeper {
    async fn handle(&self, message: &IntakeMessage) -> Result<IntakeAnswer, DutyError> {
        let outcome = self.answer(message).await?;
        let name = outcome.as_ref().map_or_else(Refused::name, |_| "accepted");
        self.telemetry.demand(message.verb, name);
        tracing::info!(
            verb = %message.verb, namespace = %message.namespace, source = message.envelope.source,
            id = message.envelope.id, outcome = name, "demand"
        );
        Ok(outcome.unwrap_or_else(|refused| refused.answer()))
    }
}
