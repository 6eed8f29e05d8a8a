//! The model that runs is the one that was fetched and looked at, and the one the spec names.

use super::{Policy, Subject, Violation};
use slipway_kernel::spec::blob_digest;

pub(super) const NAME: &str = "model-pinned";

pub(super) fn check(subject: &Subject<'_>, policy: &Policy) -> Vec<Violation> {
    let mut found = Vec::new();
    let planned = &subject.plan.model_digest;
    let mut planned_must_be = |path: &str, digest: &slipway_kernel::Digest| {
        if planned != digest {
            found.push(Violation::new(NAME, "plan.modelDigest", planned, format!("{digest} ({path})")));
        }
    };
    match subject.platform {
        Some(platform) => planned_must_be("platform-selected model.digest", &platform.model.digest),
        None => found.push(Violation::new(
            NAME,
            "plan.modelDigest",
            planned,
            "the digest in platform-selected; there is none",
        )),
    }
    match &subject.spec.model.sha256 {
        Some(named) if named != planned => {
            found.push(Violation::new(NAME, "plan.modelDigest", planned, format!("{named} (spec.model.sha256)")));
        }
        None if policy.model_digest && blob_digest(&subject.spec.model.uri).is_none() => {
            found.push(Violation::new(NAME, "spec.model.sha256", "absent", "the model's digest (policy.model_digest)"));
        }
        _ => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{
        super::{tests::found, violations},
        *,
    };
    use crate::testing::{document, plan};
    use serde_json::{Value, json};
    use slipway_kernel::Digest;

    fn spec(digest: &Digest) -> Value {
        json!({ "model": { "uri": "file:///m.onnx", "sha256": digest.to_string() } })
    }

    #[test]
    fn plan_platform_and_spec_name_the_same_model() {
        let (model, other) = (Digest::of(b"model"), Digest::of(b"other"));
        assert_eq!(found(&spec(&model), &Policy::default(), |_, _, _| ()), []);
        let wrong = found(&spec(&other), &Policy::default(), |_, _, _| ());
        assert_eq!((wrong.len(), wrong[0].allowed.contains("spec.model.sha256")), (1, true), "{wrong:?}");
        let swapped = found(&json!({}), &Policy::default(), |plan, _, _| plan.model_digest = other);
        assert_eq!((swapped.len(), swapped[0].rule), (1, NAME));
    }

    #[test]
    fn a_spec_names_its_digest_where_that_is_demanded() {
        let policy = Policy { model_digest: true, ..Policy::default() };
        assert_eq!(found(&spec(&Digest::of(b"model")), &policy, |_, _, _| ()), []);
        assert_eq!(found(&json!({}), &policy, |_, _, _| ())[0].path, "spec.model.sha256");
    }

    #[test]
    fn a_plan_without_a_fetched_model_is_not_pinned() {
        let (document, plan) = (document(&json!({})), plan());
        let subject = Subject { spec: &document.spec, plan: &plan, choice: None, approved: false, platform: None };
        assert!(violations(&subject, &Policy::default()).iter().any(|violation| violation.rule == NAME));
    }
}
