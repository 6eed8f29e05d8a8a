//! Writing results: which of them may be written, into which outputs, and what becomes of those that cannot be.

use crate::{
    consume::{Consumer, Group, Target, acknowledge, told},
    domain::{Fence, Row},
    error::{SinkError, chain},
    outputs::Outputs,
};
use slipway_bus::{Folded, RecordedResult};
use slipway_kernel::{Deployment, DeploymentId, Generation, RevisionId, spec::Output};
use slipway_runtime::trace;
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tracing::Span;

/// How long a result of a revision that the own view does not know yet waits for it: the view is pushed to and this fast behind
/// at most under load.
const VIEW_LAG: Duration = Duration::from_secs(5);
/// How often it is said of held results that they are at work: three times within the broker's patience.
pub(crate) const BEAT: Duration = Duration::from_secs(8);

/// Outputs that are written together: those that take rows as they come, and then those that keep many in one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Rows,
    Objects,
}

impl Part {
    fn has(self, output: &Output) -> bool {
        output.layout().is_some() == (self == Self::Objects)
    }

    pub(crate) fn of(self, outputs: &[Output]) -> Vec<&Output> {
        outputs.iter().filter(|output| self.has(output)).collect()
    }
}

impl Consumer {
    /// Leaves out results of a revision that was taken back, for good. Asked again when they were held for objects: a captured one stays
    /// admitted, since its client had the answer before; a recorded one is the answer of its request only if it stands before the mark.
    pub(crate) async fn admit(&self, deployment: &Deployment, part: Part, group: Group) -> Group {
        let fence = Fence::of(deployment);
        let marks = match self.marks(&deployment.id, &fence, &group).await {
            Ok(marks) => marks,
            Err(error) => {
                self.give_back(&deployment.id, group, &error).await;
                return Group::new();
            }
        };
        let (admitted, refused): (Group, Group) = group.into_iter().partition(|(row, result)| {
            let held = part == Part::Objects && result.captured;
            held || !fence.refuses(row.revision) || stands(marks.get(&row.revision).copied().flatten(), result)
        });
        if !refused.is_empty() {
            tracing::info!(deployment = %deployment.id, rows = refused.len(), "results of a revision that was taken back are refused");
            self.metrics.refused("fenced", refused.len());
            acknowledge(refused).await;
        }
        admitted
    }

    /// Writes a group and returns what of it is to be acknowledged. What a sink refuses for a row's own sake is halved until that row is
    /// alone: it is put aside, and does not keep its neighbours back. What could not be written is given back.
    pub(crate) async fn write(&self, deployment: &DeploymentId, target: Target, part: Part, group: Group) -> Group {
        let (mut waiting, mut written) = (vec![group], Group::new());
        while let Some(mut group) = waiting.pop() {
            // They end with the batch, when the rows are durable or given back.
            let spans: Vec<Span> = group.iter().filter_map(|(_, result)| span_of(result)).collect();
            let writing = self.write_at_once(deployment, target, part, &group);
            let ours: Vec<&Group> = waiting.iter().chain([&group, &written]).collect();
            let error = match alive(&ours, writing).await {
                Ok(()) => {
                    written.extend(group);
                    continue;
                }
                Err(error) => error,
            };
            for span in &spans {
                span.record("otel.status_code", "ERROR");
            }
            if error.is_the_rows() && group.len() > 1 {
                waiting.push(group.split_off(group.len() / 2));
                waiting.push(group);
            } else if error.is_the_rows() {
                for (_, result) in group {
                    self.bury(result, "unwritable", chain(&error)).await;
                }
            } else {
                self.give_back(deployment, group, &error).await;
            }
        }
        written
    }

    async fn give_back(&self, deployment: &DeploymentId, group: Group, error: &SinkError) {
        tracing::warn!(%deployment, error = error as &dyn std::error::Error, "results could not be written; they come again");
        self.metrics.write_failed(deployment);
        for (_, result) in group {
            told(result.give_back().await);
        }
    }

