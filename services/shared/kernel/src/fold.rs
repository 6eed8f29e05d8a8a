//! State is folded, never stored: `fold` turns a set of facts into a deployment.
//!
//! Order is (generation, revision, slot rank, attempt), never stream position and never time, so
//! `fold(shuffle(log)) = fold(log)`. The fold is total: a fact that cannot count is set aside with its reason.

use crate::{
    answer::{Answer, Planned, PlatformSelected, Requested},
    fact::{Fact, FactKey, SetAside},
    ids::{Attempt, DeploymentId, Generation, Revision, RevisionId, Service},
    slot::Slot,
    spec::{ModelDeployment, Spec},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// The counted answers to one question, in the order of their attempts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attempts(Vec<Answered>);

/// A counted fact.
pub type Answered = Arc<Fact>;

impl Attempts {
    /// The answer that holds: the last one.
    #[must_use]
    pub fn last(&self) -> Option<&Answered> {
        self.0.last()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Answered> {
        self.0.iter()
    }

    /// The number of the next attempt, whether or not it is permitted yet.
    #[must_use]
    pub fn next(&self) -> Attempt {
        Attempt(u32::try_from(self.0.len()).unwrap_or(u32::MAX))
    }
}

type Slots = BTreeMap<Slot, Attempts>;

/// One set of manifests and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionState {
    /// `<generation>-<revision>`.
    pub id: RevisionId,
    slots: Slots,
}

impl RevisionState {
    /// The answers to `slot`.
    #[must_use]
    pub fn attempts(&self, slot: Slot) -> &Attempts {
        attempts(&self.slots, slot)
    }

    /// The answer to `slot` that holds.
    #[must_use]
    pub fn answer(&self, slot: Slot) -> Option<&Answer> {
        self.fact(slot).map(|fact| &fact.answer)
    }

    /// The fact that holds for `slot`.
    #[must_use]
    pub fn fact(&self, slot: Slot) -> Option<&Answered> {
        self.attempts(slot).last()
    }

    /// The plan.
    #[must_use]
    pub fn planned(&self) -> Option<&Planned> {
        match self.answer(Slot::Plan) {
            Some(Answer::Planned(planned)) => Some(planned),
            _ => None,
        }
    }

    /// The highest share of traffic it was given by a shift, in percent.
    #[must_use]
    pub fn shifted(&self) -> Option<u8> {
        self.slots.keys().rev().find_map(|slot| match slot {
            Slot::Shift(percent) => Some(*percent),
            _ => None,
        })
    }

    /// Whether its workers run, as far as the log knows.
    #[must_use]
    pub fn is_deployed(&self) -> bool {
        matches!(self.answer(Slot::Deployment), Some(Answer::Deployed(_)))
    }

    /// Whether it passed validation.
    #[must_use]
    pub fn is_validated(&self) -> bool {
        matches!(self.answer(Slot::Validation), Some(Answer::Validated(_)))
    }

    /// Whether it was put into production.
    #[must_use]
    pub fn is_released(&self) -> bool {
        self.fact(Slot::Release).is_some()
    }

    /// Whether it was taken back.
    #[must_use]
    pub fn is_rolled_back(&self) -> bool {
        self.fact(Slot::Rollback).is_some()
    }

    /// Whether it passed validation, was released and was never taken back.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.is_validated() && self.is_released() && !self.is_rolled_back()
    }

    /// Every counted fact, in the order of the fold.
    pub fn facts(&self) -> impl Iterator<Item = &Answered> {
        self.slots.values().flat_map(Attempts::iter)
    }
}

/// One version of the spec and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationState {
    /// The generation.
    pub generation: Generation,
    request: Answered,
    slots: Slots,
    /// Its revisions, from 1.
    pub revisions: BTreeMap<Revision, RevisionState>,
}

