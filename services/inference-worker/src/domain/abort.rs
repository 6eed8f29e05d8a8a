//! Whether a worker may be ended at once for a proof.

use slipway_kernel::{Deployment, RevisionId, Timestamp};

/// Which worker is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meant {
    /// Its name.
    pub instance: String,
    /// When it registered.
    pub since: Timestamp,
}

impl Meant {
    /// Whether the worker of this name that registered at this time is the one.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub fn is(&self, instance: &str, since: Timestamp) -> Result<(), String> {
        if self.instance != instance {
            return Err(format!("this is worker `{instance}`, not `{}`", self.instance));
        }
        if self.since != since {
            return Err(format!("worker `{instance}` was started anew since it was looked up"));
        }
        Ok(())
    }
}

/// Whether a worker of this revision may end without a drain: while it has no traffic but the validator's.
///
/// # Errors
/// Why not, in a sentence.
pub fn may_end(deployment: &Deployment, revision: RevisionId) -> Result<(), String> {
    let Some(state) = deployment.revision(revision) else {
        return Err(format!("the log knows no revision {revision}"));
    };
    if state.is_released() || state.shifted().is_some() || deployment.serving() == Some(revision) {
        return Err(format!("revision {revision} has traffic, and its workers are not ended for a proof"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::{
        Answer, Attempt, ByteSize, CpuMillis, DeploymentId, Digest, Fact, FactKey, IntakeReference, Plan, Planned,
        Released, Requested, RolledBack, Shifted, Slot, Span, fold, spec::ModelDeployment,
    };
    use std::sync::Arc;

    fn plan() -> Plan {
        Plan {
            target: "local".into(),
            platform: "slipway".into(),
            model_digest: Digest::of(b"model"),
            replicas: 1,
            cpu: CpuMillis(1_000),
            memory: ByteSize::mebibytes(512),
            threads: 1,
            max_batch: 8,
            max_delay: Span::millis(2),
            queue_limit: 64,
            fixed_batching: false,
            latency_target: None,
        }
    }

    fn deployment(more: Vec<(u32, Slot, Answer)>) -> Deployment {
        let id: DeploymentId = "default.digits".parse().unwrap();
        let document =
            serde_json::json!({ "metadata": { "name": "digits" }, "spec": { "model": { "uri": "file:///m" } } });
        let document = ModelDeployment::read(&document).unwrap();
        let intake = IntakeReference { source: "test".into(), id: "1".into() };
        let requested = Requested { spec_digest: document.digest(), deployment: document, intake };
        let planned = |n| {
            // Each revision has a plan of its own.
            let plan = Plan { queue_limit: 64 + n, ..plan() };
            let planned = Planned { digest: plan.digest(), plan, manifests: None, revises: None, changes: Vec::new() };
            (n, Slot::Plan, Answer::Planned(planned))
        };
        let first = [(0, Slot::Request, Answer::Requested(requested)), planned(1), planned(2)];
        let facts = first.into_iter().chain(more).map(|(revision, slot, answer)| {
            Arc::new(Fact {
                key: FactKey::new(id.clone(), RevisionId::new(1, revision), slot).at(Attempt(0)),
                id: String::new(),
                actor: "test".into(),
                causation: None,
                correlation: "c".into(),
                traceparent: None,
                at: Timestamp(0),
                sequence: 0,
                answer,
            })
        });
        fold(&id, facts)
    }

    fn released() -> Answer {
        Answer::Released(Released { replaces: None, measurements: Vec::new() })
    }

    #[test]
    fn who_has_no_traffic_may_end_and_who_has_some_may_not() {
        let shifted = Answer::Shifted(Shifted { percent: 5, beside: None, measurements: Vec::new() });
        let back = RolledBack { to: RevisionId::new(1, 1), reason: String::new(), findings: Vec::new() };
        let planned = deployment(Vec::new());
        let half = deployment(vec![(1, Slot::Shift(5), shifted)]);
        let whole = deployment(vec![(1, Slot::Release, released())]);
        let again = deployment(vec![(1, Slot::Release, released()), (2, Slot::Rollback, Answer::RolledBack(back))]);
        let (one, two) = (RevisionId::new(1, 1), RevisionId::new(1, 2));
        assert_eq!(may_end(&planned, one), Ok(()));
        assert_eq!(may_end(&whole, two), Ok(()), "the next one is proved beside it");
        for (name, deployment) in [("shifted", &half), ("released", &whole), ("gone back to", &again)] {
            assert!(may_end(deployment, one).is_err_and(|why| why.contains("has traffic")), "{name}");
        }
        assert!(may_end(&planned, RevisionId::new(2, 1)).is_err_and(|why| why.contains("knows no revision")));
    }

    #[test]
    fn only_the_very_worker_is_meant() {
        let meant = Meant { instance: "w-0".into(), since: Timestamp(5) };
        assert_eq!(meant.is("w-0", Timestamp(5)), Ok(()));
        assert!(meant.is("w-1", Timestamp(5)).is_err_and(|why| why.contains("this is worker `w-1`")));
        assert!(meant.is("w-0", Timestamp(6)).is_err_and(|why| why.contains("started anew")));
    }
}
