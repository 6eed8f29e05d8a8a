//! What a resource is told. The same resource, log and word of the gate give the same status, whoever computes it; only what changed gets a new
//! time.

use super::{
    Condition, ConditionKind, Resource, Status, Truth,
    own::{Own, about, is_retiring, own, stranger},
    step::{MADE_BY_OTHERS, PENDING, RETIRING, is_final, pending},
    words::{camel, cut, last, sentence},
};
use slipway_kernel::{Answer, Deployment, GenerationState, Phase, Slot, Timestamp};

/// What was just said between the bridge and the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A demand is about to be sent.
    Asking {
        /// `ce-id`.
        id: String,
    },
    /// It was refused.
    Refused {
        /// The error's name.
        error: String,
        /// Why, with each value.
        message: String,
    },
    /// The demand to retire was refused.
    NotRetired {
        /// The error's name.
        error: String,
        /// Why.
        message: String,
    },
}

/// The annotation by which a resource takes over what others made.
pub const ADOPT: &str = "slipway.dev/adopt";

/// A condition but for its times.
struct Told {
    status: Truth,
    reason: String,
    message: String,
}

impl Told {
    fn new(status: Truth, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), message: message.into() }
    }
}

/// How a resource stands.
#[must_use]
pub fn status(resource: &Resource, deployment: &Deployment, said: Option<&Said>, now: Timestamp) -> Status {
    let telling = Telling { resource, deployment, own: own(deployment, &resource.uid), said };
    let (about, accepted) = telling.accepted();
    let progressing = telling.progressing(&accepted);
    let ready = telling.ready(about, &accepted);
    let stalled = telling.stalled(&accepted, &progressing);
    let newest = telling.newest();
    let message = match (&accepted, newest) {
        (Told { status: Truth::True, .. }, Some(fact)) => sentence(fact),
        (told, _) => told.message.clone(),
    };
    let second = Timestamp(now.0 - now.0 % 1_000);
    let told = [(ConditionKind::Accepted, Some(&accepted)), (ConditionKind::Progressing, Some(&progressing))];
    let told =
        told.into_iter().chain([(ConditionKind::Ready, Some(&ready)), (ConditionKind::Stalled, stalled.as_ref())]);
    let conditions = told.filter_map(|(kind, told)| {
        let told = told?;
        let before = resource.told(kind).filter(|before| before.status == told.status);
        Some(Condition {
            kind,
            status: told.status,
            observed_generation: if kind == ConditionKind::Accepted { about } else { resource.generation },
            since: before.map_or(second, |before| before.since),
            reason: told.reason.clone(),
            message: cut(&told.message),
        })
    });
    Status {
        observed_generation: resource.generation,
        generation: telling.own.as_ref().map(|own| own.last.generation),
        demand: telling.demand(),
        phase: telling.phase(&accepted),
        serving: telling.own.as_ref().and(deployment.serving()),
        message: cut(&message),
        url: telling.url(),
        last_change: newest.map(|fact| fact.at).or(resource.status.as_ref().and_then(|before| before.last_change)),
        conditions: conditions.collect(),
    }
}

struct Telling<'a> {
    resource: &'a Resource,
    deployment: &'a Deployment,
    own: Option<Own<'a>>,
    said: Option<&'a Said>,
}

