//! Google GKE.

use super::cloud;
use crate::domain::{
    choose::offer::{Grade, Offer},
    demands::Demands,
    surroundings::Surroundings,
};
use slipway_kernel::spec::Target;

const EFFORT: Grade = Grade::new(0.5, "a managed control plane and, with Autopilot, managed nodes");

/// What it offers.
#[must_use]
pub fn offer(demands: &Demands, surroundings: &Surroundings) -> Offer {
    cloud::offer(Target::Gcp, &surroundings.prices.gcp, EFFORT, demands, surroundings)
}