impl GenerationState {
    /// What was asked for.
    ///
    /// # Panics
    /// Never: the fold makes a generation from a `requested` fact only.
    #[must_use]
    pub fn requested(&self) -> &Requested {
        match &self.request.answer {
            Answer::Requested(requested) => requested,
            _ => unreachable!("the fold makes a generation from `requested` only"),
        }
    }

    /// The fact that opened the generation.
    #[must_use]
    pub fn request(&self) -> &Answered {
        &self.request
    }

    /// The document.
    #[must_use]
    pub fn document(&self) -> &ModelDeployment {
        &self.requested().deployment
    }

    /// The spec.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.document().spec
    }

    /// The answers to `slot` at revision 0.
    #[must_use]
    pub fn attempts(&self, slot: Slot) -> &Attempts {
        attempts(&self.slots, slot)
    }

    /// The answer to `slot` at revision 0 that holds.
    #[must_use]
    pub fn answer(&self, slot: Slot) -> Option<&Answer> {
        self.fact(slot).map(|fact| &fact.answer)
    }

    /// The fact that holds for `slot` at revision 0.
    #[must_use]
    pub fn fact(&self, slot: Slot) -> Option<&Answered> {
        self.attempts(slot).last()
    }

    /// The platform, once selected.
    #[must_use]
    pub fn platform(&self) -> Option<&PlatformSelected> {
        match self.answer(Slot::Platform) {
            Some(Answer::PlatformSelected(selected)) => Some(selected),
            _ => None,
        }
    }

    /// The last revision.
    #[must_use]
    pub fn latest(&self) -> Option<&RevisionState> {
        self.revisions.values().next_back()
    }

    /// Commands in the order of their numbers.
    pub fn commands(&self) -> impl Iterator<Item = &Answered> {
        self.slots.iter().filter(|(slot, _)| matches!(slot, Slot::Command(_))).filter_map(|(_, a)| a.last())
    }

    /// The number the next command gets.
    #[must_use]
    pub fn next_command(&self) -> u32 {
        self.slots
            .keys()
            .rev()
            .find_map(|slot| match slot {
                Slot::Command(number) => Some(number.saturating_add(1)),
                _ => None,
            })
            .unwrap_or(0)
    }

    /// Whether a person holds the rollout: the last of `paused` and `resumed` is `paused`.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.commands()
            .filter(|fact| matches!(fact.answer, Answer::Paused(_) | Answer::Resumed(_)))
            .last()
            .is_some_and(|fact| matches!(fact.answer, Answer::Paused(_)))
    }

    /// The first demand to retire.
    #[must_use]
    pub fn retire_requested(&self) -> Option<&Answered> {
        self.commands().find(|fact| matches!(fact.answer, Answer::RetireRequested(_)))
    }

    /// How it ended, by an `end` fact.
    #[must_use]
    pub fn ended(&self) -> Option<&Answer> {
        self.answer(Slot::End)
    }

    /// The rollback that closed the generation: at revision 0, or at its last revision to another generation.
    #[must_use]
    pub fn closed_by_rollback(&self) -> Option<&Answered> {
        let last = self.latest().map_or_else(|| self.fact(Slot::Rollback), |revision| revision.fact(Slot::Rollback))?;
        match &last.answer {
            Answer::RolledBack(back) if back.to.generation != self.generation => Some(last),
            _ => None,
        }
    }

    /// Whether nothing more will be decided for it, except to retire it.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.ended().is_some() || self.closed_by_rollback().is_some()
    }

    /// Every counted fact of the generation, in the order of the fold.
    pub fn facts(&self) -> impl Iterator<Item = &Answered> {
        let own = self.slots.values().flat_map(Attempts::iter);
        own.chain(self.revisions.values().flat_map(RevisionState::facts))
    }
}

fn attempts(slots: &Slots, slot: Slot) -> &Attempts {
    static NONE: Attempts = Attempts(Vec::new());
    slots.get(&slot).unwrap_or(&NONE)
}

