//! Amazon EKS.

use super::cloud;
use crate::domain::{
    choose::offer::{Grade, Offer},
    demands::Demands,
    surroundings::Surroundings,
};
use slipway_kernel::spec::Target;

const EFFORT: Grade = Grade::new(0.45, "a managed control plane; network, roles and nodes are yours to describe");

/// What it offers.
#[must_use]
pub fn offer(demands: &Demands, surroundings: &Surroundings) -> Offer {
    cloud::offer(Target::Aws, &surroundings.prices.aws, EFFORT, demands, surroundings)
}
