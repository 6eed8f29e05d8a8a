//! Where a model shall run: every candidate is offered to every rule and scored; the best eligible one is chosen.
//!
//! Eligible candidates stand in this order: those that this installation can execute, then those it can reach, then the
//! rest; inside each group by score; equal scores in the order of [`TARGETS`](super::surroundings::TARGETS). A better
//! candidate that cannot be executed is named in the reason, so that nobody takes the choice for the optimum. An
//! explicit target excludes all others, and is itself excluded only by hard facts.

pub mod candidates;
pub mod closest;
pub mod offer;
pub mod rules;
pub mod scores;

use super::{
    demands::Demands,
    surroundings::{Access, Surroundings, TARGETS, name},
};
use slipway_kernel::{Candidate, InfrastructureChosen, spec::Target};

/// What the reason of an excluded candidate begins with that says which demands would have to change.
pub const WOULD_DO: &str = "would do with";
/// Said of a candidate that no change of the spec makes eligible.
const NO_WAY: &str = "nothing that the spec could say makes it eligible";

/// What the reason of a cloud begins with that names its region, before the next colon.
const REGION: &str = "region: ";

/// The region of the target that was chosen, if it has regions.
#[must_use]
pub fn region(chosen: &InfrastructureChosen) -> Option<&str> {
    let candidate = chosen.candidates.iter().find(|candidate| candidate.target == chosen.target)?;
    let reason = candidate.reasons.iter().find_map(|reason| reason.strip_prefix(REGION))?;
    reason.split_once(':').map(|(region, _)| region)
}

/// A candidate with what decides its place.
struct Weighed {
    candidate: Candidate,
    access: Access,
}

impl Weighed {
    /// Lower comes first.
    fn group(&self) -> u8 {
        match (self.candidate.vetoes.is_empty(), self.access.executable, self.access.reachable) {
            (true, true, _) => 0,
            (true, false, true) => 1,
            (true, false, false) => 2,
            (false, _, _) => 3,
        }
    }
}

/// Chooses. The same demands in the same surroundings give the same choice.
#[must_use]
pub fn choose(demands: &Demands, surroundings: &Surroundings) -> InfrastructureChosen {
    let mut weighed: Vec<Weighed> = candidates::offers(demands, surroundings)
        .into_iter()
        .map(|offer| weigh(offer, demands, surroundings))
        .collect();
    // A stable sort: equal scores stay in the order of the offers.
    weighed.sort_by(|a, b| a.group().cmp(&b.group()).then(b.candidate.score.total_cmp(&a.candidate.score)));
    let (target, reason) = verdict(&weighed, demands, surroundings);
    InfrastructureChosen {
        needs_approval: demands.needs_approval && !target.is_empty(),
        target,
        reason,
        candidates: weighed.into_iter().map(|weighed| weighed.candidate).collect(),
        machine: surroundings.machine.clone(),
    }
}

fn weigh(offer: offer::Offer, demands: &Demands, surroundings: &Surroundings) -> Weighed {
    let vetoes = rules::vetoes(&offer, demands);
    let scores::Score { value, mut reasons } = scores::score(&offer, demands);
    if let offer::Site::Region(why) = &offer.site {
        reasons.push(format!("{REGION}{why}"));
    }
    reasons.push(offer.access.note.clone());
    // Who was not asked for, is not asked what it would take.
    if !vetoes.is_empty() && vetoes.iter().all(|veto| veto.rule != rules::TARGET) {
        let way = closest::relaxed(offer.target, demands, surroundings);
        reasons.push(way.map_or_else(|| NO_WAY.to_owned(), |way| format!("{WOULD_DO} {}", way.said())));
    }
    let candidate = Candidate {
        target: name(offer.target).to_owned(),
        score: if vetoes.is_empty() { value } else { 0.0 },
        vetoes,
        reasons,
        cost_per_hour: offer.cost_per_hour,
    };
    Weighed { candidate, access: offer.access }
}

fn verdict(weighed: &[Weighed], demands: &Demands, surroundings: &Surroundings) -> (String, String) {
    let eligible: Vec<&Weighed> = weighed.iter().filter(|w| w.candidate.vetoes.is_empty()).collect();
    let Some(best) = eligible.first() else {
        return (String::new(), nothing_left(weighed, demands, surroundings));
    };
    let chosen = best.candidate.target.clone();
    let score = best.candidate.score;
    let prices = format!("prices of {} in {}", surroundings.prices.as_of, surroundings.prices.currency);
    if demands.target != Target::Auto {
        let consequence = if best.access.executable { "" } else { ", though this installation has no executor for it" };
        return (chosen.clone(), format!("the spec asks for {chosen}, and nothing speaks against it{consequence}"));
    }
    let highest = eligible.iter().map(|w| &w.candidate).max_by(|a, b| a.score.total_cmp(&b.score));
    let better = highest.filter(|highest| highest.score > score);
    let reason = match (best.access.executable, better) {
        (true, Some(better)) => format!(
            "{chosen} is the best that this installation can execute (score {score:.3}, {prices}); {} scores higher ({:.3}) but has no executor here",
            better.target, better.score
        ),
        (true, None) => format!("{chosen} has the highest score of those that are eligible ({score:.3}, {prices})"),
        (false, _) => format!(
            "{chosen} (score {score:.3}, {prices}); nothing that this installation can execute fulfils the demands: {}",
            why_not_executable(weighed)
        ),
    };
    (chosen, reason)
}

fn nothing_left(weighed: &[Weighed], demands: &Demands, surroundings: &Surroundings) -> String {
    // With an explicit target only that one is of interest: the others are out because they were not asked for.
    let asked = weighed.iter().filter(|w| w.candidate.vetoes.iter().all(|veto| veto.rule != rules::TARGET));
    let reasons: Vec<String> = asked.map(|w| said(&w.candidate)).collect();
    let verdict = if demands.target == Target::Auto {
        "no infrastructure fulfils the demands"
    } else {
        "the target asked for does not fulfil the demands"
    };
    let closest = closest::closest(TARGETS.into_iter(), demands, surroundings);
    let closest = closest.map_or_else(String::new, |closest| {
        format!("; the closest that would do is {} with {}", name(closest.target), closest.said())
    });
    format!("{verdict}: {}{closest}", reasons.join(" | "))
}

fn why_not_executable(weighed: &[Weighed]) -> String {
    let executable = weighed.iter().filter(|w| w.access.executable);
    executable.map(|w| said(&w.candidate)).collect::<Vec<_>>().join(" | ")
}

fn said(candidate: &Candidate) -> String {
    let reasons: Vec<&str> = candidate.vetoes.iter().map(|veto| veto.reason.as_str()).collect();
    format!("{}: {}", candidate.target, reasons.join("; "))
}

#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod tests;
