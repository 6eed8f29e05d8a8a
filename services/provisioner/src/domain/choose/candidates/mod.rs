//! The candidates, one file each: what each offers, given the demands and the surroundings.

pub mod aws;
pub mod azure;
pub mod bare_metal;
mod cloud;
pub mod gcp;
pub mod kubernetes;
pub mod local;

use super::offer::Offer;
use crate::domain::{demands::Demands, surroundings::Surroundings};

/// Every candidate's offer, in the order that breaks ties.
#[must_use]
pub fn offers(demands: &Demands, surroundings: &Surroundings) -> Vec<Offer> {
    let candidates = [local::offer, kubernetes::offer, bare_metal::offer, aws::offer, azure::offer, gcp::offer];
    candidates.map(|offer| offer(demands, surroundings)).into()
}

/// What to do when an own place lacks a region, a regime or the control that is demanded.
const ATTEST_OWN: &str = "if it holds, say so in the provisioner's configuration";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        demands::tests::modest,
        surroundings::{TARGETS, tests::small_machine},
    };

    #[test]
    fn offers_stand_in_the_order_that_breaks_ties() {
        let order: Vec<_> = offers(&modest(), &small_machine()).iter().map(|offer| offer.target).collect();
        assert_eq!(order, TARGETS);
    }

    #[test]
    fn every_grade_is_between_0_and_1() {
        for offer in offers(&modest(), &small_machine()) {
            for grade in [offer.elasticity, offer.effort, offer.locality] {
                assert!((0.0..=1.0).contains(&grade.value) && !grade.reason.is_empty(), "{grade:?}");
            }
        }
    }
}
