//! A folder with a stack, and who hears what is said of it.

use serde_json::{Map, Value, json};
use slipway_kernel::Span;
use slipway_provisioner::{
    domain::stack::Event,
    stack::{Cloud, Engine, Hears, Made, NotDone, Stack, StackConfig, drifted, engine, make, remove},
};
use slipway_testkit::eventually;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

/// How long a condition is waited for; the program says its progress each ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Hears everything.
#[derive(Default)]
pub struct Heard(Mutex<Vec<Event>>);

impl Hears for Heard {
    fn hear(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Heard {
    pub fn count(&self, holds: impl Fn(&Event) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|event| holds(event)).count()
    }

    pub async fn until(&self, holds: impl Fn(&Event) -> bool) {
        until(|| self.count(&holds) > 0).await;
    }

    pub fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }
}

/// Waits until it holds.
pub async fn until(holds: impl Fn() -> bool) {
    eventually(PATIENCE, || async { holds() }).await;
}

/// A stack in a folder of its own.
pub struct Workshop {
    pub folder: tempfile::TempDir,
    pub config: StackConfig,
    pub heard: Heard,
    pub variables: Value,
}

impl Workshop {
    pub fn new(config: StackConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("stack")).unwrap();
        let variables = json!({ "folder": folder.path() });
        let config = StackConfig { cloud: Some(Cloud::Aws), lock_timeout: Span::seconds(0), ..config };
        Self { folder, config, heard: Heard::default(), variables }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets pools be made.
    pub fn open(self) -> Self {
        self.open_now();
        self
    }

    pub fn open_now(&self) {
        fs::write(self.path("open"), "").unwrap();
    }

    /// The machines of the pools that were begun, in order; `two` where one was begun beside another.
    pub fn journal(&self) -> Vec<String> {
        lines(&self.path("journal"))
    }

    pub fn stack(&self) -> Stack {
        let mut variables: Map<String, Value> = self.variables.as_object().unwrap().clone();
        variables.insert("name".into(), "digits-0a1b2c3d".into());
        Stack { name: "digits-0a1b2c3d".into(), folder: self.path("stack"), variables }
    }

    pub fn engine(&self) -> Box<dyn Engine> {
        engine(&self.config)
    }

    pub async fn make(&self) -> Result<Made, NotDone> {
        make(&*self.engine(), &self.stack(), &self.config.choices, &self.config.guard(), &self.heard).await
    }

    pub async fn remove(&self) -> Result<Vec<String>, NotDone> {
        remove(&*self.engine(), &self.stack(), &self.config.choices, &self.config.guard(), &self.heard).await
    }

    pub async fn drifted(&self) -> Vec<String> {
        drifted(&*self.engine(), &self.stack(), &self.config.choices, &self.heard).await.unwrap()
    }

    /// The process that works on the stack.
    pub fn pid(&self) -> i32 {
        let record: Value = serde_json::from_slice(&fs::read(self.path("stack/running.json")).unwrap()).unwrap();
        i32::try_from(record["pid"].as_i64().unwrap()).unwrap()
    }
}

pub fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Variables of which the machine is this.
pub fn machine(name: &str) -> Map<String, Value> {
    Map::from_iter([("machine".to_owned(), json!(name))])
}

pub fn is_begun(event: &Event, of: &str) -> bool {
    matches!(event, Event::Begun { address, .. } if address == of)
}
