//! A fixed place has so many cores and so much memory.

use super::{Change, Demands, Offer, Veto, fewer, smaller, times, veto as excluded};
use slipway_kernel::ByteSize;

/// Excludes what the first workers do not fit into. Memory is never promised twice: who has none left is killed, whereas
/// who has no processor time left is only slower.
#[must_use]
pub fn veto(offer: &Offer, demands: &Demands) -> Option<Veto> {
    let capacity = offer.capacity?;
    let (workers, each, cores) = (demands.workers, demands.cores(1), demands.cores(demands.workers));
    let memory = demands.memory_bytes(workers);
    let mut reasons = Vec::new();
    if each > capacity.cores_of_machine {
        reasons.push(format!("one worker wants {each} cores, there are {}", capacity.cores_of_machine));
    } else if cores > capacity.cores {
        reasons.push(format!("{workers} workers want {cores} cores, at most {} can be promised", capacity.cores));
    }
    if memory > capacity.memory_bytes {
        let (wanted, there) = (ByteSize(memory), ByteSize(capacity.memory_bytes));
        reasons.push(format!("{workers} workers want {wanted} of memory, there are {there}"));
    }
    (!reasons.is_empty())
        .then(|| excluded("capacity", format!("{}; lower spec.resources or spec.scale.min", reasons.join("; "))))
}

/// A smaller worker, or fewer of them.
pub fn relax(offer: &Offer, demands: &mut Demands) -> Option<Change> {
    let capacity = offer.capacity?;
    if demands.cores(1) > capacity.cores_of_machine {
        return smaller(demands, capacity.cores_of_machine);
    }
    if demands.memory.0 > capacity.memory_bytes {
        let from = std::mem::replace(&mut demands.memory, ByteSize(capacity.memory_bytes));
        return (demands.memory.0 > 0).then(|| Change::new("spec.resources.memory", from, demands.memory));
    }
    let by_memory = u32::try_from(capacity.memory_bytes / demands.memory.0.max(1)).unwrap_or(u32::MAX);
    fewer(demands, times(capacity.cores, demands.cores(1)).min(by_memory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        choose::candidates::{aws, local},
        demands::tests::modest,
        surroundings::tests::small_machine,
    };
    use slipway_kernel::CpuMillis;

    fn reason(demands: &Demands) -> Option<String> {
        veto(&local::offer(demands, &small_machine()), demands).map(|veto| veto.reason)
    }

    #[test]
    fn cores_may_be_promised_over_but_no_worker_is_larger_than_the_machine() {
        assert_eq!(reason(&Demands { workers: 4, ..modest() }), None);
        let many = reason(&Demands { workers: 5, ..modest() }).unwrap();
        assert!(many.starts_with("5 workers want 5 cores, at most 4 can be promised"), "{many}");
        let large = reason(&Demands { cpu: CpuMillis(2_500), ..modest() }).unwrap();
        assert!(large.starts_with("one worker wants 2.5 cores, there are 2"), "{large}");
    }

    #[test]
    fn memory_is_not_promised_over() {
        let demands = Demands { memory: ByteSize(3 << 30), workers: 3, ..modest() };
        let text = reason(&demands).unwrap();
        assert!(text.starts_with("3 workers want 9Gi of memory, there are 8Gi"), "{text}");
        assert_eq!(veto(&aws::offer(&demands, &small_machine()), &demands), None);
    }
}
