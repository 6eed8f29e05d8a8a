//! One run of a program, and what it said.

use super::{
    Hears, NotDone, Planned, Stack,
    process::{Ended, Running},
};
use crate::domain::stack::{Action, Change, Diagnostic, Event, Refused, Why};
use serde_json::{Map, Value};
use std::{path::Path, process::Stdio};
use tokio::process::Command;

/// What a run said.
#[derive(Debug, Default)]
pub(super) struct Heard {
    errors: Vec<Diagnostic>,
    changes: Vec<Change>,
    drift: Vec<String>,
    pub(super) outputs: Option<Map<String, Value>>,
}

/// Runs a program to its end. Dropped, it is interrupted.
pub(super) async fn run(
    command: Command,
    input: Stdio,
    stack: &Stack,
    step: &str,
    hears: &dyn Hears,
) -> Result<(Ended, Heard), NotDone> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let unusable = |error: std::io::Error| NotDone::Unusable(format!("`{program}` cannot be run: {error}"));
    let mut heard = Heard::default();
    let mut running = Running::start(command, input, &stack.folder, step).map_err(unusable)?;
    let ended = running.until_its_end(|event| {
        hears.hear(&event);
        heard.hear(event);
    });
    let ended = ended.await.map_err(NotDone::folder(&stack.folder))?;
    Ok((ended, heard))
}

impl Heard {
    fn hear(&mut self, event: Event) {
        match event {
            Event::Said(diagnostic) if diagnostic.is_error() => self.errors.push(diagnostic),
            Event::Drifted { address, action } if action != Action::Noop => self.drift.push(address),
            Event::Outputs(outputs) => self.outputs = Some(outputs),
            other => self.changes.extend(Change::of(&other)),
        }
    }

    /// The plan that it said.
    pub(super) fn planned(self, is_needed: bool) -> Planned {
        Planned { changes: self.changes, drift: self.drift, is_needed }
    }

    /// Why it was not done.
    pub(super) fn refused(&self, ended: &Ended) -> NotDone {
        let Some(code) = ended.code else {
            // Whoever killed it: what was done stands in the state, and the next plan goes on from there.
            let said = vec![format!("it was ended by a signal: {}", ended.last_words)];
            return NotDone::Refused(Refused { why: Why::Passing, said });
        };
        NotDone::Refused(Refused::of(&self.errors, &format!("it ended with {code}: {}", ended.last_words)))
    }
}

/// Writes what a program is to read.
pub(super) fn write(path: &Path, content: &Value) -> Result<(), NotDone> {
    std::fs::write(path, content.to_string()).map_err(NotDone::folder(path))
}

/// Who needs not hear.
pub(super) struct Deaf;

impl Hears for Deaf {
    fn hear(&self, _: &Event) {}
}
