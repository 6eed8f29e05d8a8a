//! The log as a user reads it.

use slipway::logline::LogLine;
use slipway_kernel::{Answer, Deployment, Fact, RevisionId, fold};
use slipway_testkit::DataFolder;
use std::sync::Arc;

/// The facts of a deployment, in the order they were written.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) lines: Vec<LogLine>,
    pub(crate) facts: Vec<Arc<Fact>>,
    pub(crate) deployment: Deployment,
}

impl Facts {
    /// Reads them with `slipway log NAME --output json`, and folds them from that text alone.
    pub(crate) async fn read(folder: &DataFolder, name: &str) -> Self {
        let ran = folder.cli(["log", name, "--output", "json"]).await.ok();
        let lines: Vec<LogLine> =
            ran.json_lines().into_iter().map(|line| serde_json::from_value(line).unwrap()).collect();
        let facts: Vec<Arc<Fact>> = lines.iter().map(|line| Arc::new(line.fact().unwrap())).collect();
        let deployment = fold(&crate::id(name), facts.clone());
        assert_eq!(deployment.set_aside, [], "no fact is set aside");
        Self { lines, facts, deployment }
    }

    /// The answers given, by name and revision: `1-1 released`.
    pub(crate) fn told(&self) -> Vec<String> {
        self.facts.iter().map(|fact| format!("{} {}", fact.key.revision_id(), fact.answer.name())).collect()
    }

    /// Whether such an answer was given.
    pub(crate) fn has(&self, revision: RevisionId, answer: &str) -> bool {
        self.told().contains(&format!("{revision} {answer}"))
    }

    /// The first answer of this name at a revision.
    pub(crate) fn answer(&self, revision: RevisionId, name: &str) -> &Answer {
        let found = self.facts.iter().find(|fact| fact.key.revision_id() == revision && fact.answer.name() == name);
        &found.unwrap_or_else(|| panic!("no `{name}` at {revision}: {:?}", self.told())).answer
    }

    /// No question has two answers, and each fact names what it answers.
    pub(crate) fn hold_together(&self) {
        let mut keys: Vec<String> = self.facts.iter().map(|fact| fact.key.to_string()).collect();
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all, "a question has two answers");
        for fact in &self.facts {
            assert!(fact.answer.answers(fact.key.slot), "{} is answered by `{}`", fact.key, fact.answer.name());
        }
    }
}

/// Waits until the deployment's state, as the operator's view has it, satisfies `holds`.
pub(crate) async fn wait_until(
    bus: &slipway_bus::Bus,
    name: &str,
    seconds: u64,
    mut holds: impl FnMut(&Deployment) -> bool + Send,
) -> Arc<slipway_bus::Folded> {
    let view = bus.log().follow().await.unwrap();
    let id = crate::id(name);
    let found = view.wait_until(&id, std::time::Duration::from_secs(seconds), |folded| holds(&folded.deployment)).await;
    found.unwrap_or_else(|| {
        let told: Vec<String> = view
            .facts(&id)
            .iter()
            .map(|fact| format!("{} {} {:?}", fact.key, fact.answer.name(), fact.answer.findings()))
            .collect();
        panic!("not within {seconds} s; the log:\n  {}", told.join("\n  "))
    })
}
