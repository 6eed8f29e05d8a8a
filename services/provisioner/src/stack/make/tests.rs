//! Against an engine that does what a test says, call by call.

use super::*;
use crate::domain::stack::{Action, Change};
use async_trait::async_trait;
use serde_json::json;
use std::collections::VecDeque;

/// What is to be called next, and what comes of it.
#[derive(Debug)]
enum Call {
    /// A plan with these variables.
    Plan(Value, Vec<Change>),
    /// An apply that begins these, and how it ends.
    Apply(&'static [&'static str], Result<(), Why>),
    Outputs,
}

#[derive(Debug)]
struct Scripted(Mutex<VecDeque<Call>>);

impl Scripted {
    fn new(calls: impl IntoIterator<Item = Call>) -> Self {
        Self(Mutex::new(calls.into_iter().collect()))
    }

    fn next(&self) -> Call {
        self.0.lock().unwrap().pop_front().expect("nothing more was to be called")
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || self.0.lock().unwrap().is_empty(), "not called: {:?}", self.0);
    }
}

#[async_trait]
impl Engine for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn plan(&self, stack: &Stack, _: Purpose, _: &dyn Hears) -> Result<Planned, NotDone> {
        let Call::Plan(variables, changes) = self.next() else { panic!("no plan was to be made") };
        assert_eq!(Value::from(stack.variables.clone()), variables);
        Ok(Planned { is_needed: !changes.is_empty(), changes, drift: Vec::new() })
    }

    async fn apply(&self, _: &Stack, hears: &dyn Hears) -> Result<Map<String, Value>, NotDone> {
        let Call::Apply(begun, outcome) = self.next() else { panic!("nothing was to be applied") };
        for address in begun {
            hears.hear(&Event::Begun { address: (*address).to_owned(), action: Action::Create });
        }
        let refused = |why| NotDone::Refused(Refused { why, said: vec![format!("the vendor says {why:?}")] });
        outcome.map(|()| Map::new()).map_err(refused)
    }

    async fn outputs(&self, _: &Stack) -> Result<Map<String, Value>, NotDone> {
        assert!(matches!(self.next(), Call::Outputs));
        Ok(Map::new())
    }
}

struct Nobody;

impl Hears for Nobody {
    fn hear(&self, _: &Event) {}
}

fn change(address: &str, action: Action) -> Change {
    Change { address: address.into(), kind: "pool".into(), action, is_debris: false }
}

fn stack() -> Stack {
    Stack { name: "digits-0a1b2c3d".into(), folder: "/nowhere".into(), variables: Map::new() }
}

/// Three machines, one after the other.
fn choices() -> Vec<Map<String, Value>> {
    ["a", "b", "c"].map(|machine| Map::from_iter([("machine".to_owned(), json!(machine))])).into()
}

fn with(machine: &str, changes: Vec<Change>) -> Call {
    Call::Plan(json!({ "machine": machine }), changes)
}

async fn made(calls: impl IntoIterator<Item = Call>) -> Result<Made, NotDone> {
    make(&Scripted::new(calls), &stack(), &choices(), &Guard::default(), &Nobody).await
}

#[tokio::test]
async fn the_next_choice_is_taken_where_quota_or_capacity_is_refused() {
    let pool = || vec![change("pool.it", Action::Create)];
    let made = made([
        with("a", pool()),
        Call::Apply(&[], Err(Why::Quota)),
        with("b", pool()),
        Call::Apply(&[], Err(Why::Capacity)),
        with("c", pool()),
        Call::Apply(&[], Ok(())),
    ]);
    let made = made.await.unwrap();
    assert_eq!((made.choice, made.changed), (2, 1));
    assert_eq!(made.passed_over, ["the vendor says Quota", "the vendor says Capacity"]);
}

#[tokio::test]
async fn no_other_is_taken_for_a_slip_or_for_what_passes() {
    for why in [Why::Wrong, Why::Denied, Why::Locked, Why::Passing] {
        let made = made([with("a", vec![change("pool.it", Action::Create)]), Call::Apply(&[], Err(why))]).await;
        assert!(matches!(made, Err(NotDone::Refused(refused)) if refused.why == why), "{why:?}");
    }
}

