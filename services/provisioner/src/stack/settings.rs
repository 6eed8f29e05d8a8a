//! How stacks are made.

use crate::domain::stack::Guard;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use slipway_kernel::{Refusal, Span, spec::Target};
use std::path::PathBuf;

/// The program that makes, in the cloud where the cluster is, what each deployment needs there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StackConfig {
    /// The cloud; unset: none has an executor. One, because there is one cluster.
    pub cloud: Option<Cloud>,
    /// Which program.
    pub engine: EngineKind,
    /// The program and its first arguments.
    pub program: Vec<String>,
    /// The folder of the root module, or whatever an own program takes for one.
    pub module: PathBuf,
    /// Variables of the module that hold for every stack.
    pub variables: Map<String, Value>,
    /// Settings of the state, `key=value`; `{stack}` is the stack's name.
    pub backend: Vec<String>,
    /// Variables over the others, one table after the other: the next is taken where one is refused for lack of quota or capacity.
    pub choices: Vec<Map<String, Value>>,
    /// Whether a plan may remove or replace what is there while a stack is made.
    pub may_remove: bool,
    /// Most resources that one plan may change.
    pub most_changes: usize,
    /// Types of resources that may be changed, `*` for any rest; empty: all.
    pub kinds: Vec<String>,
    /// How long somebody else's lock of the state is waited for. 1m: an apply of a node pool that is nearly done.
    pub lock_timeout: Span,
    /// How long nodes are waited for after their pool is there. 5m: a machine with a large image.
    pub nodes_timeout: Span,
    /// How often it is looked whether a stack is still what it was made; `0s`: never.
    pub drift_every: Span,
}

/// A cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cloud {
    /// Amazon.
    Aws,
    /// Microsoft.
    Azure,
    /// Google.
    Gcp,
}

impl Cloud {
    /// It as a target.
    #[must_use]
    pub const fn target(self) -> Target {
        match self {
            Self::Aws => Target::Aws,
            Self::Azure => Target::Azure,
            Self::Gcp => Target::Gcp,
        }
    }
}

/// Which program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// OpenTofu, or Terraform.
    #[default]
    Opentofu,
    /// A program of one's own that says the same lines.
    Command,
}

impl Default for StackConfig {
    fn default() -> Self {
        let Guard { may_remove, most_changes, kinds } = Guard::default();
        Self {
            cloud: None,
            engine: EngineKind::Opentofu,
            program: vec!["tofu".to_owned()],
            module: PathBuf::new(),
            variables: Map::new(),
            backend: Vec::new(),
            choices: Vec::new(),
            may_remove,
            most_changes,
            kinds,
            lock_timeout: Span::seconds(60),
            nodes_timeout: Span::seconds(300),
            drift_every: Span::seconds(3_600),
        }
    }
}

impl StackConfig {
    /// The program and its first arguments.
    pub(super) fn command(&self) -> (&str, &[String]) {
        self.program.split_first().map_or(("tofu", &[]), |(program, first)| (program.as_str(), first))
    }

    /// What a plan may do.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard { may_remove: self.may_remove, most_changes: self.most_changes, kinds: self.kinds.clone() }
    }

    /// Holds it to what can be true.
    pub(crate) fn check(&self, has_cluster: bool) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let Some(cloud) = self.cloud else { return refusals };
        let mut require = |key: &str, value: String, is_good: bool, allowed: &str| {
            if !is_good {
                refusals.push(Refusal::new(format!("stack.{key}"), value, allowed));
            }
        };
        let name = crate::domain::surroundings::name(cloud.target());
        require(
            "cloud",
            name.to_owned(),
            has_cluster,
            "a cloud with kubernetes.enabled: its workers run in the cluster there",
        );
        let program = self.program.first().is_some_and(|program| !program.is_empty());
        require("program", format!("{:?}", self.program), program, "a program and its arguments");
        require("module", self.module.display().to_string(), self.module.is_absolute(), "an absolute path");
        let settings = self.backend.join(", ");
        let are_settings = self.backend.iter().all(|setting| setting.contains('='));
        require("backend", settings.clone(), are_settings, "settings of the form key=value");
        let is_own = self.engine == EngineKind::Command || settings.contains("{stack}");
        require("backend", settings, is_own, "one setting with {stack}: each stack has a state of its own");
        let changes = self.most_changes.to_string();
        require("most_changes", changes, (1..=10_000).contains(&self.most_changes), "1 to 10000");
        for (key, span) in [("lock_timeout", self.lock_timeout), ("nodes_timeout", self.nodes_timeout)] {
            require(key, span.to_string(), span <= Span::seconds(3_600), "up to 1h");
        }
        let drift = self.drift_every == Span::seconds(0) || self.drift_every >= Span::seconds(60);
        require("drift_every", self.drift_every.to_string(), drift, "0s, or 1m or more: each look is a plan");
        refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: &StackConfig, has_cluster: bool) -> Vec<String> {
        config.check(has_cluster).into_iter().map(|refusal| refusal.path).collect()
    }

    #[test]
    fn what_makes_no_sense_is_refused_where_there_is_a_cloud() {
        let mut config = StackConfig { cloud: Some(Cloud::Aws), ..StackConfig::default() };
        assert_eq!(refused(&config, false), ["stack.cloud", "stack.module", "stack.backend"]);
        (config.module, config.backend) = ("/modules/pool".into(), vec!["key={stack}.tfstate".into()]);
        assert!(refused(&config, true).is_empty());
        config.program = Vec::new();
        config.most_changes = 0;
        config.drift_every = Span::seconds(1);
        assert_eq!(refused(&config, true), ["stack.program", "stack.most_changes", "stack.drift_every"]);
        assert!(refused(&StackConfig { cloud: None, ..config }, false).is_empty());
    }

    #[test]
    fn a_state_that_all_stacks_would_share_is_refused_unless_the_program_keeps_them_apart() {
        let shared = StackConfig {
            cloud: Some(Cloud::Gcp),
            module: "/modules/pool".into(),
            backend: vec!["prefix=slipway".into()],
            ..StackConfig::default()
        };
        assert_eq!(refused(&shared, true), ["stack.backend"]);
        let own = StackConfig { engine: EngineKind::Command, backend: Vec::new(), ..shared };
        assert!(refused(&own, true).is_empty());
    }
}