/// A deployment as its facts tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Which.
    pub id: DeploymentId,
    /// Its generations.
    pub generations: BTreeMap<Generation, GenerationState>,
    /// Facts that do not count, sorted.
    pub set_aside: Vec<SetAside>,
}

impl Deployment {
    /// The newest generation.
    #[must_use]
    pub fn newest(&self) -> Option<&GenerationState> {
        self.generations.values().next_back()
    }

    /// One revision.
    #[must_use]
    pub fn revision(&self, id: RevisionId) -> Option<&RevisionState> {
        self.generations.get(&id.generation)?.revisions.get(&id.revision)
    }

    /// Every revision, oldest first.
    pub fn revisions(&self) -> impl DoubleEndedIterator<Item = &RevisionState> {
        self.generations.values().flat_map(|generation| generation.revisions.values())
    }

    /// The newest generation whose retirement was demanded; it covers all up to it.
    #[must_use]
    pub fn retiring(&self) -> Option<Generation> {
        self.generations.values().rev().find(|g| g.retire_requested().is_some()).map(|g| g.generation)
    }

    /// Whether `generation` is covered by a demand to retire.
    #[must_use]
    pub fn is_retiring(&self, generation: Generation) -> bool {
        self.retiring().is_some_and(|covered| generation <= covered)
    }

    /// The revision that has the traffic (all of it, or what a shift leaves).
    #[must_use]
    pub fn serving(&self) -> Option<RevisionId> {
        let mut serving = None;
        for generation in self.generations.values() {
            if let Some(Answer::RolledBack(back)) = generation.answer(Slot::Rollback) {
                serving = Some(back.to);
            }
            for revision in generation.revisions.values() {
                if revision.is_released() {
                    serving = Some(revision.id);
                }
                if let Some(Answer::RolledBack(back)) = revision.answer(Slot::Rollback) {
                    serving = Some(back.to);
                }
            }
        }
        let serving = serving.map(|id| self.past_rollbacks(id));
        serving.filter(|id: &RevisionId| !self.is_retiring(id.generation) && self.revision(*id).is_some())
    }

    /// The revision that has the traffic of `id`: a revision that was gone back to may itself be taken back later. Each
    /// rollback leads to an older revision, so this ends.
    fn past_rollbacks(&self, mut id: RevisionId) -> RevisionId {
        while let Some(Answer::RolledBack(back)) = self.revision(id).and_then(|r| r.answer(Slot::Rollback)) {
            if back.to >= id {
                break;
            }
            id = back.to;
        }
        id
    }

    /// The last revision before `id` that passed validation, was released and never taken back.
    #[must_use]
    pub fn last_good_before(&self, id: RevisionId) -> Option<RevisionId> {
        self.revisions()
            .rev()
            .find(|revision| revision.id < id && revision.is_good() && !self.is_retiring(revision.id.generation))
            .map(|revision| revision.id)
    }

    /// Revisions that were taken back: their results are refused from then on.
    #[must_use]
    pub fn fenced(&self) -> BTreeSet<RevisionId> {
        let back = |revision: &&RevisionState| revision.is_rolled_back();
        self.revisions().filter(back).map(|revision| revision.id).collect()
    }

