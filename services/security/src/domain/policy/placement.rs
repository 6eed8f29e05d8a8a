//! It runs where it was decided to run, nothing speaks against that place (residency, compliance and the other vetoes of the
//! choice), and a person approved it if one had to.

use super::{Policy, Subject, Violation};

pub(super) const NAME: &str = "placement";

pub(super) fn check(subject: &Subject<'_>, _: &Policy) -> Vec<Violation> {
    let target = &subject.plan.target;
    let Some(choice) = subject.choice else {
        return vec![Violation::new(NAME, "plan.target", target, "the target of infrastructure-chosen; there is none")];
    };
    let mut found = Vec::new();
    if choice.target != *target {
        found.push(Violation::new(NAME, "plan.target", target, format!("{} (infrastructure-chosen)", choice.target)));
    }
    match choice.candidates.iter().find(|candidate| candidate.target == *target) {
        Some(candidate) => found.extend(candidate.vetoes.iter().map(|veto| {
            let value = format!("{target}, against which speaks {}: {}", veto.rule, veto.reason);
            Violation::new(NAME, "plan.target", &value, "a place that nothing speaks against")
        })),
        None => found.push(Violation::new(NAME, "plan.target", target, "a candidate of infrastructure-chosen")),
    }
    if choice.needs_approval && !subject.approved {
        found.push(Violation::new(
            NAME,
            "plan.target",
            &format!("{target}, not approved"),
            "a place that a person approved",
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::tests::found, *};
    use serde_json::json;
    use slipway_kernel::{InfrastructureChosen, Plan, Veto};

    fn values(change: impl FnOnce(&mut Plan, &mut InfrastructureChosen)) -> Vec<String> {
        let found = found(&json!({}), &Policy::default(), |plan, choice, _| change(plan, choice));
        assert!(found.iter().all(|violation| violation.rule == NAME), "{found:?}");
        found.into_iter().map(|violation| violation.value).collect()
    }

    #[test]
    fn it_runs_where_it_was_decided_and_nothing_speaks_against_it() {
        assert_eq!(values(|_, _| ()), [] as [&str; 0]);
        assert_eq!(values(|plan, _| plan.target = "aws".to_owned()).len(), 2);
        let vetoed = values(|_, choice| {
            choice.candidates[0].vetoes.push(Veto { rule: "residency".to_owned(), reason: "must be in eu".to_owned() });
        });
        assert_eq!(vetoed, ["local, against which speaks residency: must be in eu"]);
        assert_eq!(values(|_, choice| choice.candidates.clear()).len(), 1);
    }

    #[test]
    fn what_needs_approval_was_approved() {
        assert_eq!(values(|_, choice| choice.needs_approval = true), ["local, not approved"]);
    }
}
