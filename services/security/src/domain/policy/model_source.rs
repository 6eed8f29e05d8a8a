//! Where models may come from.

use super::{Policy, Subject, Violation, listed, scheme};

pub(super) const NAME: &str = "model-source";

pub(super) fn check(subject: &Subject<'_>, policy: &Policy) -> Vec<Violation> {
    let scheme = scheme(&subject.spec.model.uri);
    if policy.model_sources.iter().any(|one| one == scheme) {
        return Vec::new();
    }
    let allowed = format!("{} (policy.model_sources)", listed(&policy.model_sources));
    vec![Violation::new(NAME, "spec.model.uri", &format!("{scheme}://…"), allowed)]
}

#[cfg(test)]
mod tests {
    use super::{super::tests::broken, *};
    use serde_json::json;

    #[test]
    fn a_model_comes_from_where_models_may_come_from() {
        let policy = Policy { model_sources: vec!["nats-object".to_owned()], ..Policy::default() };
        for (uri, broken_rules) in
            [("nats-object://models/m.onnx", 0), ("https://host/m.onnx", 1), ("file:///m.onnx", 1)]
        {
            let spec = json!({ "model": { "uri": uri } });
            assert_eq!(broken(&spec, &policy).len(), broken_rules, "{uri}");
            assert_eq!(broken(&spec, &Policy::default()).len(), 0, "{uri}");
        }
    }
}