    /// Whether anything is left to do for anybody: the newest generation is not terminal, or a retirement is under way.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.generations.values().any(|generation| !generation.is_terminal())
            || self
                .retiring()
                .and_then(|g| self.generations.get(&g))
                .is_some_and(|g| !matches!(g.ended(), Some(Answer::Retired(_) | Answer::Archived(_))))
    }

    /// Every counted fact, in the order of the fold.
    pub fn facts(&self) -> impl Iterator<Item = &Answered> {
        self.generations.values().flat_map(GenerationState::facts)
    }

    /// The gate's fact that answers this intake message, if there is one.
    #[must_use]
    pub fn answered_intake(&self, source: &str, id: &str) -> Option<&Answered> {
        self.facts().find(|fact| fact.answer.intake().is_some_and(|intake| intake.source == source && intake.id == id))
    }

    /// Where the newest generation stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.newest().map_or(Phase::Unknown, |generation| self.phase_of(generation))
    }

    /// Where a generation stands.
    #[must_use]
    pub fn phase_of(&self, generation: &GenerationState) -> Phase {
        if let Some(end) = generation.ended() {
            return match end {
                Answer::Superseded(_) => Phase::Superseded,
                Answer::Abandoned(_) => Phase::Abandoned,
                Answer::Archived(_) => Phase::Archived,
                _ => Phase::Retired,
            };
        }
        if self.is_retiring(generation.generation) {
            return Phase::Retiring;
        }
        if generation.closed_by_rollback().is_some() {
            return Phase::RolledBack;
        }
        match generation.latest() {
            Some(revision) => phase_of_revision(revision),
            None => phase_before_plan(generation),
        }
    }
}

fn phase_before_plan(generation: &GenerationState) -> Phase {
    match (generation.answer(Slot::Choice), generation.answer(Slot::Infrastructure), generation.answer(Slot::Platform))
    {
        (_, _, Some(Answer::PlatformSelected(_))) => Phase::Planning,
        (_, _, Some(_)) | (_, Some(Answer::InfrastructureFailed(_)), _) => Phase::Failed,
        (_, Some(_), None) => Phase::SelectingPlatform,
        (Some(Answer::InfrastructureChosen(chosen)), None, None) => match generation.answer(Slot::Approval) {
            Some(Answer::Declined(_)) => Phase::Failed,
            None if chosen.needs_approval => Phase::AwaitingApproval,
            _ => Phase::Provisioning,
        },
        _ => Phase::ChoosingInfrastructure,
    }
}

fn phase_of_revision(revision: &RevisionState) -> Phase {
    if revision.is_rolled_back() {
        return Phase::RolledBack;
    }
    if let Some(Answer::Degraded(_)) = revision.answer(Slot::Degradation) {
        return Phase::Degraded;
    }
    if revision.is_released() {
        return Phase::Released;
    }
    if let Some(percent) = revision.shifted() {
        return Phase::Shifting(percent);
    }
    match (revision.answer(Slot::Deployment), revision.answer(Slot::Validation)) {
        (_, Some(Answer::Validated(_))) => Phase::Validated,
        (_, Some(Answer::ValidationFailed(_))) | (Some(Answer::DeployFailed(_)), _) => Phase::Failed,
        (Some(_), _) if Slot::PARALLEL.iter().any(|slot| revision.fact(*slot).is_none()) => Phase::Configuring,
        (Some(_), _) => Phase::Validating,
        (None, _) => Phase::Deploying,
    }
}

/// Where a generation stands, for people and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// There is no generation.
    Unknown,
    /// The provisioner weighs the candidates.
    ChoosingInfrastructure,
    /// A person must approve.
    AwaitingApproval,
    /// The infrastructure is made ready.
    Provisioning,
    /// The model is read and a platform chosen.
    SelectingPlatform,
    /// A plan is made.
    Planning,
    /// Workers start.
    Deploying,
    /// Ingress, outputs, observability and security are set up.
    Configuring,
    /// It is proved.
    Validating,
    /// It is proved, and has no traffic yet.
    Validated,
    /// It has this share of the traffic.
    Shifting(u8),
    /// It has the traffic and is watched.
    Released,
    /// It misses its objectives.
    Degraded,
    /// A step failed; the controller decides what follows.
    Failed,
    /// The traffic is back on the last good revision.
    RolledBack,
    /// It is being taken down.
    Retiring,
    /// A newer generation took its place.
    Superseded,
    /// It failed and there was nothing to go back to.
    Abandoned,
    /// It is gone.
    Retired,
    /// Its facts are exported and purged.
    Archived,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Unknown => "unknown",
            Self::ChoosingInfrastructure => "choosing-infrastructure",
            Self::AwaitingApproval => "awaiting-approval",
            Self::Provisioning => "provisioning",
            Self::SelectingPlatform => "selecting-platform",
            Self::Planning => "planning",
            Self::Deploying => "deploying",
            Self::Configuring => "configuring",
            Self::Validating => "validating",
            Self::Validated => "validated",
            Self::Shifting(percent) => return write!(f, "shifting-{percent}"),
            Self::Released => "released",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::RolledBack => "rolled-back",
            Self::Retiring => "retiring",
            Self::Superseded => "superseded",
            Self::Abandoned => "abandoned",
            Self::Retired => "retired",
            Self::Archived => "archived",
        };
        f.write_str(word)
    }
}

