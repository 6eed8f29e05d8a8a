//! What is to be proved, taken from the folded deployment: everything the checks need to know and nothing of the log.

use slipway_kernel::{
    Attempt, BlobReference, Deployment, DeploymentId, Digest, Plan, RevisionId, Span, TensorSpec,
    spec::{Access, Slo, Validation},
};

/// Requests a second where the spec names neither a load nor a throughput: enough to see a distribution in a few seconds,
/// little enough for one core.
const DEFAULT_RATE: f64 = 50.0;

/// The revision that has the traffic while another is proved.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// Which.
    pub revision: RevisionId,
    /// What it must keep.
    pub slo: Slo,
}

/// One revision to be proved.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// Whose.
    pub deployment: DeploymentId,
    /// Which revision.
    pub revision: RevisionId,
    /// Which attempt.
    pub attempt: Attempt,
    /// What it must keep.
    pub slo: Slo,
    /// What is to be proved.
    pub validation: Validation,
    /// Who may come in.
    pub access: Access,
    /// How long one request may take.
    pub request_timeout: Span,
    /// The model's inputs.
    pub inputs: Vec<TensorSpec>,
    /// The golden rows, pinned.
    pub golden: Option<BlobReference>,
    /// The plan that runs.
    pub plan: Plan,
    /// Its digest.
    pub plan_digest: Digest,
    /// Who has the traffic, if it is another.
    pub live: Option<Live>,
    /// The revision itself has traffic (a person asked for the proof again): nothing that disturbs is done to it.
    pub in_production: bool,
}

impl Assignment {
    /// What the facts say about `revision`; `None` if it has no plan or its generation no platform.
    #[must_use]
    pub fn of(deployment: &Deployment, revision: RevisionId, attempt: Attempt) -> Option<Self> {
        let generation = deployment.generations.get(&revision.generation)?;
        let state = generation.revisions.get(&revision.revision)?;
        let (planned, platform) = (state.planned()?, generation.platform()?);
        let spec = generation.spec();
        let http = spec.http();
        let live = deployment.serving().filter(|serving| *serving != revision).and_then(|serving| {
            Some(Live { revision: serving, slo: deployment.generations.get(&serving.generation)?.spec().slo })
        });
        Some(Self {
            deployment: deployment.id.clone(),
            revision,
            attempt,
            slo: spec.slo,
            validation: spec.validation.clone(),
            access: spec.access.clone(),
            request_timeout: http.timeout,
            inputs: platform.model.inputs.clone(),
            golden: platform.golden.clone(),
            plan: planned.plan.clone(),
            plan_digest: planned.digest.clone(),
            live,
            in_production: state.is_released() || state.shifted().is_some(),
        })
    }

    /// Requests a second it is loaded with.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let rate = self.validation.load.rate.or(self.slo.throughput);
        rate.map_or(DEFAULT_RATE, slipway_kernel::Rate::per_second)
    }

    /// Requests a second it must sustain, if the load does not show it already.
    #[must_use]
    pub fn rate_beyond_load(&self) -> Option<f64> {
        self.slo.throughput.map(slipway_kernel::Rate::per_second).filter(|wanted| *wanted > self.rate())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::History;
    use slipway_kernel::Timestamp;

    fn assignment(spec: &serde_json::Value) -> Assignment {
        let history = History::new().requested_with(spec).platform_selected().planned().deployed(Timestamp(0));
        Assignment::of(&history.fold(), RevisionId::new(1, 1), Attempt(0)).unwrap()
    }

    #[test]
    fn the_load_is_what_the_spec_says_else_the_throughput_else_fifty() {
        use serde_json::json;
        for (spec, rate, beyond) in [
            (json!({}), 50.0, None),
            (json!({ "slo": { "throughput": "200/s" } }), 200.0, None),
            (json!({ "validation": { "load": { "rate": "120/m" } } }), 2.0, None),
            (
                json!({ "validation": { "load": { "rate": "20/s" } }, "slo": { "throughput": "200/s" } }),
                20.0,
                Some(200.0),
            ),
        ] {
            let assignment = assignment(&spec);
            assert!((assignment.rate() - rate).abs() < f64::EPSILON, "{spec}");
            assert_eq!(assignment.rate_beyond_load(), beyond, "{spec}");
        }
    }

    #[test]
    fn a_revision_without_a_plan_is_no_assignment() {
        let history = History::new().requested().platform_selected();
        assert!(Assignment::of(&history.fold(), RevisionId::new(1, 1), Attempt(0)).is_none());
    }

    #[test]
    fn a_released_revision_is_in_production_and_is_not_its_own_neighbour() {
        let history = History::new().requested().platform_selected().planned().deployed(Timestamp(0)).released();
        let assignment = Assignment::of(&history.fold(), RevisionId::new(1, 1), Attempt(1)).unwrap();
        assert!(assignment.in_production);
        assert_eq!(assignment.live, None);
    }
}
