//! Cheaper is better: 1 for nothing, one half for 1.0 an hour.

use super::Offer;

/// The part's value.
#[must_use]
pub fn value(offer: &Offer) -> f64 {
    1.0 / (1.0 + offer.cost_per_hour.max(0.0))
}

/// The part's reason.
#[must_use]
pub fn reason(offer: &Offer) -> String {
    format!("{:.3} an hour to begin with, {:.3} with the most workers", offer.cost_per_hour, offer.cost_at_most)
}
