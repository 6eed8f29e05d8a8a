//! The cluster as a person with `kubectl` and `helm` has it.

use serde_json::Value;
use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, sleep};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// A namespace of its own, which goes with the test.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    /// A new one, with what the API server makes for each.
    pub async fn new(labels: &[&str]) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let name = format!("t-{:x}", since.as_nanos());
        kubectl(&["create", "namespace", &name]).unwrap();
        for label in labels {
            kubectl(&["label", "namespace", &name, label]).unwrap();
        }
        let this = Self { name };
        this.until("its service account is there", || this.get("serviceaccount", "default").is_some()).await;
        this
    }

    /// `kubectl -n <namespace> …`; what it printed, or what it complained of.
    pub fn run(&self, arguments: &[&str]) -> Result<String, String> {
        kubectl(&[&["--namespace", &self.name], arguments].concat())
    }

    /// `helm -n <namespace> …`, from the workspace.
    pub fn helm(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("helm");
        command.args(["--namespace", &self.name]).args(arguments).current_dir(slipway_testkit::workspace());
        said(&mut command)
    }

    /// `kubectl -n <namespace> …` with something on its standard input.
    pub fn given(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        given(&[&["--namespace", &self.name], arguments].concat(), input)
    }

    /// Makes an object.
    pub fn apply(&self, object: &Value) {
        self.given(&["apply", "-f", "-"], &object.to_string()).unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    /// Has the API server judge an object, or a list, as if it were to be made; what it complained of.
    pub fn try_out(&self, object: &Value) -> Result<(), String> {
        let arguments = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
        self.given(&arguments, &object.to_string()).map(drop)
    }

    /// An object, if it is there.
    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.run(&["get", kind, name, "--output", "json"]).ok().map(|text| serde_json::from_str(&text).unwrap())
    }

    /// All objects of a kind that Slipway made.
    pub fn ours(&self, kind: &str) -> Vec<Value> {
        let text = self.run(&["get", kind, "--selector", "slipway.dev/installation", "--output", "json"]).unwrap();
        let list: Value = serde_json::from_str(&text).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// The way to the API server as a service account of this namespace has it.
    pub fn kubeconfig_of(&self, account: &str) -> tempfile::NamedTempFile {
        let ours = kubectl(&["config", "view", "--raw", "--minify", "--output", "json"]).unwrap();
        let mut ours: Value = serde_json::from_str(&ours).unwrap();
        ours["users"][0]["user"] =
            serde_json::json!({ "token": self.run(&["create", "token", account]).unwrap().trim() });
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(ours.to_string().as_bytes()).unwrap();
        file
    }

    /// Waits for a condition, a minute at most.
    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        until(what, Duration::from_secs(60), holds).await;
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Whatever is left in it goes too; nobody waits for that.
        let _ = kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

/// Waits for a condition.
pub async fn until(what: &str, at_most: Duration, holds: impl Fn() -> bool) {
    until_or(at_most, holds, || what.to_owned()).await;
}

/// The same, with what there is to say where it does not come to it.
pub async fn until_or(at_most: Duration, holds: impl Fn() -> bool, told: impl Fn() -> String) {
    let deadline = Instant::now() + at_most;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {at_most:?}: {}", told());
        sleep(LOOK).await;
    }
}

/// `kubectl …`; what it printed, or what it complained of.
pub fn kubectl(arguments: &[&str]) -> Result<String, String> {
    said(&mut command(arguments))
}

/// The same with something on its standard input.
pub fn given(arguments: &[&str], input: &str) -> Result<String, String> {
    let mut command = command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    text_of(&child.wait_with_output().unwrap())
}

fn command(arguments: &[&str]) -> Command {
    assert!(std::env::var_os("KUBECONFIG").is_some(), "there is no cluster: run `make test-kubernetes`");
    let mut command = Command::new("kubectl");
    command.args(arguments);
    command
}

/// What a program printed, or what it complained of.
fn said(command: &mut Command) -> Result<String, String> {
    text_of(&command.output().unwrap())
}

fn text_of(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
