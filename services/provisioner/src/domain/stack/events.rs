//! The lines of a program that makes infrastructure, in OpenTofu's [machine-readable form](https://opentofu.org/docs/internals/machine-readable-ui/).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// The longest line that is read: outputs of a large stack are a line of some hundred kilobytes.
pub const MAX_LINE: usize = 1 << 20;

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing.
    Noop,
    /// It is made.
    Create,
    /// It is looked up.
    Read,
    /// It is changed where it is.
    Update,
    /// It is removed and made anew, in whatever order.
    Replace,
    /// It is removed.
    Delete,
    /// It stays, and is no longer known.
    Remove,
    /// It was there, and becomes known.
    Import,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Noop => "left alone",
            Self::Read => "read",
            Self::Create => "made",
            Self::Update => "changed",
            Self::Replace => "replaced",
            Self::Delete => "removed",
            Self::Remove => "forgotten",
            Self::Import => "taken over",
        })
    }
}

/// A line that means something.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A resource is to be changed.
    Planned {
        /// Its address (`module.nodes.aws_eks_node_group.pool["gpu"]`).
        address: String,
        /// Its type (`aws_eks_node_group`).
        kind: String,
        /// How.
        action: Action,
        /// Whether it is replaced only because its making failed before: nothing rests on it.
        is_debris: bool,
    },
    /// A resource is not what it was left as.
    Drifted {
        /// Its address.
        address: String,
        /// What was done to it, by others.
        action: Action,
    },
    /// A change has begun.
    Begun {
        /// Of which resource.
        address: String,
        /// Which.
        action: Action,
    },
    /// A change is not done yet; said each ten seconds.
    Going {
        /// Of which resource.
        address: String,
        /// For so many seconds.
        seconds: f64,
    },
    /// A change is done.
    Done {
        /// Of which resource.
        address: String,
        /// Which.
        action: Action,
        /// After so many seconds.
        seconds: f64,
    },
    /// A change failed; a diagnostic says why.
    Failed {
        /// Of which resource.
        address: String,
        /// Which.
        action: Action,
        /// After so many seconds.
        seconds: f64,
    },
    /// How much was changed, or is to be.
    Summary(Summary),
    /// The outputs by name. Those that are secret have no value here.
    Outputs(Map<String, Value>),
    /// An error or a warning.
    Said(Diagnostic),
}

/// How many resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Are made.
    pub add: u32,
    /// Are changed.
    pub change: u32,
    /// Are removed.
    pub remove: u32,
    /// Whether they are to be, and are not yet.
    pub is_plan: bool,
}

/// What the program, or the vendor behind it, has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Diagnostic {
    /// `error` or `warning`.
    pub severity: String,
    /// In short.
    pub summary: String,
    /// At length, in the vendor's words.
    #[serde(default)]
    pub detail: String,
    /// The resource that it is about.
    #[serde(default)]
    pub address: Option<String>,
}

impl Diagnostic {
    /// Whether it ends what was to be done.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == "error"
    }

    /// All of it, the words as they came.
    #[must_use]
    pub fn said(&self) -> String {
        let address = self.address.as_ref().map(|address| format!("{address}: ")).unwrap_or_default();
        let detail = if self.detail.is_empty() { String::new() } else { format!(": {}", self.detail.trim()) };
        format!("{address}{}{detail}", self.summary)
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    change: Option<ChangeLine>,
    #[serde(default)]
    hook: Option<Hook>,
    #[serde(default)]
    changes: Option<Changes>,
    #[serde(default)]
    outputs: Option<Map<String, Value>>,
    #[serde(default)]
    diagnostic: Option<Diagnostic>,
}

#[derive(Deserialize)]
struct Changes {
    #[serde(default)]
    add: u32,
    #[serde(default)]
    change: u32,
    #[serde(default)]
    remove: u32,
    operation: String,
}

#[derive(Deserialize)]
struct ChangeLine {
    resource: Resource,
    action: Action,
    #[serde(default)]
    reason: String,
}

/// Why a resource is replaced whose making, or what was to be done after it, failed.
const TAINTED: &str = "tainted";

#[derive(Deserialize)]
struct Hook {
    resource: Resource,
    #[serde(default)]
    action: Option<Action>,
    #[serde(default)]
    elapsed_seconds: f64,
}

#[derive(Deserialize)]
struct Resource {
    addr: String,
    #[serde(default)]
    resource_type: String,
}

impl Event {
    /// Reads a line. `None` where it says nothing that matters here, or is none of that form: newer programs say more, and others print what they like.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let Line { kind, change, hook, changes, outputs, diagnostic } = serde_json::from_str(line).ok()?;
        let hook = || hook.map(|hook| (hook.resource.addr, hook.action.unwrap_or(Action::Noop), hook.elapsed_seconds));
        Some(match kind.as_str() {
            "planned_change" => {
                let change = change?;
                Self::Planned {
                    address: change.resource.addr,
                    kind: change.resource.resource_type,
                    action: change.action,
                    is_debris: change.reason == TAINTED,
                }
            }
            "resource_drift" => {
                let change = change?;
                Self::Drifted { address: change.resource.addr, action: change.action }
            }
            "apply_start" => hook().map(|(address, action, _)| Self::Begun { address, action })?,
            "apply_progress" => hook().map(|(address, _, seconds)| Self::Going { address, seconds })?,
            "apply_complete" => hook().map(|(address, action, seconds)| Self::Done { address, action, seconds })?,
            "apply_errored" => hook().map(|(address, action, seconds)| Self::Failed { address, action, seconds })?,
            "change_summary" => {
                let Changes { add, change, remove, operation } = changes?;
                Self::Summary(Summary { add, change, remove, is_plan: operation == "plan" })
            }
            "outputs" => Self::Outputs(values(outputs?)),
            "diagnostic" => Self::Said(diagnostic?),
            _ => return None,
        })
    }
}