#[tokio::test]
async fn a_stack_stays_with_the_choice_that_it_was_made_by() {
    // By the first it would be replaced, by the second it is what it shall be.
    let made = made([with("a", vec![change("pool.it", Action::Replace)]), with("b", Vec::new()), Call::Outputs]);
    let made = made.await.unwrap();
    assert_eq!((made.choice, made.changed), (1, 0));
    assert_eq!(made.passed_over, ["the guard lets it not: pool.it would be replaced"]);
}

#[tokio::test]
async fn what_a_refused_choice_made_in_this_run_may_be_replaced_and_nothing_else() {
    let second = |address: &str| with("b", vec![change(address, Action::Replace)]);
    let first = || with("a", vec![change("pool.it", Action::Create)]);
    let refused = || Call::Apply(&["pool.it"], Err(Why::Quota));
    let fresh = made([first(), refused(), second("pool.it"), Call::Apply(&[], Ok(()))]).await.unwrap();
    assert_eq!(fresh.choice, 1);
    let third = with("c", vec![change("role.it", Action::Delete)]);
    let Err(NotDone::Refused(refused)) = made([first(), refused(), second("role.it"), third]).await else { panic!() };
    assert_eq!(refused.why, Why::Quota);
    assert_eq!(
        refused.said,
        [
            "the vendor says Quota",
            "the guard lets it not: role.it would be replaced",
            "the guard lets it not: role.it would be removed",
        ]
    );
}

#[tokio::test]
async fn where_every_choice_is_refused_waiting_counts_if_it_may_help_one() {
    let none = |whys: [Why; 3]| async move {
        let calls = ["a", "b", "c"].into_iter().zip(whys).flat_map(|(machine, why)| {
            [with(machine, vec![change("pool.it", Action::Create)]), Call::Apply(&[], Err(why))]
        });
        match made(calls.collect::<Vec<_>>()).await {
            Err(NotDone::Refused(refused)) => (refused.why, refused.said.len()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(none([Why::Quota, Why::Quota, Why::Quota]).await, (Why::Quota, 3));
    assert_eq!(none([Why::Quota, Why::Capacity, Why::Quota]).await, (Why::Capacity, 3));
}

#[tokio::test]
async fn a_plan_that_the_guard_refuses_for_every_choice_is_applied_for_none() {
    let replace = |machine| with(machine, vec![change("pool.it", Action::Replace)]);
    let Err(NotDone::Guarded(words)) = made(["a", "b", "c"].map(replace)).await else { panic!() };
    assert_eq!(words.len(), 3);
    let calls = [with("a", vec![change("pool.new", Action::Create)])];
    let removed = remove(&Scripted::new(calls), &stack(), &choices(), &Guard::default(), &Nobody).await;
    assert!(matches!(removed, Err(NotDone::Guarded(words)) if words[0].contains("while the rest is removed")));
}

#[tokio::test]
async fn what_is_not_there_is_removed_without_an_apply() {
    let calls = [with("a", Vec::new())];
    let removed = remove(&Scripted::new(calls), &stack(), &choices(), &Guard::default(), &Nobody).await;
    assert_eq!(removed.unwrap(), [""; 0]);
}

#[tokio::test]
async fn drift_is_what_the_nearest_choice_would_have_to_do() {
    let engine = Scripted::new([
        with("a", vec![change("pool.it", Action::Replace), change("role.it", Action::Create)]),
        with("b", vec![change("role.it", Action::Create)]),
        with("c", vec![change("pool.it", Action::Replace), change("role.it", Action::Create)]),
    ]);
    let found = drifted(&engine, &stack(), &choices(), &Nobody).await.unwrap();
    assert_eq!(found, ["role.it would be made"]);
    let engine = Scripted::new([with("a", Vec::new())]);
    assert_eq!(drifted(&engine, &stack(), &choices(), &Nobody).await.unwrap(), [""; 0]);
}