/// Folds a set of facts of one deployment. Facts of other deployments are set aside.
#[must_use]
pub fn fold(id: &DeploymentId, facts: impl IntoIterator<Item = Arc<Fact>>) -> Deployment {
    let mut folding = Folding { aside: Vec::new() };
    let mut facts: Vec<Arc<Fact>> = facts.into_iter().collect();
    facts.sort_by(|a, b| (a.key.order(), &a.id, a.sequence).cmp(&(b.key.order(), &b.id, b.sequence)));
    let facts = folding.well_formed(id, facts);
    let facts = folding.without_annulled(facts);
    let generations = folding.generations(facts);
    folding.aside.sort();
    Deployment { id: id.clone(), generations, set_aside: folding.aside }
}

struct Folding {
    aside: Vec<SetAside>,
}

impl Folding {
    fn set_aside(&mut self, fact: &Fact, reason: impl Into<String>) {
        self.aside.push(SetAside { subject: fact.key.to_string(), reason: reason.into() });
    }

    /// Facts that belong here, answer their slot, stand at a revision where that slot may stand, and are the only ones.
    fn well_formed(&mut self, id: &DeploymentId, facts: Vec<Arc<Fact>>) -> Vec<Arc<Fact>> {
        let mut kept: Vec<Arc<Fact>> = Vec::with_capacity(facts.len());
        for fact in facts {
            if fact.key.deployment != *id {
                self.set_aside(&fact, "a fact of another deployment");
            } else if !fact.answer.answers(fact.key.slot) {
                self.set_aside(&fact, format!("`{}` is no answer to `{}`", fact.answer.name(), fact.key.slot));
            } else if !fact.key.slot.fits_revision(fact.key.revision.0) {
                self.set_aside(&fact, format!("`{}` does not stand at revision {}", fact.key.slot, fact.key.revision));
            } else if kept.last().is_some_and(|last| last.key == fact.key) {
                self.set_aside(&fact, "the question has an answer already");
            } else {
                kept.push(fact);
            }
        }
        kept
    }

    /// Facts that no operator annulled. An annulment itself cannot be annulled: whoever erred writes what he means anew.
    fn without_annulled(&mut self, facts: Vec<Arc<Fact>>) -> Vec<Arc<Fact>> {
        let mut annulled: BTreeMap<String, String> = BTreeMap::new();
        for fact in &facts {
            if let Answer::Annulled(annulment) = &fact.answer {
                annulled.entry(annulment.fact.clone()).or_insert_with(|| annulment.reason.clone());
            }
        }
        let (kept, gone): (Vec<_>, Vec<_>) = facts.into_iter().partition(|fact| {
            matches!(fact.answer, Answer::Annulled(_)) || !annulled.contains_key(&fact.key.to_string())
        });
        for fact in gone {
            let reason = annulled.get(&fact.key.to_string()).cloned().unwrap_or_default();
            self.set_aside(&fact, format!("annulled: {reason}"));
        }
        kept
    }

