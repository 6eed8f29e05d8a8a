//! Azure AKS.

use super::cloud::{self, Cloud};
use crate::domain::{
    choose::offer::{Grade, Offer},
    demands::Demands,
    surroundings::Surroundings,
};
use slipway_kernel::spec::Target;

const AZURE: Cloud = Cloud {
    target: Target::Azure,
    regions: &["eu", "us", "uk", "apac", "ca"],
    // ND H200 v5.
    gpu_bytes: 141_000_000_000,
    effort: Grade::new(0.45, "a managed control plane; network, identities and node pools are yours to describe"),
};

/// What it offers.
#[must_use]
pub fn offer(demands: &Demands, surroundings: &Surroundings) -> Offer {
    cloud::offer(&AZURE, demands, surroundings)
}
