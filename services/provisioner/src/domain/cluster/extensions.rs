//! What others have put into the cluster that is used where it is there. None of it is needed.

use super::{Unanswered, proof};
use serde_json::Value;
use slipway_kernel::Proof;

/// The group of an API, and what it is used for; what is done without it.
const USED: [(&str, &str, &str); 4] = [
    ("gateway.networking.k8s.io", "routes by the Gateway API", "Ingress"),
    ("keda.sh", "scaling by what waits", "scaling by processor time"),
    ("metrics.k8s.io", "scaling by processor time", "the number of workers of the plan"),
    ("monitoring.coreos.com", "rules and targets of Prometheus as objects", "annotations of pods"),
];

/// What is there, and what is done without the rest.
pub(super) fn prove(groups: &Result<Value, Unanswered>) -> Proof {
    let served = match groups {
        Ok(found) => found["groups"].as_array().map_or(&[][..], Vec::as_slice),
        Err(why) => return proof("extensions", format!("which APIs are served cannot be looked at: {why}")),
    };
    let (there, lacking): (Vec<_>, Vec<_>) =
        USED.iter().partition(|(group, ..)| served.iter().any(|found| found["name"] == *group));
    let mut told: Vec<String> = there.iter().map(|(group, what, _)| format!("{group}: {what}")).collect();
    told.extend(lacking.iter().map(|(group, _, instead)| format!("no {group}: {instead} instead")));
    proof("extensions", told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_there_is_told_and_what_is_done_without_the_rest() {
        let told = prove(&Ok(json!({ "groups": [{ "name": "apps" }, { "name": "keda.sh" }] }))).detail;
        assert!(
            told.starts_with("keda.sh: scaling by what waits; no gateway.networking.k8s.io: Ingress instead"),
            "{told}"
        );
        assert_eq!(told.matches("instead").count(), USED.len() - 1);
        assert!(prove(&Err(Unanswered::Away("timed out".into()))).detail.contains("timed out"));
    }
}
