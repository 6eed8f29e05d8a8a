//! The keeper: holds the installation's lease and does what [`reconcile`] decides.

mod round;

use super::{
    Kubernetes, bell,
    objects::{Key, MANAGER},
    publish::Published,
};
use crate::target::Group;
use serde_json::Value;
use slipway_bus::{Lease, LeaseKey, Watched, WorkerRecord};
use slipway_cluster::{Objects, PART};
use slipway_kernel::{Digest, Finding, Service};
use slipway_runtime::Frame;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

/// How often everything is looked at although nothing rang.
const LOOK: Duration = Duration::from_secs(5);
/// What rings at once is looked at together.
const TOGETHER: Duration = Duration::from_millis(100);
/// How often a replica without the lease tries to get it.
const CONTEND: Duration = Duration::from_secs(1);
/// The longest pause before an API server that refused is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Why a round ended early.
enum Stop {
    /// Another keeper has come after this one.
    Succeeded,
    /// The cluster does not answer, or not now.
    Cluster(String),
}

struct Keeper {
    target: Arc<Kubernetes>,
    frame: Frame,
    objects: Objects,
    registry: Watched<Vec<WorkerRecord>>,
    /// Items of documents, by the digest of their blob.
    documents: HashMap<Digest, Arc<Vec<Value>>>,
    /// Fingerprints of what was applied, as they were then.
    applied: HashMap<Key, Digest>,
    /// Groups whose workers were all ready once.
    whole: BTreeSet<Group>,
    /// Why objects of a group could not be made, the last time.
    refused: BTreeMap<Group, Finding>,
}

/// Runs until shutdown.
pub(super) async fn run(target: Arc<Kubernetes>, frame: Frame) -> anyhow::Result<()> {
    let setup = &target.setup;
    let cluster = &setup.cluster;
    let objects = Objects::new(setup.client.clone(), &cluster.namespace, MANAGER);
    let registry = target.bus.workers().follow().await?;
    let key = LeaseKey::mesh(Service::Controller, &format!("kubernetes-{}", cluster.installation));
    let labels = selector(&cluster.installation);
    let shutdown = frame.shutdown.clone();
    while !shutdown.is_cancelled() {
        match target.bus.leases().acquire(&key, setup.lease).await {
            Ok(Some(lease)) => {
                let _watches = bell::hang(&objects, &labels, &target.bell);
                let mut keeper = Keeper {
                    target: Arc::clone(&target),
                    frame: frame.clone(),
                    objects: objects.clone(),
                    registry: registry.clone(),
                    documents: HashMap::new(),
                    applied: HashMap::new(),
                    whole: BTreeSet::new(),
                    refused: BTreeMap::new(),
                };
                keeper.keep(lease).await;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the lease of the cluster's workers cannot be asked for"),
        }
        // Without the lease nothing is known.
        target.publish(Published::default());
        let _ = tokio::time::timeout(CONTEND, shutdown.cancelled()).await;
    }
    Ok(())
}

/// The labels of all objects of an installation that are the controller's.
fn selector(installation: &str) -> String {
    format!("slipway.dev/installation={installation},!{PART}")
}

impl Keeper {
    /// Keeps the workers as long as the lease is held.
    async fn keep(&mut self, lease: Lease) {
        tracing::info!(token = lease.token(), "this replica keeps the workers of the cluster");
        let shutdown = self.frame.shutdown.clone();
        let mut failures = 0_u32;
        loop {
            // A round may be in the middle of a call that is not answered; what it leaves is the next one's.
            let round = tokio::select! {
                () = shutdown.cancelled() => break,
                () = lease.lost() => return tracing::warn!("the lease of the cluster's workers is lost"),
                round = self.round(&lease) => round,
            };
            let pause = match round {
                Ok(()) => {
                    failures = 0;
                    None
                }
                Err(Stop::Succeeded) => return tracing::warn!("another controller keeps the workers of the cluster"),
                Err(Stop::Cluster(error)) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(error, failures, "the cluster is asked again");
                    self.target.publish_blind(format!("the cluster cannot be looked at: {error}"));
                    Some(Duration::from_millis(250 << failures.min(6)).min(LONGEST_PAUSE))
                }
            };
            let target = Arc::clone(&self.target);
            let wake = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => {
                        tokio::select! {
                            () = target.bell.notified() => tokio::time::sleep(TOGETHER).await,
                            _ = self.registry.changed() => {}
                            () = tokio::time::sleep(LOOK) => {}
                        }
                    }
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = lease.lost() => return tracing::warn!("the lease of the cluster's workers is lost"),
                () = wake => {}
            }
        }
        if let Err(error) = lease.release().await {
            tracing::debug!(%error, "the lease runs out by itself");
        }
    }
}
