//! One round: look, decide, do, say.

use super::{Keeper, Stop, selector};
use crate::{
    domain::{
        diagnose::{Pod, Said, Workload, diagnose},
        manifest::kubernetes::{self, MEDIA_TYPE, TOKEN},
    },
    target::{
        Desired, Group,
        kubernetes::{
            OnDrift,
            look::{SeenPod, deployment, pod, stateful_set, warnings},
            objects::{EVENT, KINDS, Key, POD, STARTER, STATEFUL_SET, applied, fingerprint, is_workload, kind_of},
            publish::{GroupState, Published},
            reconcile::{Action, Made, Picture, Seen, Why, reconcile},
        },
    },
};
use serde_json::Value;
use slipway_bus::{Lease, WorkerRecord, WorkerState};
use slipway_cluster::{ApiError, Kind};
use slipway_kernel::{DeploymentId, Endpoint, Finding, FindingKind, names};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// What a round saw.
struct Sight {
    seen: Vec<Seen>,
    pods: Vec<SeenPod>,
    /// By their names.
    workloads: HashMap<String, Workload>,
    /// By the labels of their deployments.
    anchors: HashMap<String, Value>,
}

/// A revision whose objects are known.
struct Known {
    group: Group,
    items: Arc<Vec<Value>>,
    replicas: u32,
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        Self::Cluster(error.to_string())
    }
}

impl Keeper {
    pub(super) async fn round(&mut self, lease: &Lease) -> Result<(), Stop> {
        let wishes = self.target.wishes();
        let desired = wishes.by_group();
        self.refused.retain(|group, _| desired.contains_key(group));
        self.whole.retain(|group| desired.contains_key(group));
        let known = self.known(&desired).await?;
        let mut sight = self.look(&known).await?;
        // Who was succeeded while it was away must not do anything more.
        if sight.seen.iter().any(|seen| seen.is_anchor && seen.token > lease.token()) {
            return Err(Stop::Succeeded);
        }
        let made: Vec<Made> = known.iter().map(made).collect();
        let mut counted: BTreeMap<(String, String), usize> = BTreeMap::new();
        for one in &sight.pods {
            *counted.entry((one.deployment.clone(), one.revision.clone())).or_default() += 1;
        }
        let actions = reconcile(&Picture {
            wanted: &made,
            told: &wishes.told,
            all_told: wishes.all_told,
            seen: &sight.seen,
            pods: &counted,
            applied: &self.applied,
        });
        // What is tried again is not refused any more, until it is: one object that is taken says nothing of another.
        for action in &actions {
            if let Action::Apply { group, .. } = action {
                self.refused.remove(group);
            }
        }
        for action in actions {
            if !lease.is_held() {
                return Ok(());
            }
            match action {
                Action::Remove { key, uid } => self.remove(&key, &uid).await?,
                Action::Apply { group, number, why, token, is_absent } => {
                    let Some(known) = known.iter().find(|known| known.group == group) else { continue };
                    let anchor = match self.anchor(&group.deployment, &mut sight, lease).await {
                        Ok(anchor) => anchor,
                        Err(ApiError::Refused(message, finding)) => {
                            tracing::warn!(deployment = %group.deployment, message, "the cluster refuses the anchor");
                            self.refused.insert(group.clone(), *finding);
                            continue;
                        }
                        Err(error) => return Err(error.into()),
                    };
                    let Some(item) = known.items.get(number) else { continue };
                    let object = applied(item, &anchor, group.attempt, token.unwrap_or_else(|| lease.token()));
                    self.make(known, &object, why, is_absent).await?;
                }
            }
        }
        // Only while the lease is certainly held may others believe what is published.
        if lease.is_held() {
            let published = self.published(&desired, &sight);
            self.target.publish(published);
        }
        Ok(())
    }

