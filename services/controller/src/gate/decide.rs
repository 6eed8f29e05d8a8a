//! The gate's decision, pure: a deployment and a demand in, the fact to write out, or why not.

use super::{
    demand::{Command, Demand},
    refused::Refused,
};
use crate::domain::standing::{demanded_rollback, goes_back_to, taken_back};
use slipway_bus::Verb;
use slipway_kernel::{
    Annulled, Answer, Approved, CommandReason, Declined, Deployment, FactKey, Generation, GenerationState,
    IntakeReference, Requested, RevisionId, RollbackRequested, Slot, spec::ModelDeployment,
};

/// What a demand comes to.
///
/// # Errors
/// The named reason why nothing is written.
pub fn decide(deployment: &Deployment, demand: &Demand, intake: IntakeReference) -> Result<(FactKey, Answer), Refused> {
    match demand {
        Demand::Deploy(document) => deploy(deployment, document, intake),
        Demand::Command(command) => Deciding::of(deployment, command)?.decide(intake),
    }
}

fn deploy(
    deployment: &Deployment,
    document: &ModelDeployment,
    intake: IntakeReference,
) -> Result<(FactKey, Answer), Refused> {
    // What removes a retiring generation would remove the keys and tables of the new one as well.
    if deployment.newest().is_some_and(|newest| is_retiring(deployment, newest)) {
        return Err(Refused::Retiring(deployment.id.to_string()));
    }
    let generation = last_generation(deployment) + 1;
    let key = FactKey::new(deployment.id.clone(), RevisionId::new(generation, 0), Slot::Request);
    let requested = Requested { spec_digest: document.digest(), deployment: document.clone(), intake };
    Ok((key, Answer::Requested(requested)))
}

/// The last generation that ever was: also one whose facts were annulled, purged or set aside. Numbers are never
/// reused.
fn last_generation(deployment: &Deployment) -> u32 {
    let counted = deployment.generations.keys().next_back().map_or(0, |generation| generation.0);
    let aside = deployment.set_aside.iter().filter_map(|aside| {
        let tokens: Vec<&str> = aside.subject.rsplitn(5, '.').collect();
        tokens.get(3)?.parse::<u32>().ok()
    });
    aside.max().unwrap_or(0).max(counted)
}

fn is_retired(generation: &GenerationState) -> bool {
    matches!(generation.ended(), Some(Answer::Retired(_) | Answer::Archived(_)))
}

fn is_retiring(deployment: &Deployment, generation: &GenerationState) -> bool {
    deployment.is_retiring(generation.generation) && !is_retired(generation)
}

struct Deciding<'a> {
    deployment: &'a Deployment,
    newest: &'a GenerationState,
    command: &'a Command,
}

impl<'a> Deciding<'a> {
    /// What holds for every command: the deployment is there, is not gone, and is the one that was meant.
    fn of(deployment: &'a Deployment, command: &'a Command) -> Result<Self, Refused> {
        let newest = deployment.newest().ok_or_else(|| Refused::UnknownDeployment(deployment.id.to_string()))?;
        if let Some(named) = command.generation.filter(|named| *named != newest.generation) {
            return Err(Refused::NotNewest { named, newest: newest.generation });
        }
        if is_retired(newest) {
            return Err(Refused::Retired(deployment.id.to_string()));
        }
        if is_retiring(deployment, newest) && command.verb != Verb::Annul {
            return Err(Refused::Retiring(deployment.id.to_string()));
        }
        Ok(Self { deployment, newest, command })
    }

    fn name(&self) -> String {
        self.deployment.id.to_string()
    }

    fn key(&self, slot: Slot) -> FactKey {
        let Generation(generation) = self.newest.generation;
        FactKey::new(self.deployment.id.clone(), RevisionId::new(generation, 0), slot)
    }

