//! The version of the API server.

use super::{Unanswered, proof};
use serde_json::Value;
use slipway_kernel::{Finding, FindingKind, Proof};

/// The oldest minor version that the objects of the controller need: a pod disruption budget that lets broken pods go
/// (`unhealthyPodEvictionPolicy`) is on by default from 1.27, and stable apply semantics of every kind it makes from before. Older ones have no
/// support by anybody.
const OLDEST: u32 = 29;
/// The newest that was tried. Newer ones are taken, and it is said.
const TRIED: u32 = 37;

/// Whether it answers, in a version that will do.
pub(super) fn judge(version: &Result<Value, Unanswered>) -> Result<Proof, Finding> {
    let version = match version {
        Ok(version) => version,
        Err(Unanswered::Unauthenticated(said)) => {
            let message =
                format!("the API server does not know who asks: {said}; look at the service account or kubeconfig");
            return Err(Finding::deterministic(FindingKind::Misconfigured, message));
        }
        Err(other) => {
            let message = format!("the API server does not answer: {other}");
            return Err(Finding::transient(FindingKind::DependencyUnavailable, message));
        }
    };
    let name = version["gitVersion"].as_str().unwrap_or("without a name");
    let number = |field: &str| -> Option<u32> {
        // Some say `29+`.
        let digits: String = version[field].as_str()?.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    match (number("major"), number("minor")) {
        (Some(1), Some(minor)) if minor >= OLDEST => {
            let untried = if minor > TRIED {
                format!(", newer than 1.{TRIED}, the newest that was tried")
            } else {
                String::new()
            };
            Ok(proof("api-server", format!("answers, {name}{untried}")))
        }
        _ => {
            let message = format!("the API server is {name}; 1.{OLDEST} is the oldest that workers can be kept on");
            Err(Finding::deterministic(FindingKind::InfrastructureUnsuitable, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use slipway_kernel::Cause;

    fn of(minor: &str) -> Result<Proof, Finding> {
        judge(&Ok(json!({ "major": "1", "minor": minor, "gitVersion": format!("v1.{minor}.0") })))
    }

    #[test]
    fn old_ones_are_refused_and_newer_ones_are_noted() {
        assert!(of("29").is_ok() && of("34+").is_ok());
        assert!(of("99").unwrap().detail.contains("newest that was tried"));
        for old in ["28", "9", "", "x"] {
            let finding = of(old).unwrap_err();
            assert_eq!(
                (finding.kind, finding.cause),
                (FindingKind::InfrastructureUnsuitable, Cause::Deterministic),
                "{old}"
            );
        }
    }

    #[test]
    fn who_is_away_may_come_back_and_who_does_not_know_us_will_not() {
        let finding = judge(&Err(Unanswered::Away("connection refused".into()))).unwrap_err();
        assert_eq!((finding.kind, finding.cause), (FindingKind::DependencyUnavailable, Cause::Transient));
        assert!(finding.message.contains("connection refused"));
        let finding = judge(&Err(Unanswered::Unauthenticated("Unauthorized".into()))).unwrap_err();
        assert_eq!((finding.kind, finding.cause), (FindingKind::Misconfigured, Cause::Deterministic));
    }
}
