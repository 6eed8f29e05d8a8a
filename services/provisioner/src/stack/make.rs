//! Making a stack what it shall be, with the first of its choices that can be had; removing it; looking what became of it.

use super::{Engine, Hears, NotDone, Planned, Stack};
use crate::domain::stack::{Event, Guard, Purpose, Refused, Why};
use serde_json::{Map, Value};
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// A stack that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// How many resources were changed now.
    pub changed: usize,
    /// What others had changed before.
    pub drift: Vec<String>,
    /// The outputs, without secrets.
    pub outputs: Map<String, Value>,
    /// Which of the choices was taken, from 0.
    pub choice: usize,
    /// Why not those before it, in the words of the vendor or of the guard.
    pub passed_over: Vec<String>,
}

/// Makes the stack what it shall be: with the first of the choices (variables over the stack's) that is neither refused for lack of quota or
/// capacity nor by the guard. So a stack that was made by a later choice stays with it: an earlier one would replace what serves.
///
/// # Errors
/// [`NotDone`]; where no choice is left, with the words of all.
pub async fn make(
    engine: &dyn Engine,
    stack: &Stack,
    choices: &[Map<String, Value>],
    guard: &Guard,
    hears: &dyn Hears,
) -> Result<Made, NotDone> {
    let noting = Noting { hears, fresh: Mutex::default() };
    let mut passed_over = Vec::new();
    for (choice, stack) in chosen(stack, choices).into_iter().enumerate() {
        match attempt(engine, &stack, guard, &noting).await {
            Ok((planned, outputs)) => {
                let passed_over = passed_over.iter().flat_map(words).collect();
                let (changed, drift) = (planned.changes.len(), planned.drift);
                return Ok(Made { changed, drift, outputs, choice, passed_over });
            }
            Err(other) if calls_for_another(&other) => passed_over.push(other),
            Err(other) => return Err(other),
        }
    }
    Err(none_left(&passed_over))
}

async fn attempt(
    engine: &dyn Engine,
    stack: &Stack,
    guard: &Guard,
    noting: &Noting<'_>,
) -> Result<(Planned, Map<String, Value>), NotDone> {
    let planned = allowed(engine, stack, Purpose::Make, guard, noting).await?;
    let outputs = if planned.is_needed { engine.apply(stack, noting).await? } else { engine.outputs(stack).await? };
    Ok((planned, outputs))
}

/// A plan that the guard lets through.
async fn allowed(
    engine: &dyn Engine,
    stack: &Stack,
    purpose: Purpose,
    guard: &Guard,
    noting: &Noting<'_>,
) -> Result<Planned, NotDone> {
    let planned = engine.plan(stack, purpose, noting).await?;
    let against = guard.refuses(purpose, &planned.changes, &noting.fresh());
    if against.is_empty() { Ok(planned) } else { Err(NotDone::Guarded(against)) }
}

/// Removes the stack; gives the addresses of what was removed.
///
/// # Errors
/// [`NotDone`].
pub async fn remove(
    engine: &dyn Engine,
    stack: &Stack,
    choices: &[Map<String, Value>],
    guard: &Guard,
    hears: &dyn Hears,
) -> Result<Vec<String>, NotDone> {
    let noting = Noting { hears, fresh: Mutex::default() };
    // What is removed is told by the state; a choice only gives variables without a default their values.
    let Some(stack) = chosen(stack, choices).into_iter().next() else { return Ok(Vec::new()) };
    let planned = allowed(engine, &stack, Purpose::Remove, guard, &noting).await?;
    if planned.is_needed {
        engine.apply(&stack, &noting).await?;
    }
    Ok(planned.changes.into_iter().map(|change| change.address).collect())
}

/// What would have to be done for the stack to be again what it was made, in words; empty: nothing. Changes nothing.
///
/// # Errors
/// [`NotDone`].
pub async fn drifted(
    engine: &dyn Engine,
    stack: &Stack,
    choices: &[Map<String, Value>],
    hears: &dyn Hears,
) -> Result<Vec<String>, NotDone> {
    let mut least: Option<Vec<String>> = None;
    for stack in chosen(stack, choices) {
        let changes = engine.plan(&stack, Purpose::Make, hears).await?.changes;
        let words: Vec<String> =
            changes.iter().map(|change| format!("{} would be {}", change.address, change.action)).collect();
        // By which choice it was made is not remembered: it is the one that has least to do.
        if least.as_ref().is_none_or(|least| words.len() < least.len()) {
            least = Some(words);
        }
        if least.as_ref().is_some_and(Vec::is_empty) {
            break;
        }
    }
    Ok(least.unwrap_or_default())
}

/// The stack with each choice.
fn chosen(stack: &Stack, choices: &[Map<String, Value>]) -> Vec<Stack> {
    let with = |choice: &Map<String, Value>| {
        let mut stack = stack.clone();
        stack.variables.extend(choice.clone());
        stack
    };
    if choices.is_empty() { vec![stack.clone()] } else { choices.iter().map(with).collect() }
}

fn calls_for_another(not_done: &NotDone) -> bool {
    match not_done {
        NotDone::Refused(refused) => refused.why.calls_for_another(),
        NotDone::Guarded(_) => true,
        NotDone::Unusable(_) | NotDone::Folder { .. } => false,
    }
}

fn words(not_done: &NotDone) -> Vec<String> {
    match not_done {
        NotDone::Refused(refused) => refused.said.clone(),
        NotDone::Guarded(words) => vec![format!("the guard lets it not: {}", words.join(", "))],
        NotDone::Unusable(words) => vec![words.clone()],
        NotDone::Folder { path, source } => vec![format!("{}: {source}", path.display())],
    }
}

/// What several refusals come to. One that waiting may mend counts before one that only a person does.
fn none_left(passed_over: &[NotDone]) -> NotDone {
    let whys = passed_over.iter().filter_map(|one| match one {
        NotDone::Refused(refused) => Some(refused.why),
        _ => None,
    });
    let why = whys.reduce(|one, other| if other == Why::Capacity { other } else { one });
    match why {
        Some(why) => NotDone::Refused(Refused { why, said: passed_over.iter().flat_map(words).collect() }),
        None => NotDone::Guarded(
            passed_over
                .iter()
                .filter_map(|one| match one {
                    NotDone::Guarded(words) => Some(words.join(", ")),
                    _ => None,
                })
                .collect(),
        ),
    }
}

/// Hears, and notes what this run begins to make.
struct Noting<'a> {
    hears: &'a dyn Hears,
    fresh: Mutex<BTreeSet<String>>,
}

impl Noting<'_> {
    fn fresh(&self) -> BTreeSet<String> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Hears for Noting<'_> {
    fn hear(&self, event: &Event) {
        if let Event::Begun { address, action } = event
            && *action == crate::domain::stack::Action::Create
        {
            self.fresh.lock().unwrap_or_else(PoisonError::into_inner).insert(address.clone());
        }
        self.hears.hear(event);
    }
}

#[cfg(test)]
mod tests;
