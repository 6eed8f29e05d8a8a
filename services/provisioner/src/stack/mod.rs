//! Infrastructure that a program makes for one deployment: a *stack*, of one module with its variables and its state.
//!
//! The state decides what there is, never what was done before: whoever comes, after whatever, plans again, and applies what that says. Nobody
//! applies beside another: in one folder by the process that is waited for, everywhere by the lock of the state.
//!
//! Whatever waits here may be dropped at any await: the program is then told to finish what it has begun, to begin nothing else, and to write
//! its state. It is not waited for; who comes next does that.

mod command;
mod make;
mod opentofu;
mod place;
mod process;
mod run;
mod settings;

pub use make::{Made, drifted, make, remove};
pub use place::Stacks;
pub use settings::{Cloud, EngineKind, StackConfig};

use crate::domain::stack::{Change, Event, Purpose, Refused};
use async_trait::async_trait;
use serde_json::{Map, Value};
use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Its name, of letters, digits and hyphens, at most 20: names of resources are made of it.
    pub name: String,
    /// Where it is worked on: variables, plans, what the program says. One at a time works there.
    pub folder: PathBuf,
    /// What the module is told.
    pub variables: Map<String, Value>,
}

/// A plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Planned {
    /// The resources that it would change.
    pub changes: Vec<Change>,
    /// What others changed since.
    pub drift: Vec<String>,
    /// Whether there is anything to apply; it may be outputs alone.
    pub is_needed: bool,
}

/// Who hears what happens meanwhile.
pub trait Hears: Send + Sync {
    /// A line.
    fn hear(&self, event: &Event);
}

/// Why it was not done.
#[derive(Debug)]
pub enum NotDone {
    /// The program, or the vendor behind it, refused.
    Refused(Refused),
    /// It would have done what it may not; nothing was.
    Guarded(Vec<String>),
    /// It could not even be asked, or was not understood: for a person.
    Unusable(String),
    /// The folder of the stack.
    Folder {
        /// What of it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl NotDone {
    fn folder(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Folder { path, source }
    }
}

/// A program that makes infrastructure.
#[async_trait]
pub trait Engine: Send + Sync + fmt::Debug {
    /// Its name, for people.
    fn name(&self) -> &'static str;

    /// Works out what would be changed, and keeps it for [`Self::apply`]. Waits first for one that an earlier holder left behind.
    async fn plan(&self, stack: &Stack, purpose: Purpose, hears: &dyn Hears) -> Result<Planned, NotDone>;

    /// Does what was planned last; gives the outputs.
    async fn apply(&self, stack: &Stack, hears: &dyn Hears) -> Result<Map<String, Value>, NotDone>;

    /// The outputs as the state has them.
    async fn outputs(&self, stack: &Stack) -> Result<Map<String, Value>, NotDone>;
}

/// The program that is configured.
#[must_use]
pub fn engine(config: &StackConfig) -> Box<dyn Engine> {
    match config.engine {
        EngineKind::Opentofu => Box::new(opentofu::OpenTofu::new(config.clone())),
        EngineKind::Command => Box::new(command::OwnProgram::new(config.clone())),
    }
}
