//! Which sinks a result goes to: those of the spec its revision was made from, opened once and kept.

use crate::{
    config::Objects,
    domain::{Fence, Row},
    error::SinkError,
    own::Own,
    sinks::{FilesSink, ObjectsSink, PostgresSink, Sink, Table},
};
use slipway_bus::{Change, View};
use slipway_kernel::{Deployment, DeploymentId, Generation, RevisionId, spec::Output};
use slipway_runtime::CancellationToken;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tokio::sync::Mutex;

type Opened = Arc<dyn Sink>;

/// The open sinks of all deployments.
pub(crate) struct Outputs {
    view: View,
    own: Own,
    objects: Objects,
    /// By what the spec says of the output: equal outputs of many generations share one connection.
    open: Mutex<HashMap<String, Opened>>,
    marked: Mutex<BTreeMap<DeploymentId, Vec<RevisionId>>>,
}

impl Outputs {
    pub(crate) fn new(own: Own, objects: Objects, view: View) -> Self {
        Self { view, own, objects, open: Mutex::new(HashMap::new()), marked: Mutex::new(BTreeMap::new()) }
    }

    /// Where validation traffic goes.
    pub(crate) fn probes(&self) -> &Arc<dyn Table> {
        self.own.probes()
    }

    pub(crate) const fn view(&self) -> &View {
        &self.view
    }

    /// The table of a deployment's results in the mesh's own database, if it has one.
    pub(crate) async fn embedded(&self, id: &DeploymentId) -> Result<Option<Arc<dyn Table>>, SinkError> {
        let Some(folded) = self.view.get(id) else { return Ok(None) };
        let table = folded.deployment.newest().and_then(|generation| {
            generation.spec().outputs.iter().find_map(|output| match output {
                Output::Sqlite(sqlite) => Some(sqlite.table.clone()),
                Output::Postgres(_) | Output::Files(_) | Output::S3(_) => None,
            })
        });
        match table {
            Some(table) => self.own.results(&table).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether rows of this output last as long as they must.
    ///
    /// # Errors
    /// When they would be gone with this process's place.
    pub(crate) fn lasting(&self, output: &Output) -> Result<(), SinkError> {
        self.own.lasting(output)
    }

    /// Opens one output; a secret is read anew each time it is not open yet.
    pub(crate) async fn sink(&self, output: &Output) -> Result<Opened, SinkError> {
        let key = serde_json::to_string(output).unwrap_or_default();
        let mut open = self.open.lock().await;
        if let Some(sink) = open.get(&key) {
            return Ok(Arc::clone(sink));
        }
        let sink: Opened = match output {
            Output::Sqlite(sqlite) => self.own.results(&sqlite.table).await?,
            Output::Postgres(postgres) => Arc::new(PostgresSink::new(&postgres.url, &postgres.table)?),
            Output::Files(files) => match output.layout() {
                Some(layout) => Arc::new(ObjectsSink::in_folder(&files.uri, layout, &self.objects)?),
                None => Arc::new(FilesSink::new(&files.uri)?),
            },
            Output::S3(s3) => Arc::new(ObjectsSink::in_bucket(s3, &self.objects)?),
        };
        open.insert(key, Arc::clone(&sink));
        Ok(sink)
    }

    /// Forgets an output, so that the next use opens it anew (a rotated secret, a restarted database).
    pub(crate) async fn forget(&self, output: &Output) {
        self.open.lock().await.remove(&serde_json::to_string(output).unwrap_or_default());
    }

    /// The outputs that rows of `generation` go to; none if the generation is unknown.
    pub(crate) fn of(deployment: &Deployment, generation: Generation) -> &[Output] {
        deployment.generations.get(&generation).map_or(&[], |state| &state.spec().outputs)
    }

    /// Writes rows of one deployment and generation into all of these outputs; done only when all have them.
    pub(crate) async fn write(&self, outputs: &[&Output], rows: &[&Row]) -> Result<Vec<(String, u64)>, SinkError> {
        let mut written = Vec::new();
        for output in outputs {
            let sink = self.sink(output).await?;
            match sink.write(rows).await {
                Ok(count) => written.push((sink.name().to_owned(), count)),
                Err(error) => {
                    if error.spoils_the_sink() {
                        self.forget(output).await;
                    }
                    return Err(error);
                }
            }
        }
        Ok(written)
    }

    /// Marks suspect rows whenever a revision is taken back, until shutdown.
    pub(crate) async fn follow_rollbacks(&self, shutdown: &CancellationToken) -> Result<(), SinkError> {
        let mut changes = self.view.changes();
        for id in self.view.ids() {
            self.mark(&id).await?;
        }
        loop {
            let change = tokio::select! {
                change = changes.next() => change,
                () = shutdown.cancelled() => return Ok(()),
            };
            match change {
                // What is taken back has no route.
                Change::Deployment { slot: Some(slot), .. } if !slot.moves_routes() => {}
                Change::Deployment { id, .. } => self.mark(&id).await?,
                Change::All => {
                    for id in self.view.ids() {
                        self.mark(&id).await?;
                    }
                }
            }
        }
    }

    async fn mark(&self, id: &DeploymentId) -> Result<(), SinkError> {
        match self.view.get(id) {
            Some(folded) => self.mark_suspects(&folded.deployment).await,
            None => Ok(()),
        }
    }

    /// Marks rows of a revision that were written after it was taken back.
    pub(crate) async fn mark_late(&self, deployment: &Deployment, revision: RevisionId) -> Result<(), SinkError> {
        for output in Self::of(deployment, revision.generation) {
            self.sink(output).await?.mark_suspect(&deployment.id, revision).await?;
        }
        Ok(())
    }

    /// Marks the rows of revisions that were taken back, once per process and revision; marking again changes nothing.
    async fn mark_suspects(&self, deployment: &Deployment) -> Result<(), SinkError> {
        let fence = Fence::of(deployment);
        let mut marked = self.marked.lock().await;
        let done = marked.entry(deployment.id.clone()).or_default();
        for revision in fence.suspects().filter(|revision| !done.contains(revision)).collect::<Vec<_>>() {
            for output in Self::of(deployment, revision.generation) {
                self.sink(output).await?.mark_suspect(&deployment.id, revision).await?;
            }
            done.push(revision);
        }
        Ok(())
    }
}