    /// The objects of those that shall be. Who has none that can be made here is refused.
    async fn known(&mut self, desired: &BTreeMap<Group, Desired>) -> Result<Vec<Known>, Stop> {
        let mut all = Vec::new();
        for (group, wish) in desired {
            match self.document(wish).await? {
                Ok(items) => {
                    let replicas = wish.wanted.plan.replicas;
                    all.push(Known { group: group.clone(), items, replicas });
                }
                Err(finding) => {
                    self.refused.insert(group.clone(), finding);
                    // What runs of it goes on.
                    all.push(Known { group: group.clone(), items: Arc::default(), replicas: 0 });
                }
            }
        }
        let digests: Vec<_> =
            desired.values().filter_map(|wish| wish.wanted.manifests.as_ref()).map(|m| &m.digest).collect();
        self.documents.retain(|digest, _| digests.contains(&digest));
        Ok(all)
    }

    async fn document(&mut self, wish: &Desired) -> Result<Result<Arc<Vec<Value>>, Finding>, Stop> {
        let Some(manifests) = wish.wanted.manifests.as_ref().filter(|manifests| manifests.media_type == MEDIA_TYPE)
        else {
            let message = format!(
                "it was planned for `{}`, and this installation runs workers on Kubernetes",
                wish.wanted.plan.target
            );
            return Ok(Err(Finding::deterministic(FindingKind::ExecutorMissing, message)));
        };
        if let Some(known) = self.documents.get(&manifests.digest) {
            return Ok(Ok(Arc::clone(known)));
        }
        let text = match self.target.bus.blobs().get(&manifests.digest).await {
            Ok(text) => text,
            Err(error) if error.is_transient() => return Err(Stop::Cluster(format!("the manifests: {error}"))),
            Err(error) => {
                let message = format!("the manifests cannot be read: {error}");
                return Ok(Err(Finding::deterministic(FindingKind::DependencyUnavailable, message)));
            }
        };
        let namespace = &self.target.setup.cluster.namespace;
        match items(&text, namespace) {
            Ok(items) => {
                let items = Arc::new(items);
                self.documents.insert(manifests.digest.clone(), Arc::clone(&items));
                Ok(Ok(items))
            }
            Err(message) => Ok(Err(Finding::deterministic(FindingKind::Misconfigured, message))),
        }
    }

    /// Lists what is there.
    async fn look(&self, known: &[Known]) -> Result<Sight, Stop> {
        let labels = selector(&self.target.setup.cluster.installation);
        let list = async |kind: Kind| match self.objects.list(kind, &labels, "").await {
            // Where a kind is not served, the API server first refuses whoever has no right to it.
            Err(ApiError::NotFound | ApiError::Refused(..)) if kind.is_optional => Ok(Vec::new()),
            listed => listed,
        };
        let kinds = futures::future::try_join_all(KINDS.into_iter().map(list));
        let (kinds, pods, events) = futures::try_join!(
            kinds,
            self.objects.list(POD, &labels, ""),
            self.objects.list(EVENT, "", "type=Warning"),
        )?;
        let scaled: Vec<String> = known.iter().flat_map(|known| known.items.iter()).filter_map(scaled).collect();
        let mut sight =
            Sight { seen: Vec::new(), pods: Vec::new(), workloads: HashMap::new(), anchors: HashMap::new() };
        let now = self.frame.clock.now();
        for (kind, objects) in KINDS.into_iter().zip(kinds) {
            for object in objects {
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                let seen = Seen::of(kind, &object, fingerprint(&object, !scaled.contains(&name)));
                if is_workload(kind.kind) {
                    let workload = match kind.kind {
                        STATEFUL_SET => stateful_set(&object, &events, now),
                        _ => deployment(&object, now),
                    };
                    sight.workloads.insert(name, workload);
                }
                if seen.is_anchor {
                    sight.anchors.insert(seen.deployment.clone(), object);
                }
                sight.seen.push(seen);
            }
        }
        let warnings: BTreeMap<String, Vec<Said>> = warnings(&events);
        sight.pods = pods.iter().map(|object| pod(object, &warnings)).collect();
        Ok(sight)
    }

