//! What a plan may do before anybody has looked at it.

use super::events::{Action, Event};
use std::collections::BTreeSet;

/// What is to be done with a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It is made, or made what it shall be.
    Make,
    /// It is removed.
    Remove,
}

/// A planned change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The resource.
    pub address: String,
    /// Its type.
    pub kind: String,
    /// What is to be done to it.
    pub action: Action,
    /// Whether nothing rests on it, because its making failed before.
    pub is_debris: bool,
}

impl Change {
    /// The change that an event plans, if it plans one.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Planned { address, kind, action, is_debris } if !matches!(action, Action::Noop | Action::Read) => {
                Some(Self { address: address.clone(), kind: kind.clone(), action: *action, is_debris: *is_debris })
            }
            _ => None,
        }
    }
}

/// The bounds of plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Whether what serves a model may be removed or replaced while it is being made.
    pub may_remove: bool,
    /// The most resources that one plan may change.
    pub most_changes: usize,
    /// Types of resources that may be changed, `*` at the end for any rest; empty: all.
    pub kinds: Vec<String>,
}

impl Default for Guard {
    fn default() -> Self {
        // A pool is a handful of resources, the network and the cluster beneath it more than a hundred.
        Self { may_remove: false, most_changes: 50, kinds: Vec::new() }
    }
}

impl Guard {
    /// What of a plan is against the bounds, in words for a person; empty: nothing. `fresh` are resources that this very run made, for a choice
    /// that was then refused: nothing rests on them yet.
    #[must_use]
    pub fn refuses(&self, purpose: Purpose, changes: &[Change], fresh: &BTreeSet<String>) -> Vec<String> {
        let mut refused = Vec::new();
        if changes.len() > self.most_changes {
            refused.push(format!(
                "{} resources would be changed, and {} are the most",
                changes.len(),
                self.most_changes
            ));
        }
        for change in changes {
            let Change { address, kind, action, is_debris } = change;
            let rests_on = !is_debris && !fresh.contains(address);
            match (purpose, action) {
                (Purpose::Make, Action::Delete | Action::Replace | Action::Remove) if !self.may_remove && rests_on => {
                    refused.push(format!("{address} would be {action}"));
                }
                (Purpose::Remove, Action::Create | Action::Replace | Action::Update | Action::Import) => {
                    refused.push(format!("{address} would be {action} while the rest is removed"));
                }
                _ => {}
            }
            if !self.allows(kind) {
                refused.push(format!("{address} is a {kind}, which is not among {}", self.kinds.join(", ")));
            }
        }
        refused
    }

    fn allows(&self, kind: &str) -> bool {
        let fits =
            |allowed: &String| allowed.strip_suffix('*').map_or(allowed == kind, |start| kind.starts_with(start));
        self.kinds.is_empty() || self.kinds.iter().any(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: &str, action: Action) -> Change {
        Change { address: format!("{kind}.it"), kind: kind.to_owned(), action, is_debris: false }
    }

    fn refuses(guard: &Guard, purpose: Purpose, changes: &[Change]) -> Vec<String> {
        guard.refuses(purpose, changes, &BTreeSet::new())
    }

    #[test]
    fn what_serves_is_not_removed_while_it_is_made_and_nothing_is_made_while_it_is_removed() {
        let guard = Guard::default();
        for (purpose, action, refused) in [
            (Purpose::Make, Action::Create, false),
            (Purpose::Make, Action::Update, false),
            (Purpose::Make, Action::Delete, true),
            (Purpose::Make, Action::Replace, true),
            (Purpose::Make, Action::Remove, true),
            (Purpose::Remove, Action::Delete, false),
            (Purpose::Remove, Action::Create, true),
            (Purpose::Remove, Action::Replace, true),
        ] {
            let found = refuses(&guard, purpose, &[change("aws_eks_node_group", action)]);
            assert_eq!(!found.is_empty(), refused, "{purpose:?} {action:?}: {found:?}");
        }
        let lenient = Guard { may_remove: true, ..guard };
        assert!(refuses(&lenient, Purpose::Make, &[change("a", Action::Replace)]).is_empty());
    }

    #[test]
    fn a_plan_is_bounded_in_number_and_kind_and_all_of_it_is_told() {
        let guard =
            Guard { most_changes: 1, kinds: vec!["aws_eks_*".into(), "aws_iam_role".into()], ..Guard::default() };
        assert!(refuses(&guard, Purpose::Make, &[change("aws_eks_node_group", Action::Create)]).is_empty());
        let found = refuses(
            &guard,
            Purpose::Make,
            &[change("aws_iam_role", Action::Create), change("aws_iam_role_policy", Action::Delete)],
        );
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found[2].contains(
                "aws_iam_role_policy.it is a aws_iam_role_policy, which is not among aws_eks_*, aws_iam_role"
            )
        );
    }

    #[test]
    fn what_nothing_rests_on_may_be_replaced() {
        let (guard, broken) = (Guard::default(), Change { is_debris: true, ..change("a", Action::Replace) });
        assert!(refuses(&guard, Purpose::Make, &[broken]).is_empty());
        let fresh = BTreeSet::from(["a.it".to_owned()]);
        assert!(guard.refuses(Purpose::Make, &[change("a", Action::Replace)], &fresh).is_empty());
        assert_eq!(guard.refuses(Purpose::Make, &[change("b", Action::Delete)], &fresh), ["b.it would be removed"]);
    }

    #[test]
    fn what_is_only_looked_at_is_no_change() {
        let planned = |action| Event::Planned { address: "a.b".into(), kind: "a".into(), action, is_debris: false };
        assert_eq!(Change::of(&planned(Action::Read)), None);
        assert_eq!(Change::of(&planned(Action::Noop)), None);
        assert_eq!(Change::of(&planned(Action::Create)).unwrap().address, "a.b");
    }
}
