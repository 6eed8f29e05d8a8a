//! Callers without a credential.

use super::{Policy, Subject, Violation};

pub(super) const NAME: &str = "anonymous-access";

pub(super) fn check(subject: &Subject<'_>, policy: &Policy) -> Vec<Violation> {
    if subject.spec.access.anonymous && !policy.anonymous {
        return vec![Violation::new(NAME, "spec.access.anonymous", &true, "false (policy.anonymous)")];
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::broken, *};
    use serde_json::json;

    #[test]
    fn anonymous_callers_are_served_only_where_that_is_allowed() {
        let open = json!({ "access": { "anonymous": true } });
        assert_eq!(broken(&open, &Policy::default()), [NAME]);
        assert_eq!(broken(&open, &Policy { anonymous: true, ..Policy::default() }), [] as [&str; 0]);
        assert_eq!(broken(&json!({ "access": { "anonymous": false } }), &Policy::default()), [] as [&str; 0]);
    }
}
