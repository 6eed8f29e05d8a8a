//! Machines and cluster may have to be under one's own control: where a vendor runs either, it decides about upgrades, access and outages.

use super::{Change, Demands, Offer, Veto, veto as excluded};
use slipway_kernel::spec::Control;

/// Excludes what a vendor runs, and what nobody says is run otherwise.
#[must_use]
pub fn veto(offer: &Offer, demands: &Demands) -> Option<Veto> {
    let lacking = demands.control == Control::Own && !offer.own;
    lacking.then(|| {
        let reason =
            format!("machines and cluster must be under own control, and these are not said to be; {}", offer.attest);
        excluded("control", reason)
    })
}

/// Whoever runs it.
pub fn relax(_: &Offer, demands: &mut Demands) -> Option<Change> {
    demands.control = Control::Any;
    Some(Change::new("spec.infrastructure.control", "own", "any"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        choose::candidates::{aws, bare_metal, kubernetes, local},
        demands::tests::modest,
        surroundings::tests::small_machine,
    };

    #[test]
    fn a_cloud_is_never_ones_own_and_a_cluster_where_its_owner_says_so() {
        let demands = Demands { control: Control::Own, ..modest() };
        let mut here = small_machine();
        assert_eq!(veto(&local::offer(&demands, &here), &demands), None);
        assert_eq!(veto(&bare_metal::offer(&demands, &here), &demands), None);
        assert!(veto(&aws::offer(&demands, &here), &demands).unwrap().reason.contains("choose another target"));
        let unsaid = veto(&kubernetes::offer(&demands, &here), &demands).unwrap().reason;
        assert!(unsaid.contains("under own control") && unsaid.contains("configuration"), "{unsaid}");
        here.kubernetes.own = true;
        assert_eq!(veto(&kubernetes::offer(&demands, &here), &demands), None);
        assert_eq!(veto(&aws::offer(&modest(), &here), &modest()), None);
    }
}
