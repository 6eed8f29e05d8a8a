//! The series that rules and dashboards of a deployment refer to. Each is looked for before it is promised.

use super::exposition::Sample;
use slipway_kernel::{DeploymentId, RevisionId};

/// Which target exposes a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// An ingress replica.
    Ingress,
    /// Every worker of the revision.
    Worker,
}

/// A promised series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Its name.
    pub name: &'static str,
    /// Who exposes it.
    pub at: Where,
}

const fn ingress(name: &'static str) -> Promise {
    Promise { name, at: Where::Ingress }
}

const fn worker(name: &'static str) -> Promise {
    Promise { name, at: Where::Worker }
}

/// Every promised series.
#[must_use]
pub const fn promised() -> &'static [Promise] {
    const ALL: [Promise; 9] = [
        ingress("slipway_ingress_requests_total"),
        ingress("slipway_ingress_request_duration_seconds_bucket"),
        ingress("slipway_ingress_request_duration_seconds_count"),
        worker("slipway_worker_serving"),
        worker("slipway_worker_queue_depth"),
        worker("slipway_worker_batch_size_count"),
        worker("slipway_worker_queue_wait_seconds_count"),
        worker("slipway_worker_run_seconds_count"),
        worker("process_resident_memory_bytes"),
    ];
    &ALL
}

/// The promised series of `at` that `samples` lack.
#[must_use]
pub fn missing(samples: &[Sample], at: Where, id: &DeploymentId, revision: RevisionId) -> Vec<&'static str> {
    let text = revision.to_string();
    let labels: &[(&str, &str)] = match at {
        Where::Ingress => {
            &[("namespace", id.namespace.as_str()), ("deployment", id.name.as_str()), ("revision", text.as_str())]
        }
        // A worker's process serves one revision; whose it is stands in the target's labels.
        Where::Worker => &[],
    };
    promised()
        .iter()
        .filter(|promise| promise.at == at)
        .filter(|promise| !samples.iter().any(|sample| sample.name == promise.name && sample.has(labels)))
        .map(|promise| promise.name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::parse;

    #[test]
    fn a_series_of_another_revision_keeps_no_promise() {
        let id: DeploymentId = "default.digits".parse().unwrap();
        let line = |revision: &str| {
            let labels = format!("namespace=\"default\",deployment=\"digits\",revision=\"{revision}\"");
            format!(
                "slipway_ingress_requests_total{{{labels},code=\"200\"}} 1\n\
                 slipway_ingress_request_duration_seconds_bucket{{{labels},le=\"1\"}} 1\n\
                 slipway_ingress_request_duration_seconds_count{{{labels}}} 1\n"
            )
        };
        let revision = RevisionId::new(1, 1);
        assert!(missing(&parse(&line("1-1")), Where::Ingress, &id, revision).is_empty());
        assert_eq!(missing(&parse(&line("1-2")), Where::Ingress, &id, revision).len(), 3);
    }
}
