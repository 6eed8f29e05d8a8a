//! Azure AKS.

use super::cloud;
use crate::domain::{
    choose::offer::{Grade, Offer},
    demands::Demands,
    surroundings::Surroundings,
};
use slipway_kernel::spec::Target;

const EFFORT: Grade =
    Grade::new(0.45, "a managed control plane; network, identities and node pools are yours to describe");

/// What it offers.
#[must_use]
pub fn offer(demands: &Demands, surroundings: &Surroundings) -> Offer {
    cloud::offer(Target::Azure, &surroundings.prices.azure, EFFORT, demands, surroundings)
}