    fn decide(&self, intake: IntakeReference) -> Result<(FactKey, Answer), Refused> {
        let reason = self.command.reason.clone();
        let said = |intake| CommandReason { reason: reason.clone(), intake };
        let numbered = |answer| (self.key(Slot::Command(self.newest.next_command())), answer);
        match self.command.verb {
            Verb::Approve => self.approval(Answer::Approved(Approved { reason, intake })),
            Verb::Decline => self.approval(Answer::Declined(Declined { reason, intake })),
            Verb::Pause => self.may_pause().map(|()| numbered(Answer::Paused(said(intake)))),
            Verb::Resume if self.newest.is_paused() => Ok(numbered(Answer::Resumed(said(intake)))),
            Verb::Resume => Err(Refused::NotPaused(self.name())),
            Verb::Rollback => self.may_roll_back().map(|()| {
                numbered(Answer::RollbackRequested(RollbackRequested { to: self.command.to, reason, intake }))
            }),
            Verb::Revalidate => self.may_revalidate().map(|()| numbered(Answer::RevalidationRequested(said(intake)))),
            Verb::Retire => Ok(numbered(Answer::RetireRequested(said(intake)))),
            Verb::Annul => self.annulled().map(|fact| numbered(Answer::Annulled(Annulled { fact, reason, intake }))),
            // Read as a document, never as a command.
            Verb::Deploy => Err(Refused::Malformed("`deploy` is no command".to_owned())),
        }
    }

    fn approval(&self, answer: Answer) -> Result<(FactKey, Answer), Refused> {
        let chosen = self.newest.answer(Slot::Choice);
        let asked = matches!(chosen, Some(Answer::InfrastructureChosen(chosen)) if chosen.needs_approval);
        let open = asked && self.newest.fact(Slot::Approval).is_none() && !self.newest.is_terminal();
        if open { Ok((self.key(Slot::Approval), answer)) } else { Err(Refused::NoPendingApproval(self.name())) }
    }

    fn may_pause(&self) -> Result<(), Refused> {
        let over = self.newest.latest().is_some_and(|revision| revision.is_released() || revision.is_rolled_back());
        if over || self.newest.is_terminal() {
            Err(Refused::NoRollout(self.name()))
        } else if self.newest.is_paused() {
            Err(Refused::AlreadyPaused(self.name()))
        } else {
            Ok(())
        }
    }

    fn may_roll_back(&self) -> Result<(), Refused> {
        if demanded_rollback(self.deployment).is_some() {
            return Err(Refused::RollbackPending(self.name()));
        }
        let nothing = || Refused::NothingToGoBackTo(self.name());
        let from = taken_back(self.deployment, self.newest).ok_or_else(nothing)?;
        let Some(to) = self.command.to else {
            return goes_back_to(self.deployment, from).map(drop).ok_or_else(nothing);
        };
        let revision = self.deployment.revision(to).ok_or(Refused::UnknownRevision(to))?;
        if to == from {
            Err(Refused::RevisionTakenBack(to))
        } else if !revision.is_good() || self.deployment.is_retiring(to.generation) {
            Err(Refused::RevisionNotGood(to))
        } else {
            Ok(())
        }
    }

    fn may_revalidate(&self) -> Result<(), Refused> {
        let proved = self.newest.latest().is_some_and(|revision| {
            revision.is_deployed() && revision.fact(Slot::Validation).is_some() && !revision.is_rolled_back()
        });
        if proved && !self.newest.is_terminal() { Ok(()) } else { Err(Refused::NothingToRevalidate(self.name())) }
    }

    /// The text of the key of the fact to annul.
    fn annulled(&self) -> Result<String, Refused> {
        let Some(key) = &self.command.fact else { return Err(Refused::UnknownFact("(absent)".to_owned())) };
        match self.deployment.facts().find(|fact| fact.key == *key).map(|fact| &fact.answer) {
            None => Err(Refused::UnknownFact(key.to_string())),
            Some(Answer::Annulled(_)) => Err(Refused::NotAnnullable(key.to_string())),
            Some(_) => Ok(key.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
