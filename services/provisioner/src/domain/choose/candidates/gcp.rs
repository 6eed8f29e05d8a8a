//! Google GKE.

use super::cloud::{self, Cloud};
use crate::domain::{
    choose::offer::{Grade, Offer},
    demands::Demands,
    surroundings::Surroundings,
};
use slipway_kernel::spec::Target;

const GCP: Cloud = Cloud {
    target: Target::Gcp,
    regions: &["eu", "us", "uk", "apac", "ca"],
    // A3 Ultra: NVIDIA H200.
    gpu_bytes: 141_000_000_000,
    effort: Grade::new(0.5, "a managed control plane and, with Autopilot, managed nodes"),
};

/// What it offers.
#[must_use]
pub fn offer(demands: &Demands, surroundings: &Surroundings) -> Offer {
    cloud::offer(&GCP, demands, surroundings)
}
