//! A deployment in a cloud: its stack is made, watched and removed by the service itself. The cluster there says what a test lets it say.

use crate::{ApiServer, Stage, cluster::node, intake, newest};
use serde_json::{Value, json};
use slipway_bus::Principal;
use slipway_kernel::{Answer, Cause, CommandReason, DeploymentId, FindingKind, Service, Slot};
use slipway_provisioner::{
    Config, Installation, WORK,
    domain::stack::{Progress, variables},
    stack::{Cloud, EngineKind},
};
use slipway_testkit::{Program, eventually};
use std::{fs, path::PathBuf, process::Command, time::Duration};

/// Longer than a lease of somebody who was killed holds.
const LONG: Duration = Duration::from_secs(60);

/// A cloud: a cluster, and a program that makes pools there.
struct Region {
    stage: Stage,
    cluster: ApiServer,
    folder: tempfile::TempDir,
}

impl Region {
    async fn new() -> Self {
        let cluster = ApiServer::new().await;
        // That is all there is to see.
        cluster.says("/version", 200, json!({ "major": "1", "minor": "34", "gitVersion": "v1.34.1" }));
        cluster.says("/api/v1/namespaces/ml", 200, json!({ "status": { "phase": "Active" } }));
        Self { stage: Stage::new().await, cluster, folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program is one of one's own.
    fn config(&self) -> Config {
        let mut config = self.stage.config();
        config.common.data_dir = self.stage.data.path().to_owned();
        config.kubernetes.enabled = true;
        config.kubernetes.kubeconfig = Some(self.cluster.kubeconfig("ml"));
        config.stack.cloud = Some(Cloud::Aws);
        config.stack.engine = EngineKind::Command;
        config.stack.program = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stack/own-program").to_owned()];
        config.stack.module = self.folder.path().to_owned();
        config
    }

    fn installation(&self, config: &Config) -> Installation {
        Installation::new(config.clone(), self.stage.data.path().to_owned()).unwrap()
    }

    async fn ask_for(&self, name: &str) -> DeploymentId {
        self.stage.request(name, json!({ "target": "aws" })).await
    }

    fn pool(&self, id: &DeploymentId) -> PathBuf {
        self.path(&format!("{}.pool", variables::name(id)))
    }

    fn open(&self) {
        fs::write(self.path("open"), "").unwrap();
    }

    fn journal(&self) -> Vec<String> {
        fs::read_to_string(self.path("journal")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    async fn progress(&self, id: &DeploymentId) -> Option<Progress> {
        let held = self.stage.gate.leases().list(Service::Provisioner, WORK).await.unwrap();
        held.get(id).and_then(|lease| serde_json::from_value(lease.value.clone()).ok())
    }

    async fn retire(&self, id: &DeploymentId) -> Answer {
        let command = CommandReason { reason: String::new(), intake: intake("retire") };
        self.stage.write(id, Slot::Command(0), Answer::RetireRequested(command)).await;
        self.stage.answer(id, Slot::Removal(Service::Provisioner)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_in_a_cloud_has_its_stack_made_watched_and_removed() {
    let region = Region::new().await;
    let mut config = region.config();
    config.stack.drift_every = slipway_kernel::Span::millis(500);
    let service = region.stage.start_with_config(config.clone(), region.installation(&config));
    let id = region.ask_for("digits").await;
    eventually(LONG, || async {
        let progress = region.progress(&id).await.unwrap_or_default();
        progress.planned == 1 && progress.under_way.contains_key("script.pool")
    })
    .await;
    region.open();
    let Answer::InfrastructureReady(ready) = region.stage.answer(&id, Slot::Infrastructure).await else { panic!() };
    assert_eq!(ready.target, "aws");
    assert!(ready.proofs[0].detail.ends_with("by command: 1 resources changed now"), "{:?}", ready.proofs);
    assert_eq!((ready.proofs[1].detail.as_str(), ready.proofs.len()), (r#"{"pool":"it"}"#, 10));

    let person = region.stage.server.bus(Principal::Operator).await;
    let troubles = async || person.troubles().list().await.unwrap();
    fs::rename(region.pool(&id), region.path("elsewhere")).unwrap();
    eventually(LONG, || async { !troubles().await.is_empty() }).await;
    let trouble = troubles().await.remove(0);
    assert_eq!(trouble.detail, "its stack is not what it was made: script.pool would be made");
    assert_eq!(region.journal(), ["create"], "it was looked at, and not mended");
    fs::rename(region.path("elsewhere"), region.pool(&id)).unwrap();
    eventually(LONG, || async { troubles().await.is_empty() }).await;

    let Answer::Removed(removed) = region.retire(&id).await else { panic!() };
    assert_eq!((removed.items[0].name.as_str(), removed.items[0].value.as_str()), ("resource", "script.pool"));
    assert!(!region.pool(&id).exists());
    let left = fs::read_dir(region.stage.data.path().join("stacks")).unwrap().flatten().map(|entry| entry.file_name());
    assert_eq!(left.collect::<Vec<_>>(), [".claims.lock"]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_the_lease_stops_the_program_and_none_is_started_beside_it() {
    let region = Region::new().await;
    let config = region.config();
    let service = region.stage.start_with_config(config.clone(), region.installation(&config));
    let id = region.ask_for("digits").await;
    eventually(LONG, || async { !region.journal().is_empty() }).await;
    region.stage.server.purge("KV_slipway-leases", &format!("$KV.slipway-leases.{id}.provisioner.{WORK}")).await;
    // Told to stop, the program finishes what it has begun; what it made is found by who comes next.
    let Answer::InfrastructureReady(ready) = region.stage.answer(&id, Slot::Infrastructure).await else { panic!() };
    assert!(ready.proofs[0].detail.ends_with(": 0 resources changed now"), "{:?}", ready.proofs);
    assert_eq!(region.journal(), ["create", "stopped"]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_ends_the_try_with_the_words_of_who_refused_it() {
    let region = Region::new().await;
    region.open();
    fs::write(region.path("refused"), "VcpuLimitExceeded: 4 of 4").unwrap();
    let config = region.config();
    let service = region.stage.start_with_config(config.clone(), region.installation(&config));
    let failed = async |name: &str| {
        let id = region.ask_for(name).await;
        let Answer::InfrastructureFailed(failed) = region.stage.answer(&id, Slot::Infrastructure).await else {
            panic!()
        };
        failed.findings[0].clone()
    };
    let refused = failed("refused").await;
    assert_eq!((refused.kind, refused.cause), (FindingKind::Unschedulable, Cause::Deterministic));
    assert!(refused.message.contains("creating the pool: VcpuLimitExceeded: 4 of 4"), "{}", refused.message);
    fs::write(region.path("replace"), "").unwrap();
    let guarded = failed("guarded").await;
    assert_eq!((guarded.kind, guarded.cause), (FindingKind::PolicyViolation, Cause::Deterministic));
    assert!(guarded.message.contains("script.pool would be replaced"), "{}", guarded.message);
    assert_eq!(region.journal(), ["create"]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_a_stack_are_waited_for_until_they_have_had_their_time() {
    let region = Region::new().await;
    region.open();
    let nodes = |items: &[Value]| region.cluster.says("/api/v1/nodes?limit=500", 200, json!({ "items": items }));
    nodes(&[]);
    let mut config = region.config();
    config.stack.nodes_timeout = slipway_kernel::Span(LONG);
    let service = region.stage.start_with_config(config.clone(), region.installation(&config));
    let id = region.ask_for("late").await;
    let looked = || region.cluster.asked("/api/v1/nodes").len();
    eventually(LONG, || async { region.pool(&id).exists() }).await;
    let before = looked();
    eventually(LONG, || async { looked() > before + 1 }).await;
    nodes(&[node("late")]);
    let Answer::InfrastructureReady(ready) = region.stage.answer(&id, Slot::Infrastructure).await else { panic!() };
    assert!(ready.proofs.iter().any(|proof| proof.detail.starts_with("1 of 1 node(s)")), "{:?}", ready.proofs);
    service.stop().await;

    nodes(&[]);
    config.stack.nodes_timeout = slipway_kernel::Span::millis(1);
    let service = region.stage.start_with_config(config.clone(), region.installation(&config));
    let id = region.ask_for("never").await;
    let Answer::InfrastructureFailed(failed) = region.stage.answer(&id, Slot::Infrastructure).await else { panic!() };
    assert_eq!((failed.findings[0].kind, failed.findings[0].cause), (FindingKind::Unschedulable, Cause::Transient));
    let message = &failed.findings[0].message;
    assert!(message.starts_with("what was made has not ended it within 1ms: no node has room"), "{message}");
    assert!(region.pool(&id).exists(), "what was made stands until it is retired");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_that_nobody_can_remove_any_more_is_not_forgotten() {
    let region = Region::new().await;
    region.open();
    let mut config = region.config();
    let service = region.stage.start_with_config(config.clone(), region.installation(&config));
    let id = region.ask_for("digits").await;
    assert!(matches!(region.stage.answer(&id, Slot::Infrastructure).await, Answer::InfrastructureReady(_)));
    service.stop().await;
    config.stack.cloud = None;
    let service = region.stage.start_with_config(config.clone(), region.installation(&config));
    let Answer::RemovalFailed(failed) = region.retire(&id).await else { panic!() };
    assert!(failed.findings[0].message.contains("set stack.cloud"), "{}", failed.findings[0].message);
    service.stop().await;
    config.stack.cloud = Some(Cloud::Aws);
    let service = region.stage.start_with_config(config.clone(), region.installation(&config));
    let removed = |folded: &slipway_bus::Folded| {
        matches!(newest(folded, Slot::Removal(Service::Provisioner)), Some(Answer::Removed(_)))
    };
    region.stage.until(&id, removed).await;
    assert!(!region.pool(&id).exists());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provisioner_that_is_killed_leaves_the_program_at_work_and_the_next_waits_for_it() {
    let region = Region::new().await;
    let file = region.path("provisioner.toml");
    fs::write(&file, toml::to_string(&region.config()).unwrap()).unwrap();
    let log = region.path("log");
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slipway-provisioner"));
        command.arg("--config").arg(&file);
        Program::start("provisioner", command, &log)
    };
    let mut first = start();
    let id = region.ask_for("digits").await;
    eventually(LONG, || async { !region.journal().is_empty() }).await;
    first.kill9().await;
    let _second = start();
    eventually(LONG, || async { fs::read_to_string(&log).unwrap().contains("left behind is waited for") }).await;
    region.open();
    let ready = region.stage.view.wait_until(&id, LONG, |folded| newest(folded, Slot::Infrastructure).is_some()).await;
    let Some(Answer::InfrastructureReady(ready)) = newest(&ready.unwrap(), Slot::Infrastructure) else { panic!() };
    assert!(ready.proofs[0].detail.ends_with(": 0 resources changed now"), "{:?}", ready.proofs);
    assert_eq!(region.journal(), ["create"]);
}
