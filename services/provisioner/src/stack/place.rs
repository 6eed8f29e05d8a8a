//! The stacks of this installation: where each is worked on, by whose right, and what is told of it.

use super::{Engine, Hears, NotDone, Stack, StackConfig, engine, make};
use crate::{
    domain::stack::variables,
    local::{NotReady, Order, claim_file, io_finding, take_claim},
};
use serde_json::{Map, Value};
use slipway_kernel::{DeploymentId, Finding, FindingKind, Item, Proof, spec::Target};
use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};
use tokio::sync::Semaphore;

/// Programs that run at the same time: one of OpenTofu with the provider of a large cloud takes half a gigabyte.
const AT_ONCE: usize = 4;
/// How much of the outputs is told.
const OUTPUTS_TOLD: usize = 1_000;
/// Resources listed in an answer; a fact is small, and the rest is counted.
const LISTED: usize = 40;

/// The stacks of this installation.
#[derive(Debug)]
pub struct Stacks {
    config: StackConfig,
    engine: Box<dyn Engine>,
    cloud: Target,
    /// One folder for each stack; only this user may look into it, since plans hold secrets.
    folder: PathBuf,
    at_once: Semaphore,
}

impl Stacks {
    /// Those that `config` describes, worked on below `data_dir`; `None` if there is no cloud for them.
    #[must_use]
    pub fn new(config: &StackConfig, data_dir: &Path) -> Option<Self> {
        let cloud = config.cloud?.target();
        Some(Self {
            engine: engine(config),
            config: config.clone(),
            cloud,
            // The program works in the module's folder, where a relative path would lead elsewhere.
            folder: std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned()).join("stacks"),
            at_once: Semaphore::new(AT_ONCE),
        })
    }

    /// The cloud.
    #[must_use]
    pub const fn cloud(&self) -> Target {
        self.cloud
    }

    /// Makes what the deployment needs. Doing it twice is harmless.
    ///
    /// # Errors
    /// [`NotReady`].
    pub async fn make(
        &self,
        order: &Order,
        told: Map<String, Value>,
        hears: &dyn Hears,
    ) -> Result<Vec<Proof>, NotReady> {
        let (stack, _turn) = self.begin(order, told).await?;
        let doing = format!("making the stack {}", stack.name);
        let choices = &self.config.choices;
        let made = make::make(&*self.engine, &stack, choices, &self.config.guard(), hears).await;
        let made = made.map_err(|error| finding(&doing, error))?;
        let mut detail = format!("{} by {}: {} resources changed now", stack.name, self.engine.name(), made.changed);
        if !choices.is_empty() {
            detail.push_str(&format!(", choice {} of {}", made.choice + 1, choices.len()));
        }
        for (what, words) in [("others had changed", &made.drift), ("passed over", &made.passed_over)] {
            if !words.is_empty() {
                detail.push_str(&format!("; {what}: {}", words.join(" | ")));
            }
        }
        let outputs: String = Value::from(made.outputs).to_string().chars().take(OUTPUTS_TOLD).collect();
        let proof = |name: &str, detail| Proof { name: name.to_owned(), detail };
        Ok(vec![proof("stack", detail), proof("stack-outputs", outputs)])
    }

    /// Removes what was made for the deployment; where there is nothing, nothing is done.
    ///
    /// # Errors
    /// [`NotReady`].
    pub async fn remove(
        &self,
        order: &Order,
        told: Map<String, Value>,
        hears: &dyn Hears,
    ) -> Result<Vec<Item>, NotReady> {
        let (stack, _turn) = self.begin(order, told).await?;
        let doing = format!("removing the stack {}", stack.name);
        let removed = make::remove(&*self.engine, &stack, &self.config.choices, &self.config.guard(), hears).await;
        let removed = removed.map_err(|error| finding(&doing, error))?;
        // The claim goes last: until then it keeps an overtaken holder out.
        let claim = self.folder.join(claim_file(&order.deployment));
        fs::remove_dir_all(&stack.folder)
            .and_then(|()| fs::remove_file(&claim))
            .map_err(|error| NotReady::Findings(vec![io_finding("cannot remove", &stack.folder, &error)]))?;
        let item = |name: &str, value: &str| Item { name: name.to_owned(), value: value.to_owned() };
        let mut items: Vec<Item> = removed.iter().take(LISTED).map(|address| item("resource", address)).collect();
        if removed.len() > LISTED {
            items.push(item("more", &format!("{} more", removed.len() - LISTED)));
        }
        Ok(items)
    }

    /// What would have to be done for the deployment's stack to be again what it was made; empty: nothing.
    ///
    /// # Errors
    /// [`NotReady`].
    pub async fn drifted(&self, order: &Order, told: Map<String, Value>) -> Result<Vec<String>, NotReady> {
        let (stack, _turn) = self.begin(order, told).await?;
        let doing = format!("looking at the stack {}", stack.name);
        make::drifted(&*self.engine, &stack, &self.config.choices, &super::run::Deaf)
            .await
            .map_err(|error| finding(&doing, error))
    }

    fn folder_of(&self, deployment: &DeploymentId) -> PathBuf {
        self.folder.join(variables::name(deployment))
    }

    /// The stack, by the right of the lease's holder, when it is its turn.
    async fn begin(
        &self,
        order: &Order,
        told: Map<String, Value>,
    ) -> Result<(Stack, tokio::sync::SemaphorePermit<'_>), NotReady> {
        let folder = self.folder_of(&order.deployment);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| NotReady::Findings(vec![io_finding("cannot make the folder", &folder, &error)]))?;
        take_claim(&self.folder, order)?;
        let turn = self.at_once.acquire().await.map_err(|error| {
            NotReady::Findings(vec![Finding::transient(FindingKind::DependencyUnavailable, error.to_string())])
        })?;
        // What the operator says holds for all; what is told of the deployment stands over it.
        let mut variables = self.config.variables.clone();
        variables.extend(told);
        Ok((Stack { name: variables::name(&order.deployment), folder, variables }, turn))
    }
}