    /// The anchor of a deployment, with this keeper's token in it.
    async fn anchor(&self, deployment: &DeploymentId, sight: &mut Sight, lease: &Lease) -> Result<Value, ApiError> {
        let label = names::label(deployment);
        let wanted = kubernetes::anchor(deployment, &self.target.setup.cluster, lease.token());
        let anchor = match sight.anchors.get(&label) {
            None => self.objects.create(Kind::CONFIG_MAP, &wanted).await?,
            Some(there) if there["metadata"]["annotations"][TOKEN] == wanted["metadata"]["annotations"][TOKEN] => {
                return Ok(there.clone());
            }
            Some(there) => {
                let mut ours = there.clone();
                ours["metadata"]["annotations"][TOKEN] = wanted["metadata"]["annotations"][TOKEN].clone();
                // It names the version that was read: of two keepers one is refused, looks again, and finds the greater token.
                self.objects.replace(Kind::CONFIG_MAP, &ours).await?
            }
        };
        sight.anchors.insert(label, anchor.clone());
        Ok(anchor)
    }

    async fn remove(&mut self, key: &Key, uid: &str) -> Result<(), Stop> {
        let Some(kind) = KINDS.into_iter().find(|kind| kind.kind == key.kind) else { return Ok(()) };
        tracing::info!(kind = key.kind, name = key.name, "removed: nobody wants it");
        self.applied.remove(key);
        Ok(self.objects.delete(kind, &key.name, uid).await?)
    }