    async fn write_at_once(
        &self,
        deployment: &DeploymentId,
        target: Target,
        part: Part,
        group: &[(Row, RecordedResult)],
    ) -> Result<(), SinkError> {
        match target {
            Target::Probes => self.write_probes(group).await,
            Target::Outputs(generation) => self.write_outputs(deployment, generation, part, group).await,
        }
    }

    async fn write_probes(&self, group: &[(Row, RecordedResult)]) -> Result<(), SinkError> {
        let rows: Vec<&Row> = group.iter().map(|(row, _)| row).collect();
        self.outputs.probes().write(&rows).await.map(drop)
    }

    async fn write_outputs(
        &self,
        deployment: &DeploymentId,
        generation: Generation,
        part: Part,
        group: &[(Row, RecordedResult)],
    ) -> Result<(), SinkError> {
        let Some(folded) = self.known(deployment, generation).await else {
            // Purged while they were held.
            self.metrics.refused("unknown-deployment", group.len());
            return Ok(());
        };
        let rows: Vec<&Row> = group.iter().map(|(row, _)| row).collect();
        let outputs = Outputs::of(&folded.deployment, generation);
        for (sink, written) in self.outputs.write(&part.of(outputs), &rows).await? {
            self.metrics.wrote(deployment, &sink, written);
        }
        let fence = Fence::of(&folded.deployment);
        let suspect: BTreeSet<RevisionId> =
            rows.iter().map(|row| row.revision).filter(|revision| fence.refuses(*revision)).collect();
        for revision in suspect {
            self.outputs.mark_late(&folded.deployment, revision).await?;
        }
        if let Some(oldest) = rows.iter().map(|row| row.completed_at).min() {
            self.metrics.lag(self.bus.clock().now().since(oldest));
        }
        Ok(())
    }

    /// Where the marks of the fenced revisions of a group stand among the results. One that is not there yet will stand behind all of the group.
    async fn marks(
        &self,
        deployment: &DeploymentId,
        fence: &Fence,
        group: &[(Row, RecordedResult)],
    ) -> Result<BTreeMap<RevisionId, Option<u64>>, SinkError> {
        let mut marks = BTreeMap::new();
        for (row, _) in group {
            if fence.refuses(row.revision) && !marks.contains_key(&row.revision) {
                marks.insert(row.revision, self.bus.results().fenced_at(deployment, row.revision).await?);
            }
        }
        Ok(marks)
    }

    pub(crate) async fn known(&self, deployment: &DeploymentId, generation: Generation) -> Option<Arc<Folded>> {
        let knows = |folded: &Folded| folded.deployment.generations.contains_key(&generation);
        self.outputs.view().wait_until(deployment, VIEW_LAG, knows).await
    }
}

/// Says of results that they are at work.
pub(crate) async fn beat(groups: &[&Group]) {
    for group in groups {
        for (_, result) in *group {
            told(result.working().await);
        }
    }
}

/// Works, and says of the results that they are at work for as long as it takes.
async fn alive<T>(groups: &[&Group], work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(BEAT) => beat(groups).await,
        }
    }
}

/// Whether a result of a revision that was taken back is the one of its request all the same: recorded before the fence, the request is
/// answered by it and by nobody else. The client of a captured one has had its answer long ago.
fn stands(mark: Option<u64>, result: &RecordedResult) -> bool {
    !result.captured && mark.is_none_or(|mark| result.sequence < mark)
}

/// The last span of a request's trace, if it is recorded: writing its row.
fn span_of(result: &RecordedResult) -> Option<Span> {
    let traceparent = result.traceparent.as_ref().filter(|traceparent| trace::is_recorded(traceparent))?;
    let span = tracing::info_span!(
        "write row",
        otel.kind = "consumer",
        otel.status_code = tracing::field::Empty,
        slipway.deployment = %result.deployment,
        slipway.request_id = result.request_id.as_ref().map(tracing::field::display),
    );
    trace::parent_from(&span, traceparent);
    Some(span)
}
