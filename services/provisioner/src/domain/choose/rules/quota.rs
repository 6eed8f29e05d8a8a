//! An account may have so much and no more.

use super::{Change, Demands, Offer, Veto, fewer, smaller, times, veto as excluded};

/// Excludes what the first workers would exceed the quota of.
#[must_use]
pub fn veto(offer: &Offer, demands: &Demands) -> Option<Veto> {
    let (workers, quota) = (demands.workers, offer.quota);
    let mut reasons = Vec::new();
    if let Some(most) = quota.cores.filter(|most| demands.cores(workers) > *most) {
        reasons.push(format!("{workers} workers want {} cores, the account may have {most}", demands.cores(workers)));
    }
    if let Some(most) = quota.gpus.filter(|most| demands.gpus(workers) > *most) {
        reasons.push(format!("{workers} workers want {} GPUs, the account may have {most}", demands.gpus(workers)));
    }
    let remedy = "have the quota raised, and say so in the price table";
    (!reasons.is_empty()).then(|| excluded("quota", format!("{}; {remedy}", reasons.join("; "))))
}

/// A smaller worker, or fewer of them; an account that may have nothing gets none.
pub fn relax(offer: &Offer, demands: &mut Demands) -> Option<Change> {
    let cores = offer.quota.cores.unwrap_or(f64::INFINITY);
    if demands.cores(1) > cores {
        return smaller(demands, cores);
    }
    let gpus = offer.quota.gpus.filter(|_| demands.gpus(1) > 0).unwrap_or(u32::MAX);
    match times(cores, demands.cores(1)).min(gpus) {
        0 => None,
        workers => fewer(demands, workers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        choose::candidates::gcp, clouds::Quota, demands::tests::modest, surroundings::tests::small_machine,
    };
    use slipway_kernel::spec::Gpu;

    #[test]
    fn what_is_not_known_excludes_nothing_and_what_is_known_excludes_what_exceeds_it() {
        let mut here = small_machine();
        let demands = Demands { gpu: Gpu::Required, workers: 3, ..modest() };
        assert_eq!(veto(&gcp::offer(&demands, &here), &demands), None);
        here.prices.gcp.quota = Quota { cores: Some(2.0), gpus: Some(1) };
        let reason = veto(&gcp::offer(&demands, &here), &demands).unwrap().reason;
        let wanted = "3 workers want 3 cores, the account may have 2; 3 workers want 3 GPUs, the account may have 1; ";
        assert!(reason.starts_with(wanted), "{reason}");
    }

    #[test]
    fn fewer_workers_may_be_within_it_and_an_account_without_gpus_is_no_way_out() {
        let mut here = small_machine();
        let demands = Demands { gpu: Gpu::Required, workers: 3, ..modest() };
        let mut relaxed = demands.clone();
        here.prices.gcp.quota = Quota { cores: Some(2.5), gpus: None };
        let change = relax(&gcp::offer(&demands, &here), &mut relaxed).unwrap();
        assert_eq!((change.to_string(), relaxed.workers), ("spec.scale.min 2 instead of 3".to_owned(), 2));
        here.prices.gcp.quota = Quota { cores: None, gpus: Some(0) };
        assert_eq!(relax(&gcp::offer(&demands, &here), &mut demands.clone()), None);
    }
}
