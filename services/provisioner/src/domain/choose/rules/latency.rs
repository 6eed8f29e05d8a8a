//! The network to the clients may cost so much and no more.

use super::{Demands, Offer, Veto, veto as excluded};

/// Excludes what is too far away.
#[must_use]
pub fn veto(offer: &Offer, demands: &Demands) -> Option<Veto> {
    let budget = demands.latency_budget?;
    (offer.latency > budget).then(|| {
        let reason = format!("the network to the clients costs {}, the budget is {budget}", offer.latency);
        excluded("latency-budget", reason)
    })
}
