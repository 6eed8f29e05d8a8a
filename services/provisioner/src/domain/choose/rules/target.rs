//! The spec asks for one target: the others are out.

use super::{Demands, Offer, TARGET, Veto, veto as excluded};
use crate::domain::surroundings::name;
use slipway_kernel::spec::Target;

/// Excludes whatever was not asked for.
#[must_use]
pub fn veto(offer: &Offer, demands: &Demands) -> Option<Veto> {
    let asked = demands.target;
    let other = asked != Target::Auto && asked != offer.target;
    other.then(|| excluded(TARGET, format!("the spec asks for `{}` (spec.infrastructure.target)", name(asked))))
}
