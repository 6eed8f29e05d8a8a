//! What would have to change for a candidate to be eligible, and which one is the closest.
//!
//! A demand is changed no further than to what the candidate can fulfil, one rule after another, until none excludes it: so what is said here
//! has been tried. The closest is the one with the least weight of changes ([`Change::weight`]), then with the fewest, then what
//! this installation can execute or at least reach.

use super::{
    candidates,
    rules::{self, Change},
};
use crate::domain::{demands::Demands, surroundings::Surroundings};
use slipway_kernel::spec::Target;

/// Each rule may give in once, and once more after another one has: a dearer region, a larger machine.
const MOST_CHANGES: usize = 2 * rules::RULES.len();

/// What a candidate would be eligible with.
#[derive(Clone, Debug, PartialEq)]
pub struct Relaxed {
    /// The candidate.
    pub target: Target,
    /// The demands that would have to give.
    pub changes: Vec<Change>,
    /// All demands with the changes made.
    pub demands: Demands,
    /// What it would cost an hour.
    pub cost_per_hour: f64,
}

impl Relaxed {
    /// One phrase.
    #[must_use]
    pub fn said(&self) -> String {
        let changes: Vec<String> = self.changes.iter().map(ToString::to_string).collect();
        format!("{}, at {:.3} an hour", changes.join(", "), self.cost_per_hour)
    }
}

/// What `target` would be eligible with; none where that is no matter of the spec.
#[must_use]
pub fn relaxed(target: Target, demands: &Demands, surroundings: &Surroundings) -> Option<Relaxed> {
    let (mut demands, mut changes) = (demands.clone(), Vec::<Change>::new());
    for _ in 0..MOST_CHANGES {
        let offer = candidates::offers(&demands, surroundings).into_iter().find(|offer| offer.target == target)?;
        let Some(rule) = rules::RULES.iter().find(|rule| (rule.veto)(&offer, &demands).is_some()) else {
            return Some(Relaxed { target, changes, demands, cost_per_hour: offer.cost_per_hour });
        };
        let change = (rule.relax)(&offer, &mut demands)?;
        // What gave in before and has to again is one change.
        match changes.iter_mut().find(|earlier| earlier.path == change.path) {
            Some(earlier) => earlier.to = change.to,
            None => changes.push(change),
        }
    }
    None
}

/// The candidate that is closest to being eligible, of those that are not.
#[must_use]
pub fn closest(
    targets: impl Iterator<Item = Target>,
    demands: &Demands,
    surroundings: &Surroundings,
) -> Option<Relaxed> {
    targets.filter_map(|target| relaxed(target, demands, surroundings)).min_by_key(|relaxed| {
        let access = surroundings.access(relaxed.target);
        let weight: u32 = relaxed.changes.iter().map(Change::weight).sum();
        (weight, relaxed.changes.len(), !access.executable, !access.reachable)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        clouds::tests::words,
        demands::tests::modest,
        surroundings::{TARGETS, tests::small_machine},
    };
    use slipway_kernel::{ByteSize, CpuMillis, GpuFacts, spec::Gpu};

    fn said(target: Target, demands: &Demands, here: &Surroundings) -> Option<String> {
        relaxed(target, demands, here).map(|relaxed| relaxed.said())
    }

    #[test]
    fn what_is_eligible_needs_no_change() {
        assert_eq!(relaxed(Target::Local, &modest(), &small_machine()).unwrap().changes, []);
    }

    #[test]
    fn each_demand_gives_in_as_far_as_it_must() {
        let here = small_machine();
        let demands =
            Demands { budget_per_hour: Some(0.05), latency_budget: Some(slipway_kernel::Span::millis(5)), ..modest() };
        assert_eq!(
            said(Target::Aws, &demands, &here).unwrap(),
            "spec.infrastructure.latencyBudget 25ms instead of 5ms, spec.infrastructure.budgetPerHour 0.132 instead of 0.050, at 0.132 an hour"
        );
        let large = Demands { cpu: CpuMillis(3_000), memory: ByteSize(12 << 30), workers: 3, ..modest() };
        assert_eq!(
            said(Target::Local, &large, &here).unwrap(),
            "spec.resources.cpu 2 instead of 3, spec.resources.memory 8Gi instead of 12Gi, spec.scale.min 1 instead of 3, at 0.000 an hour"
        );
    }

    #[test]
    fn a_stricter_law_may_take_a_dearer_region_and_a_larger_budget_with_it() {
        let demands = Demands { residency: words(&["mars"]), budget_per_hour: Some(0.1), ..modest() };
        let relaxed = relaxed(Target::Gcp, &demands, &small_machine()).unwrap();
        assert_eq!(relaxed.changes[0].to_string(), "spec.infrastructure.residency mars, us instead of mars");
        assert_eq!(relaxed.demands.residency, ["mars", "us"]);
        // A place that nobody says the region of is none that a demand could allow.
        assert_eq!(said(Target::Kubernetes, &demands, &small_machine()), None);
    }

    #[test]
    fn gpus_give_in_by_size_then_by_number_then_altogether() {
        let mut here = small_machine();
        let demands = Demands { gpu: Gpu::Required, gpu_memory: ByteSize(40 << 30), workers: 2, ..modest() };
        assert!(
            said(Target::Local, &demands, &here)
                .unwrap()
                .starts_with("spec.infrastructure.gpu optional instead of required")
        );
        let gpu = |gibibytes: u64| GpuFacts { memory_bytes: gibibytes << 30, ..GpuFacts::default() };
        here.machine.gpus = vec![gpu(24)];
        assert!(
            said(Target::Local, &demands, &here)
                .unwrap()
                .starts_with("spec.scale.min 1 instead of 2, spec.resources.gpuMemory 24Gi instead of 40Gi")
        );
        here.machine.gpus = vec![gpu(24), gpu(16), gpu(80)];
        assert!(
            said(Target::Local, &demands, &here).unwrap().starts_with("spec.resources.gpuMemory 24Gi instead of 40Gi")
        );
    }

    #[test]
    fn the_closest_gives_up_money_before_the_law() {
        let demands = Demands { compliance: words(&["gdpr"]), budget_per_hour: Some(0.0), ..modest() };
        let closest = closest(TARGETS.into_iter(), &demands, &small_machine()).unwrap();
        assert_eq!((closest.target, closest.changes[0].path), (Target::Aws, "spec.infrastructure.budgetPerHour"));
    }
}
