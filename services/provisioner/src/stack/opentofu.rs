//! OpenTofu, or Terraform.

use super::{
    Engine, Hears, NotDone, Planned, Stack, StackConfig,
    process::{lines_of, wait_for_who_was_left_behind},
    run::{Deaf, run, write},
};
use crate::domain::stack::{Diagnostic, Purpose, Refused, events};
use async_trait::async_trait;
use serde_json::{Map, Value};
use std::{ffi::OsString, fs, path::Path, process::Stdio};
use tokio::process::Command;

/// Exit code of a plan with `-detailed-exitcode` that would change something.
const CHANGES: i32 = 2;

/// It.
#[derive(Clone, Debug)]
pub(super) struct OpenTofu {
    config: StackConfig,
}

impl OpenTofu {
    pub(super) const fn new(config: StackConfig) -> Self {
        Self { config }
    }

    fn command(&self, stack: &Stack, arguments: Vec<OsString>) -> Command {
        let (program, first) = self.config.command();
        let mut command = Command::new(program);
        command.args(first).arg(with("-chdir=", &self.config.module)).args(arguments);
        command.env("TF_DATA_DIR", data(stack)).env("TF_IN_AUTOMATION", "1").env("CHECKPOINT_DISABLE", "1");
        command
    }

    fn lock_timeout(&self) -> OsString {
        format!("-lock-timeout={}s", self.config.lock_timeout.0.as_secs()).into()
    }

    /// Prepares the folder: providers, modules, and where the state is.
    async fn init(&self, stack: &Stack) -> Result<(), NotDone> {
        // The settings are those of now, whatever they were when the folder was made.
        let mut arguments = words(&["init", "-input=false", "-no-color", "-reconfigure"]);
        for setting in &self.config.backend {
            arguments.push(format!("-backend-config={}", setting.replace("{stack}", &stack.name)).into());
        }
        let (ended, _) = run(self.command(stack, arguments), Stdio::null(), stack, "init", &Deaf).await?;
        if ended.code != Some(0) {
            let said = Diagnostic { summary: "tofu init".into(), detail: ended.last_words, ..Diagnostic::default() };
            return Err(NotDone::Refused(Refused::of(&[said], "")));
        }
        self.own_state(stack)
    }

    /// Two stacks in one state would remove each other. A module without a `backend` block takes no settings, and only says so.
    fn own_state(&self, stack: &Stack) -> Result<(), NotDone> {
        let chosen = fs::read_to_string(data(stack).join("terraform.tfstate")).unwrap_or_default();
        let chosen: Value = serde_json::from_str(&chosen).unwrap_or_default();
        if chosen["backend"]["config"].to_string().contains(&stack.name) {
            return Ok(());
        }
        Err(NotDone::Unusable(format!(
            "the state of {} has no place of its own: the module in {} needs a `backend` block that takes the settings of stack.backend",
            stack.name,
            self.config.module.display()
        )))
    }
}

/// What it keeps of a stack: plugins, modules, where the state is.
fn data(stack: &Stack) -> std::path::PathBuf {
    stack.folder.join("data")
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn with(flag: &str, path: &Path) -> OsString {
    let mut word = OsString::from(flag);
    word.push(path);
    word
}

#[async_trait]
impl Engine for OpenTofu {
    fn name(&self) -> &'static str {
        "opentofu"
    }

    async fn plan(&self, stack: &Stack, purpose: Purpose, hears: &dyn Hears) -> Result<Planned, NotDone> {
        wait_for_who_was_left_behind(&stack.folder).await;
        self.init(stack).await?;
        let variables = stack.folder.join("variables.tfvars.json");
        write(&variables, &Value::from(stack.variables.clone()))?;
        let mut arguments = words(&["plan", "-input=false", "-json", "-detailed-exitcode"]);
        arguments.push(self.lock_timeout());
        arguments.push(with("-out=", &stack.folder.join("plan")));
        arguments.push(with("-var-file=", &variables));
        if purpose == Purpose::Remove {
            arguments.push("-destroy".into());
        }
        let (ended, heard) = run(self.command(stack, arguments), Stdio::null(), stack, "plan", hears).await?;
        match ended.code {
            Some(code @ (0 | CHANGES)) => Ok(heard.planned(code == CHANGES)),
            _ => Err(heard.refused(&ended)),
        }
    }

    async fn apply(&self, stack: &Stack, hears: &dyn Hears) -> Result<Map<String, Value>, NotDone> {
        let mut arguments = words(&["apply", "-input=false", "-json"]);
        arguments.push(self.lock_timeout());
        arguments.push(stack.folder.join("plan").into());
        let (ended, heard) = run(self.command(stack, arguments), Stdio::null(), stack, "apply", hears).await?;
        match ended.code {
            Some(0) => Ok(heard.outputs.unwrap_or_default()),
            _ => Err(heard.refused(&ended)),
        }
    }

    async fn outputs(&self, stack: &Stack) -> Result<Map<String, Value>, NotDone> {
        let arguments = words(&["output", "-json"]);
        let (ended, heard) = run(self.command(stack, arguments), Stdio::null(), stack, "output", &Deaf).await?;
        if ended.code != Some(0) {
            return Err(heard.refused(&ended));
        }
        // This one is a document and no line. What is wrong with the program's own settings is said before it.
        let path = lines_of(&stack.folder, "output");
        let text = fs::read_to_string(&path).map_err(NotDone::folder(&path))?;
        let document = text.find("\n{").filter(|_| !text.starts_with('{')).map_or(text.as_str(), |at| &text[at + 1..]);
        let told = serde_json::from_str(document);
        told.map(events::values).map_err(|error| NotDone::Unusable(format!("the outputs are not understood: {error}")))
    }
}