impl<'a> Telling<'a> {
    fn newest(&self) -> Option<&'a slipway_kernel::Fact> {
        last(&self.own.as_ref()?.reach)
    }

    fn demand(&self) -> Option<String> {
        match self.said {
            Some(Said::Asking { id }) => Some(id.clone()),
            Some(Said::Refused { .. }) => None,
            Some(Said::NotRetired { .. }) | None => pending(self.resource, self.deployment).map(str::to_owned),
        }
    }

    /// Whether the gate let the spec in, and which spec that is about.
    fn accepted(&self) -> (u64, Told) {
        let (resource, uid) = (self.resource, self.resource.uid.as_str());
        let generation = resource.generation;
        let before = resource.told(ConditionKind::Accepted);
        match self.said {
            Some(Said::Asking { id }) => {
                let told = Told::new(Truth::Unknown, PENDING, "the gate is asked");
                return (about(id, uid).unwrap_or(generation), told);
            }
            Some(Said::Refused { error, message }) => {
                let about = before.map_or(generation, |before| before.observed_generation);
                let reason = camel(error);
                let status = if reason == RETIRING { Truth::Unknown } else { Truth::False };
                return (about, Told::new(status, reason, message.clone()));
            }
            Some(Said::NotRetired { .. }) | None => {}
        }
        let let_in = self.own.as_ref().filter(|own| resource.is_leaving || own.by >= generation);
        if let Some(own) = let_in {
            let message = format!("it is generation {} of {}", own.last.generation, self.deployment.id);
            return (own.by, Told::new(Truth::True, "Accepted", message));
        }
        let kept =
            before.map(|before| (before, Told::new(before.status, before.reason.clone(), before.message.clone())));
        if resource.is_leaving {
            return kept.map_or_else(
                || (generation, Told::new(Truth::Unknown, PENDING, "it was removed before the gate was asked")),
                |(before, told)| (before.observed_generation, told),
            );
        }
        let stranger = stranger(self.deployment, uid);
        if let Some(other) = stranger.filter(|_| !resource.adopts) {
            return (generation, Told::new(Truth::False, MADE_BY_OTHERS, self.made_by(other)));
        }
        if is_retiring(self.deployment) {
            let message = format!("{} is being retired; this one is demanded when it is gone", self.deployment.id);
            return (generation, Told::new(Truth::Unknown, RETIRING, message));
        }
        let is_last_word = |before: &Condition| match before.status {
            Truth::True => stranger.is_none(),
            Truth::False | Truth::Unknown => is_final(before),
        };
        let kept = kept.filter(|(before, _)| before.observed_generation == generation && is_last_word(before));
        let kept = kept.map(|(_, told)| told);
        (generation, kept.unwrap_or_else(|| Told::new(Truth::Unknown, PENDING, "the gate is to be asked")))
    }

    fn made_by(&self, other: &GenerationState) -> String {
        let source = &other.requested().intake.source;
        format!(
            "{} is there already, demanded by {} ({source}); it is left as it is until it is retired, or this resource is annotated \
             {ADOPT}=true to take it over",
            self.deployment.id,
            other.request().actor,
        )
    }

    fn phase_of_own(&self) -> Option<Phase> {
        self.own.as_ref().map(|own| self.deployment.phase_of(own.last))
    }

    fn phase(&self, accepted: &Told) -> String {
        match (self.phase_of_own(), accepted.status) {
            (Some(phase), _) => phase.to_string(),
            (None, Truth::False) => "refused".to_owned(),
            (None, Truth::Unknown) => "pending".to_owned(),
            (None, Truth::True) => Phase::Unknown.to_string(),
        }
    }

    fn progressing(&self, accepted: &Told) -> Told {
        if let Some(Said::NotRetired { error, message }) = self.said {
            return Told::new(Truth::False, camel(error), format!("it is not retired: {message}"));
        }
        let (Some(own), Some(phase)) = (&self.own, self.phase_of_own()) else {
            return Told::new(unless_refused(accepted.status), accepted.reason.clone(), accepted.message.clone());
        };
        let (reason, message) = (reason(phase), self.newest().map(sentence).unwrap_or_default());
        if is_at_rest(phase) {
            Told::new(Truth::False, reason, message)
        } else if own.last.is_paused() {
            Told::new(Truth::Unknown, "Paused", message)
        } else {
            Told::new(Truth::True, reason, message)
        }
    }

    fn ready(&self, about: u64, accepted: &Told) -> Told {
        let serving = self.own.as_ref().and(self.deployment.serving());
        let is_of_this_spec = self.resource.is_leaving || about == self.resource.generation;
        if accepted.status != Truth::True || !is_of_this_spec {
            let meanwhile =
                serving.map_or_else(String::new, |serving| format!("; {serving} has the traffic meanwhile"));
            return Told::new(Truth::False, accepted.reason.clone(), format!("{}{meanwhile}", accepted.message));
        }
        let (Some(own), Some(phase)) = (&self.own, self.phase_of_own()) else {
            return Told::new(Truth::False, "Unknown", "the log knows nothing of it");
        };
        let revision = serving.filter(|id| id.generation == own.last.generation);
        let Some(revision) = revision.and_then(|id| self.deployment.revision(id)) else {
            return Told::new(Truth::False, reason(phase), self.newest().map(sentence).unwrap_or_default());
        };
        match revision.fact(Slot::Degradation).filter(|fact| matches!(fact.answer, Answer::Degraded(_))) {
            Some(degraded) => Told::new(Truth::False, "Degraded", sentence(degraded)),
            None => Told::new(Truth::True, "Released", format!("{} has the traffic", revision.id)),
        }
    }

    /// Whether somebody has to do something.
    fn stalled(&self, accepted: &Told, progressing: &Told) -> Option<Told> {
        let stalled = |told: &Told| Some(Told::new(Truth::True, told.reason.clone(), told.message.clone()));
        if matches!(self.said, Some(Said::NotRetired { .. })) {
            return stalled(progressing);
        }
        if accepted.status == Truth::False {
            return stalled(accepted);
        }
        match self.phase_of_own()? {
            Phase::Abandoned | Phase::RolledBack | Phase::Superseded => stalled(progressing),
            Phase::Retired | Phase::Archived if !self.resource.is_leaving && accepted.status == Truth::True => {
                let message = "it was retired; another spec, or the resource made anew, deploys it again";
                Some(Told::new(Truth::True, "Retired", message))
            }
            _ => None,
        }
    }

    /// What the door says of itself.
    fn url(&self) -> Option<String> {
        let revision = self.deployment.revision(self.own.as_ref().and(self.deployment.serving())?)?;
        let Some(Answer::IngressReady(ready)) = revision.answer(Slot::Ingress) else { return None };
        let item = |name: &str| ready.configured.iter().find(|item| item.name == name).map(|item| item.value.as_str());
        Some(format!("{}{}", item("address")?.trim_end_matches('/'), item("path")?))
    }
}

/// A share of the traffic is told in words; as a reason it is one thing.
fn reason(phase: Phase) -> String {
    match phase {
        Phase::Shifting(_) => "Shifting".to_owned(),
        phase => camel(&phase.to_string()),
    }
}

const fn unless_refused(status: Truth) -> Truth {
    match status {
        Truth::False => Truth::False,
        Truth::True | Truth::Unknown => Truth::Unknown,
    }
}

/// Whether nothing is under way.
const fn is_at_rest(phase: Phase) -> bool {
    match phase {
        Phase::Released
        | Phase::Degraded
        | Phase::RolledBack
        | Phase::Superseded
        | Phase::Abandoned
        | Phase::Retired
        | Phase::Archived => true,
        Phase::Unknown
        | Phase::ChoosingInfrastructure
        | Phase::AwaitingApproval
        | Phase::Provisioning
        | Phase::SelectingPlatform
        | Phase::Planning
        | Phase::Deploying
        | Phase::Configuring
        | Phase::Validating
        | Phase::Validated
        | Phase::Shifting(_)
        | Phase::Failed
        | Phase::Retiring => false,
    }
}
