//! The namespace of the workers.

use super::{Unanswered, proof};
use serde_json::Value;
use slipway_kernel::{Finding, FindingKind, Proof};

/// Whether it is there, and stays.
pub(super) fn judge(name: &str, namespace: &Result<Value, Unanswered>) -> Result<Proof, Finding> {
    match namespace {
        Ok(found) if found.pointer("/status/phase").and_then(Value::as_str) == Some("Terminating") => {
            let message = format!(
                "namespace `{name}` is being removed, and takes nothing new; wait, or set kubernetes.namespace"
            );
            Err(Finding::transient(FindingKind::DependencyUnavailable, message)
                .with_evidence(format!("namespace:{name}")))
        }
        Ok(_) => Ok(proof("namespace", format!("`{name}` is there"))),
        Err(Unanswered::Missing) => {
            let message = format!("there is no namespace `{name}`; make it, or set kubernetes.namespace");
            Err(Finding::deterministic(FindingKind::Misconfigured, message).with_evidence(format!("namespace:{name}")))
        }
        // What may be made in it is asked for apart.
        Err(why) => Ok(proof("namespace", format!("`{name}` cannot be looked at: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use slipway_kernel::Cause;

    #[test]
    fn one_that_is_not_there_is_the_operators_and_one_that_goes_may_come_again() {
        assert!(judge("ml", &Ok(json!({ "status": { "phase": "Active" } }))).is_ok());
        let cause = |found| judge("ml", &found).unwrap_err().cause;
        assert_eq!(cause(Err(Unanswered::Missing)), Cause::Deterministic);
        assert_eq!(cause(Ok(json!({ "status": { "phase": "Terminating" } }))), Cause::Transient);
        let unseen = judge("ml", &Err(Unanswered::Forbidden("no right".into()))).unwrap();
        assert!(unseen.detail.contains("cannot be looked at"), "{unseen:?}");
    }
}
