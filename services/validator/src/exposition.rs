//! Reads how one revision does from the metrics of the ingress (OpenMetrics text).

use slipway_kernel::{AnswerCounts, DeploymentId, RevisionId};

const REQUESTS: &str = "slipway_ingress_requests_total";
const DURATIONS: &str = "slipway_ingress_request_duration_seconds_bucket";

/// The counters of a revision's own traffic; probes are not its traffic.
pub(crate) fn live(text: &str, deployment: &DeploymentId, revision: RevisionId) -> AnswerCounts {
    let (namespace, name, revision) =
        (deployment.namespace.to_string(), deployment.name.to_string(), revision.to_string());
    let mut counters = AnswerCounts::default();
    for (metric, labels, value) in text.lines().filter_map(sample) {
        let label = |name: &str| labels.iter().find(|(label, _)| *label == name).map_or("", |(_, value)| *value);
        let is_own = label("namespace") == namespace && label("deployment") == name && label("revision") == revision;
        if !is_own || matches!(label("probe"), "true" | "1") {
            continue;
        }
        match metric {
            REQUESTS => {
                counters.requests += value;
                if is_our_fault(label("code")) {
                    counters.failures += value;
                }
            }
            DURATIONS => {
                if let Ok(seconds) = label("le").replace("+Inf", "inf").parse() {
                    counters.add_bucket(seconds, value);
                }
            }
            _ => {}
        }
    }
    counters
}

/// A status of 5xx, or the word for one.
fn is_our_fault(code: &str) -> bool {
    matches!(code, "internal" | "unavailable" | "deadline-exceeded" | "unimplemented")
        || code.parse::<u16>().is_ok_and(|status| status >= 500)
}

type Sample<'a> = (&'a str, Vec<(&'a str, &'a str)>, u64);

/// `name{label="value",…} 12`. Label values of ours hold no quotes; a line that does not fit is not one of ours.
fn sample(line: &str) -> Option<Sample<'_>> {
    let (metric, rest) = line.split_once('{')?;
    if metric != REQUESTS && metric != DURATIONS {
        return None;
    }
    let (labels, value) = rest.rsplit_once('}')?;
    let labels = labels.split(',').filter_map(|pair| pair.split_once('='));
    let labels = labels.map(|(name, value)| (name, value.trim_matches('"'))).collect();
    let value: f64 = value.split_whitespace().next()?.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, cut to what fits")]
    Some((metric, labels, value as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# TYPE slipway_ingress_requests counter
slipway_ingress_requests_total{service="ingress",namespace="default",deployment="digits",revision="1-1",code="200",probe="false"} 90
slipway_ingress_requests_total{service="ingress",namespace="default",deployment="digits",revision="1-1",code="500",probe="false"} 7
slipway_ingress_requests_total{service="ingress",namespace="default",deployment="digits",revision="1-1",code="unavailable",probe="false"} 3
slipway_ingress_requests_total{service="ingress",namespace="default",deployment="digits",revision="1-1",code="500",probe="true"} 1000
slipway_ingress_requests_total{service="ingress",namespace="default",deployment="digits",revision="2-1",code="500",probe="false"} 1000
slipway_ingress_request_duration_seconds_bucket{namespace="default",deployment="digits",revision="1-1",probe="false",le="0.05"} 80
slipway_ingress_request_duration_seconds_bucket{namespace="default",deployment="digits",revision="1-1",probe="false",le="+Inf"} 100
slipway_ingress_in_flight 3
"#;

    #[test]
    fn the_own_traffic_of_one_revision_is_counted() {
        let counters = live(TEXT, &"default.digits".parse().unwrap(), RevisionId::new(1, 1));
        assert_eq!((counters.requests, counters.failures), (100, 10));
        assert_eq!(counters.buckets, [(0.05, 80), (f64::INFINITY, 100)]);
    }

    #[test]
    fn a_text_of_something_else_is_nothing() {
        assert_eq!(
            live("<html>{}", &"default.digits".parse().unwrap(), RevisionId::new(1, 1)),
            AnswerCounts::default()
        );
    }
}
