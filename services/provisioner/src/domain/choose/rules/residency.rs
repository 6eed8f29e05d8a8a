//! The data may only be in certain regions.

use super::{Change, Demands, Offer, Veto, listed, veto as excluded};

/// Excludes what lies elsewhere, or does not say where it lies.
#[must_use]
pub fn veto(offer: &Offer, demands: &Demands) -> Option<Veto> {
    let fits = demands.residency.is_empty() || demands.residency.iter().any(|region| offer.regions.contains(region));
    (!fits).then(|| {
        let wanted = demands.residency.join(" or ");
        excluded(
            "residency",
            format!("the data must be in {wanted}; this is in: {}; {}", listed(&offer.regions), offer.attest),
        )
    })
}

/// One region more; who is nowhere cannot be allowed.
pub fn relax(offer: &Offer, demands: &mut Demands) -> Option<Change> {
    let from = demands.residency.join(", ");
    demands.residency.push(offer.regions.first()?.clone());
    Some(Change::new("spec.infrastructure.residency", from, demands.residency.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        choose::candidates::{aws, kubernetes, local},
        demands::tests::modest,
        surroundings::tests::small_machine,
    };

    #[test]
    fn one_region_of_several_is_enough_and_an_unnamed_place_is_nowhere() {
        let demands = Demands { residency: vec!["eu".into(), "on-prem".into()], ..modest() };
        let here = small_machine();
        assert_eq!(veto(&aws::offer(&demands, &here), &demands), None);
        assert_eq!(veto(&local::offer(&demands, &here), &demands), None);
        let unnamed = veto(&kubernetes::offer(&demands, &here), &demands).unwrap();
        assert!(unnamed.reason.contains("nowhere named") && unnamed.reason.contains("configuration"), "{unnamed:?}");
    }
}
