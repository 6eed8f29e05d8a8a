//! The network to the clients may cost so much and no more.

use super::{Change, Demands, Offer, Veto, veto as excluded};

/// Excludes what is too far away.
#[must_use]
pub fn veto(offer: &Offer, demands: &Demands) -> Option<Veto> {
    let budget = demands.latency_budget?;
    (offer.latency > budget).then(|| {
        let reason = format!("the network to the clients costs {}, the budget is {budget}", offer.latency);
        excluded("latency-budget", reason)
    })
}

/// The time that would be enough.
pub fn relax(offer: &Offer, demands: &mut Demands) -> Option<Change> {
    let budget = demands.latency_budget.replace(offer.latency)?;
    Some(Change::new("spec.infrastructure.latencyBudget", budget, offer.latency))
}
