//! What the controller must be able to do in the namespace of the workers.

use super::{Unanswered, proof};
use serde_json::{Value, json};
use slipway_kernel::{Finding, FindingKind, Proof};
use std::collections::BTreeMap;

/// One thing that must be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// `create`, `patch`…
    pub verb: &'static str,
    /// `apps`; empty for the core.
    pub group: &'static str,
    /// `deployments`.
    pub resource: &'static str,
    /// `scale`; empty for the resource itself.
    pub subresource: &'static str,
}

/// What is made, changed and removed for a revision.
const MADE: [(&str, &str); 7] = [
    ("apps", "deployments"),
    ("apps", "statefulsets"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("policy", "poddisruptionbudgets"),
    ("", "services"),
    ("networking.k8s.io", "networkpolicies"),
    ("", "configmaps"),
];
/// What is done with it.
const DONE: [&str; 5] = ["list", "watch", "create", "patch", "delete"];
/// What else is done: anchors are replaced, scalers are begun, volumes are removed with their revision, pods and what is said of them are read.
const ELSE: [Need; 9] = [
    Need { verb: "update", group: "", resource: "configmaps", subresource: "" },
    Need { verb: "patch", group: "apps", resource: "deployments", subresource: "scale" },
    Need { verb: "patch", group: "apps", resource: "statefulsets", subresource: "scale" },
    Need { verb: "list", group: "", resource: "persistentvolumeclaims", subresource: "" },
    Need { verb: "watch", group: "", resource: "persistentvolumeclaims", subresource: "" },
    Need { verb: "delete", group: "", resource: "persistentvolumeclaims", subresource: "" },
    Need { verb: "list", group: "", resource: "pods", subresource: "" },
    Need { verb: "watch", group: "", resource: "pods", subresource: "" },
    Need { verb: "list", group: "", resource: "events", subresource: "" },
];

/// All of it.
#[must_use]
pub fn needs() -> Vec<Need> {
    let made = MADE
        .iter()
        .flat_map(|(group, resource)| DONE.iter().map(|verb| Need { verb, group, resource, subresource: "" }));
    made.chain(ELSE).collect()
}

/// Whose rights are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who<'a> {
    /// Whoever asks.
    Self_,
    /// This user, such as `system:serviceaccount:slipway:slipway-controller`.
    Other(&'a str),
}

impl Need {
    /// Where the question is put, and the question.
    #[must_use]
    pub fn review(&self, who: Who<'_>, namespace: &str) -> (String, Value) {
        let mut attributes =
            json!({ "namespace": namespace, "verb": self.verb, "group": self.group, "resource": self.resource });
        if !self.subresource.is_empty() {
            attributes["subresource"] = self.subresource.into();
        }
        let api = "/apis/authorization.k8s.io/v1";
        let document = |kind: &str| {
            json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": { "resourceAttributes": attributes }
            })
        };
        match who {
            Who::Self_ => (format!("{api}/selfsubjectaccessreviews"), document("SelfSubjectAccessReview")),
            Who::Other(user) => {
                let mut review = document("LocalSubjectAccessReview");
                review["metadata"] = json!({ "namespace": namespace });
                review["spec"]["user"] = user.into();
                review["spec"]["groups"] = groups(user).into();
                (format!("{api}/namespaces/{namespace}/localsubjectaccessreviews"), review)
            }
        }
    }

    fn on(&self) -> String {
        let scale = if self.subresource.is_empty() { String::new() } else { format!("/{}", self.subresource) };
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        format!("{}{group}{scale}", self.resource)
    }
}

/// The groups that the API server puts a service account into.
fn groups(user: &str) -> Vec<String> {
    let mut groups = vec!["system:authenticated".to_owned()];
    if let Some(account) = user.strip_prefix("system:serviceaccount:") {
        let namespace = account.split(':').next().unwrap_or_default();
        groups.push("system:serviceaccounts".to_owned());
        groups.push(format!("system:serviceaccounts:{namespace}"));
    }
    groups
}

/// Whether all of it is allowed.
pub(super) fn judge(namespace: &str, who: &str, asked: &[(Need, Result<Value, Unanswered>)]) -> Result<Proof, Finding> {
    let mut denied: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut unanswered = None;
    for (need, answer) in asked {
        match answer {
            Ok(review) if review.pointer("/status/allowed").and_then(Value::as_bool) == Some(true) => {}
            Ok(_) => denied.entry(need.on()).or_default().push(need.verb),
            Err(why) => unanswered = Some(why),
        }
    }
    if !denied.is_empty() {
        let denied: Vec<String> = denied.iter().map(|(on, verbs)| format!("{} {on}", verbs.join(", "))).collect();
        let message =
            format!("{who} may not, in namespace `{namespace}`: {}; give it the role of the chart", denied.join("; "));
        return Err(
            Finding::deterministic(FindingKind::Misconfigured, message).with_evidence(format!("namespace:{namespace}"))
        );
    }
    Ok(match unanswered {
        None if asked.is_empty() => proof("permissions", format!("what {who} may do was not asked")),
        // A right that nobody could tell of shows when it is used.
        Some(why) => proof("permissions", format!("what {who} may do cannot be asked: {why}")),
        None => proof("permissions", format!("{who} may do all {} things it needs in `{namespace}`", asked.len())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Cause;

    fn answered(denied: &[(&str, &str)]) -> Vec<(Need, Result<Value, Unanswered>)> {
        let allowed = |need: &Need| !denied.contains(&(need.verb, need.resource));
        needs().into_iter().map(|need| (need, Ok(json!({ "status": { "allowed": allowed(&need) } })))).collect()
    }

    #[test]
    fn what_is_denied_is_named_by_verb_and_kind() {
        assert!(judge("ml", "the controller", &answered(&[])).is_ok());
        let denied = [("create", "deployments"), ("delete", "deployments"), ("patch", "services")];
        let finding = judge("ml", "the controller", &answered(&denied)).unwrap_err();
        assert_eq!((finding.kind, finding.cause), (FindingKind::Misconfigured, Cause::Deterministic));
        assert!(
            finding.message.starts_with(
                "the controller may not, in namespace `ml`: create, delete deployments.apps; patch services;"
            ),
            "{}",
            finding.message
        );
    }

    #[test]
    fn what_cannot_be_asked_is_no_denial() {
        let mut asked = answered(&[]);
        asked[0].1 = Err(Unanswered::Forbidden("no reviews".into()));
        assert!(
            judge("ml", "the controller", &asked).unwrap().detail.contains("cannot be asked: no right: no reviews")
        );
    }

    #[test]
    fn a_review_asks_for_oneself_or_for_a_service_account() {
        let need = Need { verb: "patch", group: "apps", resource: "deployments", subresource: "scale" };
        let (path, own) = need.review(Who::Self_, "ml");
        assert_eq!(path, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews");
        assert_eq!(own.pointer("/spec/resourceAttributes/subresource"), Some(&json!("scale")));
        let (path, other) = need.review(Who::Other("system:serviceaccount:slipway:controller"), "ml");
        assert_eq!(path, "/apis/authorization.k8s.io/v1/namespaces/ml/localsubjectaccessreviews");
        assert_eq!(
            other["spec"]["groups"],
            json!(["system:authenticated", "system:serviceaccounts", "system:serviceaccounts:slipway"])
        );
    }
}
