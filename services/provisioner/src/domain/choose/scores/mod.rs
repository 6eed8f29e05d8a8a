//! The score of a candidate: a weighted mean of five parts, one file each, every part from 0 to 1.
//!
//! | part | weight, steady load | weight, bursty load | from |
//! |---|---|---|---|
//! | elasticity | 0.15 | 0.35 | how well it follows peaks |
//! | cost | 0.25 | 0.20 | 1 / (1 + cost per hour) |
//! | latency | 0.20 | 0.15 | 10 ms / (10 ms + network to the clients) |
//! | effort | 0.25 | 0.20 | how little work it makes |
//! | locality | 0.15 | 0.10 | how near it is to the data |
//!
//! The weights are judgement, not measurement: steady load is mostly about what it costs in money and work, bursty load
//! about whether it can follow. No part looks at what only the rules look at (residency, compliance, budgets), so a
//! stricter demand can exclude a candidate and never lifts one.

pub mod cost;
pub mod latency;

use super::offer::Offer;
use crate::domain::demands::Demands;
use slipway_kernel::spec::Elasticity;

/// A score with what it is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// 0 to 1.
    pub value: f64,
    /// One sentence per part.
    pub reasons: Vec<String>,
}

/// Scores the candidate.
#[must_use]
pub fn score(offer: &Offer, demands: &Demands) -> Score {
    let [elasticity, cost, latency, effort, locality] = match demands.elasticity {
        Elasticity::Steady => [0.15, 0.25, 0.20, 0.25, 0.15],
        Elasticity::Bursty => [0.35, 0.20, 0.15, 0.20, 0.10],
    };
    let parts = [
        ("elasticity", elasticity, offer.elasticity.value, offer.elasticity.reason.to_owned()),
        ("cost", cost, cost::value(offer), cost::reason(offer)),
        ("latency", latency, latency::value(offer), latency::reason(offer)),
        ("effort", effort, offer.effort.value, offer.effort.reason.to_owned()),
        ("locality", locality, offer.locality.value, offer.locality.reason.to_owned()),
    ];
    let value: f64 = parts.iter().map(|(_, weight, value, _)| weight * value).sum();
    // Three digits tell candidates apart; more would differ from machine to machine.
    Score {
        value: (value * 1_000.0).round() / 1_000.0,
        reasons: parts
            .into_iter()
            .map(|(part, weight, value, reason)| format!("{part} {value:.2} × {weight:.2}: {reason}"))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        choose::candidates::{aws, local},
        demands::tests::modest,
        surroundings::tests::small_machine,
    };

    #[test]
    fn a_bursty_load_speaks_for_what_can_follow_it() {
        let bursty = Demands { elasticity: Elasticity::Bursty, ..modest() };
        let ahead = |demands: &Demands| {
            let here = small_machine();
            score(&local::offer(demands, &here), demands).value - score(&aws::offer(demands, &here), demands).value
        };
        assert!(ahead(&modest()) > ahead(&bursty));
    }

    #[test]
    fn every_part_gives_its_reason() {
        let reasons = score(&local::offer(&modest(), &small_machine()), &modest()).reasons;
        for (reason, part) in reasons.iter().zip(["elasticity", "cost", "latency", "effort", "locality"]) {
            assert!(reason.starts_with(part), "{reason}");
        }
    }
}
