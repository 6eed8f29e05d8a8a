//! A program of one's own (one that drives Pulumi, a script) with the contract of the README: a document on its standard input, the lines of
//! [`events`](crate::domain::stack::events) on its standard output.

use super::{
    Engine, Hears, NotDone, Planned, Stack, StackConfig,
    process::{Ended, wait_for_who_was_left_behind},
    run::{Deaf, Heard, run, write},
};
use crate::domain::stack::Purpose;
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use std::{fs::File, process::Stdio};
use tokio::process::Command;

/// It.
#[derive(Clone, Debug)]
pub(super) struct OwnProgram {
    config: StackConfig,
}

impl OwnProgram {
    pub(super) const fn new(config: StackConfig) -> Self {
        Self { config }
    }

    /// One call.
    async fn call(&self, step: &str, stack: &Stack, hears: &dyn Hears) -> Result<(Ended, Heard), NotDone> {
        let (program, first) = self.config.command();
        let mut command = Command::new(program);
        command.args(first).arg(step).current_dir(&stack.folder);
        let document = stack.folder.join(DOCUMENT);
        let input = File::open(&document).map_err(NotDone::folder(&document))?;
        run(command, Stdio::from(input), stack, step, hears).await
    }

    fn document(&self, stack: &Stack, purpose: Purpose) -> Value {
        let backend = self.config.backend.iter().map(|setting| setting.replace("{stack}", &stack.name));
        json!({
            "stack": stack.name,
            "purpose": match purpose { Purpose::Make => "make", Purpose::Remove => "remove" },
            "module": self.config.module,
            "folder": stack.folder,
            "variables": stack.variables,
            "backend": backend.collect::<Vec<_>>(),
        })
    }
}

/// What the program reads; what was planned last, so that each step after it speaks of the same.
const DOCUMENT: &str = "document.json";

#[async_trait]
impl Engine for OwnProgram {
    fn name(&self) -> &'static str {
        "command"
    }

    async fn plan(&self, stack: &Stack, purpose: Purpose, hears: &dyn Hears) -> Result<Planned, NotDone> {
        wait_for_who_was_left_behind(&stack.folder).await;
        write(&stack.folder.join(DOCUMENT), &self.document(stack, purpose))?;
        let (ended, heard) = self.call("plan", stack, hears).await?;
        if ended.code != Some(0) {
            return Err(heard.refused(&ended));
        }
        let planned = heard.planned(false);
        Ok(Planned { is_needed: !planned.changes.is_empty(), ..planned })
    }

    async fn apply(&self, stack: &Stack, hears: &dyn Hears) -> Result<Map<String, Value>, NotDone> {
        let (ended, heard) = self.call("apply", stack, hears).await?;
        if ended.code == Some(0) { Ok(heard.outputs.unwrap_or_default()) } else { Err(heard.refused(&ended)) }
    }

    async fn outputs(&self, stack: &Stack) -> Result<Map<String, Value>, NotDone> {
        let (ended, heard) = self.call("outputs", stack, &Deaf).await?;
        if ended.code == Some(0) { Ok(heard.outputs.unwrap_or_default()) } else { Err(heard.refused(&ended)) }
    }
}
