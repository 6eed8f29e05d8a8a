//! What the controller can be due to do, as data, and the fact that each decision writes.

use slipway_kernel::{
    Abandoned, Answer, Attempt, Change, Deployment, FactKey, Failed, Finding, FindingKind, Generation, Item, Plan,
    Planned, Retired, Revision, RevisionId, RolledBack, Service, Slot, Superseded, Timestamp,
};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Duty {
    /// Write the plan of a revision.
    Plan {
        /// Which revision.
        revision: RevisionId,
        /// Its plan.
        plan: Box<Plan>,
        /// The revision it revises.
        revises: Option<RevisionId>,
        /// What differs from that one, and why.
        changes: Vec<Change>,
    },
    /// Get the workers of a revision running and say that they do, or why they do not.
    Deploy {
        /// Which revision.
        revision: RevisionId,
        /// Which try.
        attempt: Attempt,
        /// When it is too late.
        deadline: Timestamp,
    },
    /// Say that a deployment is too late, since nobody else did.
    FailDeploy {
        /// Which revision.
        revision: RevisionId,
        /// Which try.
        attempt: Attempt,
    },
    /// Watch the measurements of a share of the traffic.
    Hold {
        /// Which revision.
        revision: RevisionId,
        /// Its share in percent.
        percent: u8,
    },
    /// Give a revision a larger share of the traffic.
    Shift {
        /// Which revision.
        revision: RevisionId,
        /// The new share in percent.
        percent: u8,
    },
    /// Give it all.
    Release {
        /// Which revision.
        revision: RevisionId,
    },
    /// Give the traffic back to an older revision.
    RollBack {
        /// Which revision is taken back; revision 0 for a generation without a plan.
        revision: RevisionId,
        /// Who gets the traffic.
        to: RevisionId,
        /// One sentence.
        reason: String,
        /// What led to it.
        findings: Vec<Finding>,
        /// The command that demanded it, if a person did.
        command: Option<FactKey>,
    },
    /// End a generation whose place a newer one took.
    Supersede {
        /// Which generation.
        generation: Generation,
        /// The newer one.
        by: Generation,
    },
    /// End a generation that failed with nothing to go back to.
    Abandon {
        /// Which generation.
        generation: Generation,
        /// One sentence.
        reason: String,
        /// What a person should do.
        advice: String,
        /// What led to it.
        findings: Vec<Finding>,
    },
    /// End a generation whose removal is complete, once its workers are gone too.
    Retire {
        /// Which generation.
        generation: Generation,
    },
    /// Raise the alarm that a removal takes too long.
    ReportStuck {
        /// Which generation.
        generation: Generation,
        /// Who has not answered.
        missing: Vec<Service>,
    },
}

impl Duty {
    /// The name for metrics, spans and tables.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Plan { .. } => "plan",
            Self::Deploy { .. } => "deploy",
            Self::FailDeploy { .. } => "fail-deploy",
            Self::Hold { .. } => "hold",
            Self::Shift { .. } => "shift",
            Self::Release { .. } => "release",
            Self::RollBack { .. } => "roll-back",
            Self::Supersede { .. } => "supersede",
            Self::Abandon { .. } => "abandon",
            Self::Retire { .. } => "retire",
            Self::ReportStuck { .. } => "report-stuck",
        }
    }

    /// The fact that this duty writes, as far as it can be known without looking at the world: the answer of `Plan`
    /// lacks its manifests; `Deploy`, `Hold`, `Shift` and `Release` depend on what is measured and have none here.
    #[must_use]
    pub fn fact(&self, deployment: &Deployment) -> Option<(FactKey, Answer)> {
        let key = |id: RevisionId, slot: Slot| FactKey::new(deployment.id.clone(), id, slot);
        match self {
            Self::Plan { revision, plan, revises, changes } => {
                let planned = Planned {
                    digest: plan.digest(),
                    plan: plan.as_ref().clone(),
                    manifests: None,
                    revises: *revises,
                    changes: changes.clone(),
                };
                Some((key(*revision, Slot::Plan), Answer::Planned(planned)))
            }
            Self::FailDeploy { revision, attempt } => {
                // Whoever would have known what the workers lacked was away: that is no fault of the plan.
                let finding = Finding::transient(
                    FindingKind::StartTimeout,
                    "the workers were not ready within the deploy deadline, and no controller could say why",
                );
                let answer = Answer::DeployFailed(Failed { findings: vec![finding] });
                Some((key(*revision, Slot::Deployment).at(*attempt), answer))
            }
            Self::RollBack { revision, to, reason, findings, .. } => {
                let back = RolledBack { to: *to, reason: reason.clone(), findings: findings.clone() };
                Some((key(*revision, Slot::Rollback), Answer::RolledBack(back)))
            }
            Self::Supersede { generation, by } => {
                Some((end(deployment, *generation)?, Answer::Superseded(Superseded { by: *by })))
            }
            Self::Abandon { generation, reason, advice, findings } => {
                let abandoned =
                    Abandoned { reason: reason.clone(), advice: advice.clone(), findings: findings.clone() };
                Some((end(deployment, *generation)?, Answer::Abandoned(abandoned)))
            }
            Self::Retire { generation } => {
                let removed = removed(deployment);
                Some((end(deployment, *generation)?, Answer::Retired(Retired { removed })))
            }
            Self::Deploy { .. }
            | Self::Hold { .. }
            | Self::Shift { .. }
            | Self::Release { .. }
            | Self::ReportStuck { .. } => None,
        }
    }
}

fn end(deployment: &Deployment, generation: Generation) -> Option<FactKey> {
    let attempt = deployment.generations.get(&generation)?.attempts(Slot::End).next();
    let id = RevisionId { generation, revision: Revision(0) };
    Some(FactKey::new(deployment.id.clone(), id, Slot::End).at(attempt))
}

/// What the five say that they removed for the retirement that is under way.
fn removed(deployment: &Deployment) -> Vec<Item> {
    let generation = deployment.retiring().and_then(|g| deployment.generations.get(&g));
    let items = generation.into_iter().flat_map(|generation| {
        Service::REMOVERS.into_iter().filter_map(|service| match generation.answer(Slot::Removal(service)) {
            Some(Answer::Removed(removed)) => Some((service, removed.items.len())),
            _ => None,
        })
    });
    items.map(|(service, count)| Item { name: service.to_string(), value: format!("{count} removed") }).collect()
}