fn finding(doing: &str, error: NotDone) -> NotReady {
    let finding = match error {
        NotDone::Refused(refused) => refused.finding(doing),
        NotDone::Guarded(words) => {
            let words = words.join("; ");
            let message = format!(
                "{doing} was planned, and the guard lets it not, so nothing was done: {words}; change the document, or what stack.may_remove, stack.most_changes and stack.kinds allow"
            );
            Finding::deterministic(FindingKind::PolicyViolation, message)
        }
        NotDone::Unusable(words) => {
            Finding::deterministic(FindingKind::Misconfigured, format!("{doing}: {words}")).with_evidence("stack")
        }
        NotDone::Folder { path, source } => io_finding(doing, &path, &source),
    };
    NotReady::Findings(vec![finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::stack::{Event, Refused, Why},
        local::tests::order,
        stack::{Cloud, EngineKind},
    };
    use slipway_kernel::Cause;

    struct Nobody;

    impl Hears for Nobody {
        fn hear(&self, _: &Event) {}
    }

    fn stacks(data_dir: &Path, script: &str) -> Stacks {
        let config = StackConfig {
            cloud: Some(Cloud::Gcp),
            engine: EngineKind::Command,
            program: vec!["/bin/sh".into(), "-c".into(), script.into()],
            ..StackConfig::default()
        };
        Stacks::new(&config, data_dir).unwrap()
    }

    #[tokio::test]
    async fn a_holder_that_was_overtaken_starts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let stacks = stacks(folder.path(), "echo started >>../../started");
        stacks.make(&order(7), Map::new(), &Nobody).await.unwrap();
        let started = fs::read_to_string(folder.path().join("started")).unwrap();
        let late = stacks.make(&order(6), Map::new(), &Nobody).await;
        assert!(matches!(late, Err(NotReady::Overtaken(_))), "{late:?}");
        let late = stacks.remove(&order(6), Map::new(), &Nobody).await;
        assert!(matches!(late, Err(NotReady::Overtaken(_))), "{late:?}");
        assert_eq!(fs::read_to_string(folder.path().join("started")).unwrap(), started);
    }

    #[tokio::test]
    async fn what_was_made_for_a_deployment_is_told_over_what_holds_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut stacks = stacks(folder.path(), "true");
        let table = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap();
        stacks.config.variables = table(r#"{"cluster":"slipway","name":"mine"}"#);
        stacks.make(&order(1), table(r#"{"name":"digits"}"#), &Nobody).await.unwrap();
        let name = variables::name(&order(1).deployment);
        let document = fs::read(folder.path().join("stacks").join(name).join("document.json")).unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(document["variables"], serde_json::json!({ "cluster": "slipway", "name": "digits" }));
    }

    #[test]
    fn each_failure_says_who_is_to_mend_it() {
        let of = |error| match finding("making the stack x", error) {
            NotReady::Findings(findings) => (findings[0].kind, findings[0].cause, findings[0].message.clone()),
            NotReady::Overtaken(_) => panic!("nobody was"),
        };
        let (kind, cause, message) = of(NotDone::Guarded(vec!["a.b would be removed".into()]));
        assert_eq!((kind, cause), (FindingKind::PolicyViolation, Cause::Deterministic));
        assert!(message.contains("nothing was done: a.b would be removed"), "{message}");
        let (kind, cause, _) = of(NotDone::Unusable("no such program".into()));
        assert_eq!((kind, cause), (FindingKind::Misconfigured, Cause::Deterministic));
        let (kind, cause, message) =
            of(NotDone::Refused(Refused { why: Why::Capacity, said: vec!["none left".into()] }));
        assert_eq!((kind, cause), (FindingKind::Unschedulable, Cause::Transient));
        assert!(message.contains("none left"), "{message}");
    }
}