/// The values of outputs by name, without those that are secret.
#[must_use]
pub fn values(told: Map<String, Value>) -> Map<String, Value> {
    told.into_iter().filter_map(|(name, told)| value(told).map(|value| (name, value))).collect()
}

/// The value of an output, unless it is secret: nothing of that is kept.
fn value(told: Value) -> Option<Value> {
    let Value::Object(mut told) = told else { return None };
    if told.get("sensitive").and_then(Value::as_bool).unwrap_or(false) {
        return None;
    }
    told.remove("value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As OpenTofu 1.12.6 says them.
    fn resource(name: &str) -> Value {
        json!({
            "addr": format!("terraform_data.{name}"), "module": "", "resource": format!("terraform_data.{name}"),
            "implied_provider": "terraform", "resource_type": "terraform_data", "resource_name": name, "resource_key": null,
        })
    }

    fn read(mut line: Value) -> Option<Event> {
        for (key, value) in [("@level", "info"), ("@message", "in words"), ("@module", "tofu.ui")] {
            line[key] = value.into();
        }
        Event::read(&line.to_string())
    }

    #[test]
    fn each_line_that_matters_is_an_event() {
        let address = "terraform_data.pool".to_owned();
        let action = Action::Create;
        for (line, expected) in [
            (
                json!({ "type": "planned_change", "change": { "resource": resource("pool"), "action": "create" } }),
                Event::Planned { address: address.clone(), kind: "terraform_data".into(), action, is_debris: false },
            ),
            (
                json!({ "type": "planned_change", "change": { "resource": resource("pool"), "action": "replace", "reason": "tainted" } }),
                Event::Planned {
                    address: address.clone(),
                    kind: "terraform_data".into(),
                    action: Action::Replace,
                    is_debris: true,
                },
            ),
            (
                json!({ "type": "resource_drift", "change": { "resource": resource("pool"), "action": "delete" } }),
                Event::Drifted { address: address.clone(), action: Action::Delete },
            ),
            (
                json!({ "type": "apply_start", "hook": { "resource": resource("pool"), "action": "create" } }),
                Event::Begun { address: address.clone(), action },
            ),
            (
                json!({ "type": "apply_progress", "hook": { "resource": resource("pool"), "action": "create", "elapsed_seconds": 10 } }),
                Event::Going { address: address.clone(), seconds: 10.0 },
            ),
            (
                json!({ "type": "apply_complete", "hook": { "resource": resource("pool"), "action": "create", "id_key": "id", "id_value": "x", "elapsed_seconds": 12 } }),
                Event::Done { address: address.clone(), action, seconds: 12.0 },
            ),
            (
                json!({ "type": "apply_errored", "hook": { "resource": resource("pool"), "action": "create", "elapsed_seconds": 3 } }),
                Event::Failed { address: address.clone(), action, seconds: 3.0 },
            ),
            (
                json!({ "type": "change_summary", "changes": { "add": 2, "change": 1, "import": 0, "remove": 0, "operation": "plan" } }),
                Event::Summary(Summary { add: 2, change: 1, remove: 0, is_plan: true }),
            ),
            (
                json!({ "type": "diagnostic", "diagnostic": { "severity": "error", "summary": "refused", "detail": "why", "address": "terraform_data.pool" } }),
                Event::Said(Diagnostic {
                    severity: "error".into(),
                    summary: "refused".into(),
                    detail: "why".into(),
                    address: Some(address),
                }),
            ),
        ] {
            assert_eq!(read(line.clone()), Some(expected), "{line}");
        }
    }

    #[test]
    fn secret_outputs_are_not_kept() {
        let line = json!({ "type": "outputs", "outputs": {
            "cluster": { "sensitive": false, "type": "string", "value": "digits" },
            "password": { "sensitive": true, "type": "string", "value": "hunter2" },
            "planned": { "sensitive": false, "action": "create" },
        } });
        let Some(Event::Outputs(outputs)) = read(line) else { panic!("outputs") };
        assert_eq!(Value::from(outputs), json!({ "cluster": "digits" }));
    }

    #[test]
    fn what_is_unknown_or_no_such_line_says_nothing() {
        for line in [
            "",
            "Error: in words",
            "{}",
            "[]",
            "{\"type\":7}",
            "{\"type\":\"apply_start\"}",
            "{\"type\":\"refresh_start\",\"hook\":{}}",
        ] {
            assert_eq!(Event::read(line), None, "{line}");
        }
        assert_eq!(read(json!({ "type": "version", "tofu": "1.12.6", "ui": "1.2" })), None);
        let strange = json!({ "type": "apply_start", "hook": { "resource": resource("pool"), "action": "levitate" } });
        assert_eq!(read(strange), None);
    }

    #[test]
    fn a_diagnostic_says_whom_it_is_about_and_the_vendors_words() {
        let diagnostic = Diagnostic {
            severity: "error".into(),
            summary: "creating pool".into(),
            detail: "VcpuLimitExceeded: 4 of 4\n".into(),
            address: Some("a.b".into()),
        };
        assert_eq!(diagnostic.said(), "a.b: creating pool: VcpuLimitExceeded: 4 of 4");
        assert!(diagnostic.is_error());
    }
}
