//! A worker is killed under load: no request is lost, and a worker is back in time.

use super::{Judged, float, names::WORKER_KILLED, overload::Manners};
use slipway_kernel::{Finding, FindingKind};

/// What the kill showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Killed {
    /// The worker that was killed.
    pub instance: String,
    /// How many workers there were.
    pub replicas: usize,
    /// How the requests fared.
    pub manners: Manners,
    /// How long until as many workers were ready as before, in milliseconds; `None` if not within the bound.
    pub back_ms: Option<f64>,
    /// Whether requests were answered then.
    pub serves: bool,
    /// The bound, in milliseconds.
    pub bound_ms: f64,
}

/// The check.
#[must_use]
pub fn judge(killed: &Killed) -> Judged {
    let Killed { instance, replicas, manners, back_ms, serves, bound_ms } = killed;
    let lost = manners.complaints();
    if !lost.is_empty() {
        let message = format!("when worker {instance} (1 of {replicas}) was killed under load: {lost}");
        let count = float(manners.lost() + manners.without_retry_after);
        let finding = Finding::deterministic(FindingKind::Resilience, message)
            .with_figures(count, 0.0, "count")
            .with_evidence(instance.clone());
        return Judged::failed(WORKER_KILLED, finding);
    }
    match back_ms {
        Some(back_ms) if *serves => {
            let detail = format!(
                "worker {instance} (1 of {replicas}) was killed under load: {} of {} requests answered, {} refused politely, none lost; a worker was back after {back_ms:.0} ms",
                manners.ok, manners.sent, manners.refused
            );
            Judged::passed(WORKER_KILLED, detail).measured(*back_ms, Some(*bound_ms), "ms")
        }
        Some(_) => fail(instance, "a worker came back, but requests are not answered", *bound_ms),
        None => fail(instance, &format!("no worker was back within {bound_ms:.0} ms"), *bound_ms),
    }
}

fn fail(instance: &str, what: &str, bound_ms: f64) -> Judged {
    let finding =
        Finding::deterministic(FindingKind::Resilience, format!("after worker {instance} was killed: {what}"))
            .with_figures(bound_ms, bound_ms, "ms")
            .with_evidence(instance.to_owned());
    Judged::failed(WORKER_KILLED, finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Outcome;

    fn killed() -> Killed {
        Killed {
            instance: "w".into(),
            replicas: 1,
            manners: Manners { sent: 100, ok: 90, refused: 10, ..Manners::default() },
            back_ms: Some(800.0),
            serves: true,
            bound_ms: 30_000.0,
        }
    }

    #[test]
    fn nothing_lost_and_back_in_time_passes() {
        assert_eq!(judge(&killed()).check.outcome, Outcome::Passed);
    }

    #[test]
    fn a_lost_request_a_worker_that_stays_away_and_one_that_does_not_serve_are_findings() {
        let lost = Manners { rude: vec![("broken".into(), 1)], ..killed().manners };
        for killed in [
            Killed { manners: lost, ..killed() },
            Killed { back_ms: None, ..killed() },
            Killed { serves: false, ..killed() },
        ] {
            assert_eq!(judge(&killed).findings[0].kind, FindingKind::Resilience, "{killed:?}");
        }
    }
}
