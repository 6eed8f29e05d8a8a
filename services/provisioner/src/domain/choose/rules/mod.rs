//! The rules that exclude a candidate, one file each. A rule knows offers, never names of candidates.

pub mod budget;
pub mod capacity;
pub mod compliance;
pub mod gpu;
pub mod latency;
pub mod residency;
pub mod target;

use super::offer::Offer;
use crate::domain::demands::Demands;
use slipway_kernel::Veto;

/// The name of the rule that a spec's own choice excludes all others by; it is no hard fact about a candidate.
pub const TARGET: &str = "target";

/// Everything that excludes the candidate.
#[must_use]
pub fn vetoes(offer: &Offer, demands: &Demands) -> Vec<Veto> {
    let rules =
        [target::veto, residency::veto, compliance::veto, gpu::veto, capacity::veto, latency::veto, budget::veto];
    rules.iter().filter_map(|rule| rule(offer, demands)).collect()
}

fn veto(rule: &str, reason: impl Into<String>) -> Veto {
    Veto { rule: rule.to_owned(), reason: reason.into() }
}

fn listed(words: &[String]) -> String {
    if words.is_empty() { "nowhere named".to_owned() } else { words.join(", ") }
}