    fn generations(&mut self, facts: Vec<Arc<Fact>>) -> BTreeMap<Generation, GenerationState> {
        let mut generations: BTreeMap<Generation, GenerationState> = BTreeMap::new();
        let may_repeat = Repeats::of(&facts);
        for fact in facts {
            if fact.key.slot == Slot::Request && fact.key.attempt == Attempt(0) {
                generations.insert(
                    fact.key.generation,
                    GenerationState {
                        generation: fact.key.generation,
                        request: Arc::clone(&fact),
                        slots: Slots::from([(Slot::Request, Attempts(vec![fact]))]),
                        revisions: BTreeMap::new(),
                    },
                );
                continue;
            }
            let Some(generation) = generations.get_mut(&fact.key.generation) else {
                self.set_aside(&fact, "its generation has no `requested`");
                continue;
            };
            let slots = if fact.key.revision == Revision(0) {
                &mut generation.slots
            } else if fact.key.slot == Slot::Plan {
                let id = fact.key.revision_id();
                &mut generation.revisions.entry(id.revision).or_insert(RevisionState { id, slots: Slots::new() }).slots
            } else if let Some(revision) = generation.revisions.get_mut(&fact.key.revision) {
                &mut revision.slots
            } else {
                self.set_aside(&fact, "its revision has no `planned`");
                continue;
            };
            let held = slots.get(&fact.key.slot);
            match illegal(&fact, held, &may_repeat) {
                Some(reason) => {
                    self.set_aside(&fact, reason);
                    // A plan that does not count makes no revision.
                    generation.revisions.retain(|_, revision| !revision.slots.is_empty());
                }
                None => slots.entry(fact.key.slot).or_default().0.push(fact),
            }
        }
        generations
    }
}

/// What a person's commands permit to be asked again.
struct Repeats {
    revalidation: BTreeSet<Generation>,
    resumed: BTreeSet<Generation>,
}

impl Repeats {
    fn of(facts: &[Arc<Fact>]) -> Self {
        let having = |is: fn(&Answer) -> bool| {
            facts.iter().filter(|fact| is(&fact.answer)).map(|fact| fact.key.generation).collect()
        };
        Self {
            revalidation: having(|answer| matches!(answer, Answer::RevalidationRequested(_))),
            resumed: having(|answer| matches!(answer, Answer::Resumed(_))),
        }
    }
}

/// Why the fact may not follow what its question holds already.
fn illegal(fact: &Fact, held: Option<&Attempts>, repeats: &Repeats) -> Option<String> {
    let FactKey { slot, attempt, generation, .. } = fact.key;
    let next = held.map_or(Attempt(0), Attempts::next);
    if attempt != next {
        return Some(format!("attempt {attempt} without attempt {next}"));
    }
    let Some(previous) = held.and_then(Attempts::last) else {
        let first_is_recovery = matches!(fact.answer, Answer::Recovered(_));
        return first_is_recovery.then(|| "`recovered` without `degraded`".to_owned());
    };
    let permitted = match (&previous.answer, slot) {
        (Answer::ValidationInconclusive(_), _) => true,
        (answer, _) if answer.failed_transiently() => true,
        (_, Slot::Validation) => repeats.revalidation.contains(&generation),
        (_, Slot::Shift(_)) => repeats.resumed.contains(&generation),
        (Answer::Degraded(_), Slot::Degradation) => matches!(fact.answer, Answer::Recovered(_)),
        (Answer::Recovered(_), Slot::Degradation) => matches!(fact.answer, Answer::Degraded(_)),
        // What ended may still be retired, and what is retired may be archived.
        (Answer::Superseded(_) | Answer::Abandoned(_), Slot::End) => matches!(fact.answer, Answer::Retired(_)),
        (Answer::Retired(_), Slot::End) => matches!(fact.answer, Answer::Archived(_)),
        _ => false,
    };
    (!permitted).then(|| format!("`{}` permits no further attempt", previous.answer.name()))
}

impl GenerationState {
    /// Whether the five have removed what they made.
    #[must_use]
    pub fn removed(&self, service: Service) -> bool {
        matches!(self.answer(Slot::Removal(service)), Some(Answer::Removed(_)))
    }
}
