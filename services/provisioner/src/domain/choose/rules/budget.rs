//! It may cost so much an hour and no more.

use super::{Change, Demands, Offer, Veto, veto as excluded};

/// Excludes what is too dear with the first workers already.
#[must_use]
pub fn veto(offer: &Offer, demands: &Demands) -> Option<Veto> {
    let budget = demands.budget_per_hour?;
    let (workers, cost) = (demands.workers, offer.cost_per_hour);
    (cost > budget)
        .then(|| excluded("budget", format!("{workers} workers cost {cost:.3} an hour, the budget is {budget:.3}")))
}

/// The budget that would be enough.
pub fn relax(offer: &Offer, demands: &mut Demands) -> Option<Change> {
    let budget = demands.budget_per_hour?;
    // A thousandth more than needed is no matter, a thousandth less is.
    let enough = ((offer.cost_per_hour * 1_000.0).ceil() / 1_000.0).max(offer.cost_per_hour);
    demands.budget_per_hour = Some(enough);
    Some(Change::new("spec.infrastructure.budgetPerHour", format!("{budget:.3}"), format!("{enough:.3}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        choose::candidates::{aws, local},
        demands::tests::modest,
        surroundings::tests::small_machine,
    };

    #[test]
    fn a_budget_of_nothing_leaves_what_is_paid_for() {
        let demands = Demands { budget_per_hour: Some(0.0), ..modest() };
        assert_eq!(veto(&local::offer(&demands, &small_machine()), &demands), None);
        let reason = veto(&aws::offer(&demands, &small_machine()), &demands).unwrap().reason;
        assert_eq!(reason, "1 workers cost 0.132 an hour, the budget is 0.000");
    }
}
