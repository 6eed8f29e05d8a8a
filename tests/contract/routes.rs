//! Ingress rebuilds a door, and others wait for it, only after facts that can have moved a route.

use crate::history::grow;
use proptest::prelude::*;
use slipway_ingress::table::build::build;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_not_said_to_move_routes_does_not(choices in proptest::collection::vec(any::<u32>(), 0..240)) {
        for growth in grow(&choices).filter(|growth| !growth.slot.moves_routes()) {
            let [before, after] = [growth.before, growth.after].map(|deployment| format!("{:?}", build(&deployment)));
            prop_assert_eq!(before, after, "{}", growth.slot);
        }
    }
}
