//! The watch on released revisions: ask the ingress replicas, compare windows with the objectives, write what changed.
//!
//! One loop for all deployments, so that a thousand of them cost one scrape, not a thousand. Every replica watches; the log takes
//! the first answer and the others adopt it.

use crate::{
    config::{Config, WatchConfig},
    domain::{Counts, Judgement, Sample, Thresholds, judge},
    files::{Files, Kind},
    render,
    scrape::Scraper,
    telemetry::ObservabilityMetrics,
};
use slipway_bus::{Bus, BusError, Draft, Folded, View, Watched, WorkerRecord};
use slipway_kernel::{Answer, Degraded, Deployment, DeploymentId, FactKey, Recovered, RevisionId, Slot, spec::Slo};
use slipway_runtime::CancellationToken;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};
use tokio::sync::Mutex;

type History = BTreeMap<(DeploymentId, RevisionId), VecDeque<(Instant, Counts)>>;

/// Watches objectives.
pub(crate) struct Watch {
    bus: Bus,
    view: View,
    scraper: Arc<Scraper>,
    metrics: ObservabilityMetrics,
    settings: WatchConfig,
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
            history: Mutex::default(),
        })
    }

    /// Until shutdown.
    pub(crate) async fn run(&self, shutdown: &CancellationToken) -> Result<(), BusError> {
        let mut ticks = tokio::time::interval(self.settings.interval.0);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut workers = self.workers.clone();
        loop {
            tokio::select! {
                _ = ticks.tick() => self.look().await,
                live = workers.changed() => if live { self.list_targets(&workers.get()) } else { return Ok(()) },
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }

    /// Workers come and go; the lists of targets follow them.
    fn list_targets(&self, workers: &[WorkerRecord]) {
        for id in self.view.ids() {
            if !self.files.path(Kind::Targets, &id).exists() {
                continue;
            }
            let own = workers.iter().filter(|worker| worker.deployment == id);
            let listed: Vec<_> = own.map(|w| (w.admin.clone(), w.revision.to_string(), w.instance.clone())).collect();
            if let Err(error) = self.files.write(Kind::Targets, &id, &render::targets(&id, &listed)) {
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
        let samples = match self.scraper.ingress().await {
            Ok(samples) => samples,
            Err(error) => {
                tracing::debug!(%error, "ingress cannot be asked");
                return;
            }
        };
        let mut degraded = 0;
        for (folded, revision) in &watched {
            let deployment = &folded.deployment;
            let entry = history.entry((deployment.id.clone(), *revision)).or_default();
            self.remember(entry, counts(&samples, &deployment.id, *revision));
            degraded += usize::from(is_degraded(deployment, *revision));
            if let Some((short, long)) = self.windows(entry) {
                self.conclude(deployment, *revision, &short, &long).await;
            }
        }
        self.metrics.watching(watched.len(), degraded);
    }

    fn remember(&self, entry: &mut VecDeque<(Instant, Counts)>, counts: Counts) {
        entry.push_back((Instant::now(), counts));
        // One older than the long window is kept: the window begins at it.
        while entry.len() > 2 && entry[1].0.elapsed() >= self.settings.long.0 {
            entry.pop_front();
        }
    }

    /// The short and the long window. A revision younger than the long one is judged by what there is, once the short one is full.
    fn windows(&self, entry: &VecDeque<(Instant, Counts)>) -> Option<(Counts, Counts)> {
        let (_, now) = entry.back()?;
        let before = entry.iter().rev().find(|(at, _)| at.elapsed() >= self.settings.short.0)?;
        Some((now.since(&before.1), now.since(&entry.front()?.1)))
    }

    async fn conclude(&self, deployment: &Deployment, revision: RevisionId, short: &Counts, long: &Counts) {
        let Some(slo) = objectives(deployment, revision) else { return };
        let thresholds =
            Thresholds { min_requests: f64::from(self.settings.min_requests), burn_rate: self.settings.burn_rate };
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

/// What clients saw of a revision, over all replicas.
fn counts(samples: &[Sample], id: &DeploymentId, revision: RevisionId) -> Counts {
    let text = revision.to_string();
    let labels = [
        ("namespace", id.namespace.as_str()),
        ("deployment", id.name.as_str()),
        ("revision", text.as_str()),
        ("probe", "false"),
    ];
    let own = |name: &'static str| samples.iter().filter(move |sample| sample.name == name && sample.has(&labels));
    let requests = || own("slipway_ingress_requests_total");
    let failed = |sample: &&Sample| sample.labels.get("code").is_some_and(|code| code.starts_with('5'));
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for sample in own("slipway_ingress_request_duration_seconds_bucket") {
        let Some(bound) = sample.labels.get("le").and_then(|le| match le.as_str() {
            "+Inf" => Some(f64::INFINITY),
            number => number.parse().ok(),
        }) else {
            continue;
        };
        match buckets.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
            Some((_, count)) => *count += sample.value,
            None => buckets.push((bound, sample.value)),
        }
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    Counts {
        requests: requests().map(|sample| sample.value).sum(),
        failures: requests().filter(failed).map(|sample| sample.value).sum(),
        buckets,
    }
}
