//! The spec asks for one target: the others are out.

use super::{Change, Demands, Offer, TARGET, Veto, veto as excluded};
use crate::domain::surroundings::name;
use slipway_kernel::spec::Target;

/// Excludes whatever was not asked for.
#[must_use]
pub fn veto(offer: &Offer, demands: &Demands) -> Option<Veto> {
    let asked = demands.target;
    let other = asked != Target::Auto && asked != offer.target;
    other.then(|| excluded(TARGET, format!("the spec asks for `{}` (spec.infrastructure.target)", name(asked))))
}

/// Any target.
pub fn relax(_: &Offer, demands: &mut Demands) -> Option<Change> {
    let asked = std::mem::replace(&mut demands.target, Target::Auto);
    Some(Change::new("spec.infrastructure.target", name(asked), name(Target::Auto)))
}
