//! Says of which revisions the workers are not as they should be, where whoever asks for the state of a deployment finds it. The log tells what
//! was decided; a node that is lost an hour after a release decides nothing.

use crate::target::{Group, Status, Target};
use slipway_bus::{Bus, WorkerTrouble};
use slipway_runtime::Frame;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How often it is looked at and said again; what is over sooner is not worth a word.
const LOOK: Duration = Duration::from_secs(5);

/// Says it until shutdown. Only the replica that keeps the workers knows.
pub(crate) async fn run(bus: Bus, target: Arc<dyn Target>, frame: Frame) {
    let mut said: BTreeMap<Group, WorkerTrouble> = BTreeMap::new();
    loop {
        tokio::select! {
            () = frame.shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let now: BTreeMap<Group, WorkerTrouble> = target
            .groups()
            .into_iter()
            .filter_map(|group| Some((group.clone(), trouble(&group, target.status(&group))?)))
            .collect();
        for (group, trouble) in &now {
            if said.get(group) != Some(trouble) {
                let WorkerTrouble { deployment, revision, detail } = trouble;
                tracing::info!(%deployment, %revision, detail, "workers are not as they should be");
            }
            if let Err(error) = bus.troubles().say(trouble).await {
                tracing::warn!(%error, "what is wrong with workers could not be said");
            }
        }
        for (group, trouble) in &said {
            // Another try of the same revision writes to the same entry, and so does the replica that keeps the workers now.
            let is_said = now.keys().any(|other| same_entry(other, group));
            if is_said || target.status(group) == Status::Elsewhere {
                continue;
            }
            if let Err(error) = bus.troubles().over(trouble).await {
                tracing::debug!(%error, "what was wrong with workers is left to expire");
            }
        }
        said = now;
    }
}

fn same_entry(one: &Group, other: &Group) -> bool {
    (&one.deployment, one.revision) == (&other.deployment, other.revision)
}

/// What is wrong with the workers of a revision, if anything is.
fn trouble(group: &Group, status: Status) -> Option<WorkerTrouble> {
    let detail = match status {
        Status::Elsewhere | Status::Gone => return None,
        Status::Running(running) => running.trouble?,
        Status::Starting { ready, of, detail } => format!("{ready} of {of} workers are ready; {detail}"),
        Status::Failed(findings) => {
            let messages: Vec<String> = findings.into_iter().map(|finding| finding.message).collect();
            format!("no worker is ready: {}", messages.join("; "))
        }
    };
    Some(WorkerTrouble { deployment: group.deployment.clone(), revision: group.revision, detail })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Running;
    use slipway_kernel::{Finding, FindingKind, RevisionId};

    #[test]
    fn who_is_well_or_elsewhere_is_not_spoken_of() {
        let group =
            Group { deployment: "default.digits".parse().unwrap(), revision: RevisionId::new(1, 1), attempt: 0 };
        let said = |status| trouble(&group, status).map(|trouble| trouble.detail);
        assert_eq!(said(Status::Elsewhere), None);
        assert_eq!(said(Status::Gone), None);
        assert_eq!(said(Status::Running(Running::default())), None);
        let lost = Running { trouble: Some("the node `a` does not answer".into()), ..Running::default() };
        assert_eq!(said(Status::Running(lost)).unwrap(), "the node `a` does not answer");
        let starting = Status::Starting { ready: 1, of: 2, detail: "1 pod(s) are there".into() };
        assert_eq!(said(starting).unwrap(), "1 of 2 workers are ready; 1 pod(s) are there");
        let failed = Status::Failed(vec![Finding::transient(FindingKind::Crashed, "it fell")]);
        assert_eq!(said(failed).unwrap(), "no worker is ready: it fell");
    }
}