    /// Makes an object what it shall be.
    async fn make(&mut self, known: &Known, object: &Value, why: Why, is_absent: bool) -> Result<(), Stop> {
        let Some(kind) = kind_of(object) else { return Ok(()) };
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let key = Key { kind: kind.kind, name: name.to_owned() };
        if matches!(why, Why::Removed | Why::Changed) {
            self.target.telemetry.worker("drift");
            let put_right = self.target.setup.on_drift == OnDrift::PutRight || why == Why::Removed;
            tracing::warn!(deployment = %known.group.deployment, kind = kind.kind, name, put_right, "drift: {why:?} by others");
            if !put_right {
                return Ok(());
            }
        }
        // Of what is new, a field that somebody else has set before is theirs until it is known to be drift.
        let applied = match self.objects.apply(kind, object, why == Why::Changed).await {
            Err(ApiError::Conflict(message)) => {
                self.target.telemetry.worker("drift");
                let put_right = self.target.setup.on_drift == OnDrift::PutRight;
                tracing::warn!(deployment = %known.group.deployment, kind = kind.kind, name, put_right, message, "drift");
                if !put_right {
                    return Ok(());
                }
                self.objects.apply(kind, object, true).await
            }
            applied => applied,
        };
        match applied {
            Ok(applied) => {
                let scaled: Vec<String> = known.items.iter().filter_map(scaled).collect();
                let is_scaled = scaled.iter().any(|one| one == name);
                // One that was there and not listed has been changed since it was made, and its number is the scaler's already.
                let is_new = is_absent && applied["metadata"]["generation"] == 1;
                if is_workload(kind.kind) && is_new && is_scaled && known.replicas > 1 {
                    self.objects.scale(kind, name, known.replicas, STARTER).await?;
                }
                self.applied.insert(key, fingerprint(&applied, !is_scaled));
                if is_absent {
                    tracing::info!(deployment = %known.group.deployment, kind = kind.kind, name, "made");
                }
                Ok(())
            }
            Err(ApiError::Refused(message, finding)) => {
                tracing::warn!(deployment = %known.group.deployment, kind = kind.kind, name, message, "the cluster refuses it");
                self.refused
                    .insert(known.group.clone(), finding.with_evidence(format!("kubernetes:{}/{name}", kind.kind)));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn published(&mut self, desired: &BTreeMap<Group, Desired>, sight: &Sight) -> Published {
        let registry = self.registry.get();
        let is_ready = |record: &&WorkerRecord| matches!(record.state, WorkerState::Warm | WorkerState::Ready);
        let ready: HashMap<&str, &WorkerRecord> =
            registry.iter().filter(is_ready).map(|record| (record.instance.as_str(), record)).collect();
        let mut published = Published { holds: true, ..Published::default() };
        let now = self.frame.clock.now();
        let (mut running, mut wanted) = (0, Vec::new());
        for (group, wish) in desired {
            let label = (names::label(&group.deployment), group.revision.to_string());
            let mine = sight.pods.iter().filter(|pod| (&pod.deployment, &pod.revision) == (&label.0, &label.1));
            let mine: Vec<&SeenPod> = mine.filter(|pod| pod.attempt == group.attempt && !pod.is_leaving).collect();
            let mut state = GroupState::unseen(wish.wanted.plan.replicas);
            state.present = u32::try_from(mine.len()).unwrap_or(u32::MAX);
            let mut others = Vec::new();
            for one in mine {
                // A StatefulSet gives a pod the name of the one before it, which may be registered still.
                let Some(record) = ready.get(one.pod.name.as_str()).filter(|record| one.answers_at(&record.address))
                else {
                    others.push(one.pod.clone());
                    continue;
                };
                if state.ready.is_empty() {
                    state.measurements.clone_from(&record.measurements);
                }
                state.ready.push(Endpoint { instance: record.instance.clone(), address: record.address.clone() });
                state.token = state.token.max(one.token);
                // It serves although its node is lost, and what it was before says nothing now.
                if one.pod.lost_node.is_some() {
                    let Pod { name, since, lost_node, .. } = one.pod.clone();
                    others.push(Pod { name, since, lost_node, ..Pod::default() });
                }
            }
            running += state.ready.len();
            if state.ready.len() >= usize::try_from(state.of).unwrap_or(usize::MAX) {
                self.whole.insert(group.clone());
            }
            state.was_whole = self.whole.contains(group);
            let workload = sight.workloads.get(&names::revision(&group.deployment, group.revision));
            let diagnosis = diagnose(workload.unwrap_or(&Workload::default()), &others, now);
            state.is_settled = diagnosis.is_settled || self.refused.contains_key(group);
            state.findings = self.refused.get(group).cloned().into_iter().chain(diagnosis.findings).collect();
            published.groups.insert(group.clone(), state);
            wanted.push(label);
        }
        let objects = sight.seen.iter().filter(|seen| !seen.is_anchor).map(|seen| (&seen.deployment, &seen.revision));
        let pods = sight.pods.iter().map(|pod| (&pod.deployment, &pod.revision));
        for (deployment, revision) in objects.chain(pods) {
            let label = (deployment.clone(), revision.clone());
            if !wanted.contains(&label) {
                *published.leftovers.entry(label).or_default() += 1;
            }
        }
        self.target.telemetry.running(running);
        published
    }
}

fn made(known: &Known) -> Made {
    let key = |item: &Value| {
        let name = item["metadata"]["name"].as_str()?.to_owned();
        Some(Key { kind: kind_of(item)?.kind, name })
    };
    Made { group: known.group.clone(), keys: known.items.iter().filter_map(key).collect() }
}

/// The name of the workload whose size a scaler decides, if the object is a scaler.
fn scaled(item: &Value) -> Option<String> {
    let is_scaler = ["HorizontalPodAutoscaler", "ScaledObject"].iter().any(|kind| item["kind"] == *kind);
    is_scaler.then(|| item["spec"]["scaleTargetRef"]["name"].as_str().map(str::to_owned)).flatten()
}

/// The items of a document, all of kinds and in the namespace that this target keeps.
fn items(text: &[u8], namespace: &str) -> Result<Vec<Value>, String> {
    let document: Value =
        serde_json::from_slice(text).map_err(|error| format!("the manifests are no JSON: {error}"))?;
    let items = document["items"].as_array().cloned().unwrap_or_default();
    for item in &items {
        if kind_of(item).is_none() {
            return Err(format!("the manifests hold a `{}`, which this controller does not make", item["kind"]));
        }
        if item["metadata"]["namespace"] != namespace {
            let other = &item["metadata"]["namespace"];
            return Err(format!("it was planned for the namespace {other}; this installation's is \"{namespace}\""));
        }
    }
    if items.is_empty() { Err("the manifests are empty".to_owned()) } else { Ok(items) }
}
