//! Amazon EKS.

use super::cloud::{self, Cloud};
use crate::domain::{
    choose::offer::{Grade, Offer},
    demands::Demands,
    surroundings::Surroundings,
};
use slipway_kernel::spec::Target;

const AWS: Cloud = Cloud {
    target: Target::Aws,
    regions: &["eu", "us", "uk", "apac", "ca"],
    // p5en: NVIDIA H200.
    gpu_bytes: 141_000_000_000,
    effort: Grade::new(0.45, "a managed control plane; network, roles and nodes are yours to describe"),
};

/// What it offers.
#[must_use]
pub fn offer(demands: &Demands, surroundings: &Surroundings) -> Offer {
    cloud::offer(&AWS, demands, surroundings)
}
