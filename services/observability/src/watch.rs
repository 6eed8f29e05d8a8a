//! The watch on released revisions: ask the ingress replicas, compare windows with the objectives, write what changed.
//!
//! One loop for all deployments, so that a thousand of them cost one scrape, not a thousand. Every replica watches; the log takes
//! the first answer and the others adopt it.

use crate::{
    config::{Config, WatchConfig},
    domain::{Course, Judgement, Thresholds, counts, judge, shown},
    files::{Files, Kind},
    render,
    scrape::{Scraper, Told},
    telemetry::ObservabilityMetrics,
};
use slipway_bus::{Bus, BusError, Draft, Folded, View, Watched, WorkerRecord};
use slipway_kernel::{
    Answer, AnswerCounts, Degraded, Deployment, DeploymentId, FactKey, Recovered, RevisionId, Slot, spec::Slo,
};
use slipway_runtime::CancellationToken;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};
use tokio::sync::Mutex;

type History = BTreeMap<(DeploymentId, RevisionId), Course>;

/// Watches objectives.
pub(crate) struct Watch {
    bus: Bus,
    view: View,
    scraper: Arc<Scraper>,
    metrics: ObservabilityMetrics,
    settings: WatchConfig,
    started: Instant,
    history: Mutex<History>,
    workers: Watched<Vec<WorkerRecord>>,
    files: Files,
}

impl Watch {
    pub(crate) async fn new(
        config: &Config,
        bus: Bus,
        scraper: Arc<Scraper>,
        metrics: ObservabilityMetrics,
    ) -> Result<Self, BusError> {
        Ok(Self {
            view: bus.log().follow().await?,
            workers: bus.workers().follow().await?,
            files: Files::new(config.common.data_dir.join("observability")),
            bus,
            scraper,
            metrics,
            settings: config.watch,
            started: Instant::now(),
            history: Mutex::default(),
        })
    }

    /// Until shutdown.
    pub(crate) async fn run(&self, shutdown: &CancellationToken) -> Result<(), BusError> {
        let mut ticks = tokio::time::interval(self.settings.interval.0);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut workers = self.workers.clone();
        self.make_missing_files(&workers.get());
        loop {
            tokio::select! {
                _ = ticks.tick() => self.look().await,
                live = workers.changed() => if live { self.list_targets(&workers.get()) } else { return Ok(()) },
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }

    /// The folder may be another than the one in which deployments were made visible: a pod that is replaced begins with an empty one.
    fn make_missing_files(&self, workers: &[WorkerRecord]) {
        for folded in self.view.ids().into_iter().filter_map(|id| self.view.get(&id)) {
            let id = &folded.deployment.id;
            let is_whole = Kind::ALL.into_iter().all(|kind| self.files.path(kind, id).exists());
            if let Some(slo) = shown(&folded.deployment).filter(|_| !is_whole)
                && let Err(error) = self.files.generate(id, &slo, workers)
            {
                tracing::warn!(%error, deployment = %id, "files that were lost could not be made again");
            }
        }
    }

    /// Workers come and go; the lists of targets follow them.
    fn list_targets(&self, workers: &[WorkerRecord]) {
        for id in self.view.ids() {
            if !self.files.path(Kind::Targets, &id).exists() {
                continue;
            }
            if let Err(error) = self.files.write(Kind::Targets, &id, &render::targets(&id, workers)) {
                tracing::warn!(%error, deployment = %id, "the list of scrape targets could not be written");
            }
        }
    }

    async fn look(&self) {
        let watched: Vec<(Arc<Folded>, RevisionId)> = self
            .view
            .ids()
            .into_iter()
            .filter_map(|id| self.view.get(&id))
            .filter_map(|folded| folded.deployment.serving().map(|revision| (Arc::clone(&folded), revision)))
            .collect();
        let mut history = self.history.lock().await;
        let served: BTreeSet<_> = watched.iter().map(|(f, revision)| (&f.deployment.id, *revision)).collect();
        history.retain(|(id, revision), _| served.contains(&(id, *revision)));
        if watched.is_empty() {
            self.metrics.watching(0, 0);
            return;
        }
        let told = match self.scraper.ingress().await {
            Ok(told) => told,
            Err(error) => {
                tracing::debug!(%error, "ingress cannot be asked");
                return;
            }
        };
        let (now, mut degraded) = (self.started.elapsed(), 0);
        for (folded, revision) in &watched {
            let deployment = &folded.deployment;
            let entry = history.entry((deployment.id.clone(), *revision)).or_default();
            let counted = |told: &Told| (told.replica.clone(), counts(&told.samples, &deployment.id, *revision));
            entry.look(now, self.settings.long.0, told.iter().map(counted));
            degraded += usize::from(is_degraded(deployment, *revision));
            if let Some((short, long)) = entry.windows(self.settings.short.0) {
                self.conclude(deployment, *revision, &short, &long).await;
            }
        }
        self.metrics.watching(watched.len(), degraded);
    }

    async fn conclude(&self, deployment: &Deployment, revision: RevisionId, short: &AnswerCounts, long: &AnswerCounts) {
        let Some(slo) = objectives(deployment, revision) else { return };
        let thresholds =
            Thresholds { min_requests: u64::from(self.settings.min_requests), burn_rate: self.settings.burn_rate };
        let degraded = is_degraded(deployment, revision);
        let answer = match judge(&slo, short, long, thresholds) {
            Judgement::Missed(findings) if !degraded => Answer::Degraded(Degraded { findings }),
            Judgement::Kept(measurements) if degraded => Answer::Recovered(Recovered { measurements }),
            _ => return,
        };
        let Some(state) = deployment.revision(revision).filter(|state| state.is_released()) else { return };
        let key = FactKey::new(deployment.id.clone(), revision, Slot::Degradation)
            .at(state.attempts(Slot::Degradation).next());
        let Some(release) = state.fact(Slot::Release) else { return };
        let draft = Draft::new(answer, "observability", release.correlation.clone()).caused_by(&release.key).traced();
        match self.bus.log().append(&key, draft).await {
            Ok(written) => tracing::warn!(fact = %key, answer = written.fact().answer.name(), "objectives"),
            Err(error) => {
                tracing::warn!(%error, fact = %key, "a change of the objectives could not be written; tried again");
            }
        }
    }
}

fn objectives(deployment: &Deployment, revision: RevisionId) -> Option<Slo> {
    deployment.generations.get(&revision.generation).map(|state| state.spec().slo)
}

fn is_degraded(deployment: &Deployment, revision: RevisionId) -> bool {
    let answer = deployment.revision(revision).and_then(|state| state.answer(Slot::Degradation));
    matches!(answer, Some(Answer::Degraded(_)))
}
