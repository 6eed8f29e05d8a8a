//! Nearer is better: 1 for no network, one half at 10 ms, which is what a good inference takes itself.

use super::Offer;

/// The part's value.
#[must_use]
pub fn value(offer: &Offer) -> f64 {
    10.0 / (10.0 + offer.latency.as_millis_f64())
}

/// The part's reason.
#[must_use]
pub fn reason(offer: &Offer) -> String {
    format!("{} of network to the clients", offer.latency)
}
