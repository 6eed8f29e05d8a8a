//! A cloud is used in the regions that the price table names, and in no other.

use super::{Demands, Offer, Veto, veto as excluded};
use crate::domain::choose::offer::Site;

/// Excludes what has no region that may be used.
#[must_use]
pub fn veto(offer: &Offer, _: &Demands) -> Option<Veto> {
    let nowhere = offer.site == Site::Nowhere;
    nowhere.then(|| excluded("region", "the price table names no region of it that may be used (`prices.file`)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{choose::candidates::azure, demands::tests::modest, surroundings::tests::small_machine};

    #[test]
    fn a_cloud_without_regions_is_not_offered() {
        let mut here = small_machine();
        assert_eq!(veto(&azure::offer(&modest(), &here), &modest()), None);
        here.prices.azure.regions.clear();
        assert_eq!(veto(&azure::offer(&modest(), &here), &modest()).unwrap().rule, "region");
    }
}
