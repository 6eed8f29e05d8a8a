//! The `local` target: this machine is made ready and proved so, and cleaned up after.
//!
//! What is proved is proved by doing it: a folder by writing into it, a port by binding it, a program by running it. Every
//! check is made even if one before it failed, so that a person reads all of it at once.

mod claim;
mod folders;
mod ports;
mod remove;
mod space;
mod worker;

pub(crate) use claim::file_name as claim_file;
pub use claim::{Claim, Overtaken};
pub use remove::remove;
pub use worker::Engines;

use crate::{config::LocalConfig, domain::demands::Demands};
use slipway_kernel::{Cause, DeploymentId, Finding, FindingKind, Generation, MachineFacts, Proof, spec::Placement};
use std::{
    io,
    path::{Path, PathBuf},
};

/// What is to be made ready, and on whose authority.
#[derive(Clone, Debug)]
pub struct Order {
    /// For which deployment.
    pub deployment: DeploymentId,
    /// For which generation.
    pub generation: Generation,
    /// The authority: the holder of the lease at this moment.
    pub claim: Claim,
    /// What the workers need.
    pub demands: Demands,
    /// The region that was chosen, of a cloud.
    pub region: Option<String>,
    /// On which nodes, where there are some.
    pub placement: Placement,
}

/// Why the place is not ready.
#[derive(Debug)]
pub enum NotReady {
    /// Checks failed; never empty.
    Findings(Vec<Finding>),
    /// A newer holder of the lease was here: this one must not act.
    Overtaken(Overtaken),
}

/// Makes the place ready. Doing it twice is harmless.
///
/// # Errors
/// [`NotReady`].
pub async fn prepare(
    config: &LocalConfig,
    data_dir: &Path,
    machine: &MachineFacts,
    order: &Order,
) -> Result<Vec<Proof>, NotReady> {
    let (folder, wanted) = (data_dir.to_owned(), order.clone());
    let made = tokio::task::spawn_blocking(move || make(&folder, &wanted)).await;
    let made = made.map_err(|error| NotReady::Findings(vec![broken(&error)]))?;
    let mut checks = match made {
        Ok(proofs) => proofs.into_iter().map(Ok).collect(),
        Err(Refused::Overtaken(newer)) => return Err(NotReady::Overtaken(newer)),
        Err(Refused::Finding(finding)) => vec![Err(finding)],
    };
    checks.push(space::disk(machine, config.min_disk));
    checks.push(space::memory(machine, config.spare_memory, order));
    checks.push(ports::check(order.demands.workers).await);
    checks.push(worker::check(&config.worker).await);
    let (proofs, findings): (Vec<_>, Vec<_>) = checks.into_iter().partition(Result::is_ok);
    if findings.is_empty() {
        Ok(proofs.into_iter().filter_map(Result::ok).collect())
    } else {
        Err(NotReady::Findings(findings.into_iter().filter_map(Result::err).collect()))
    }
}

/// Which engines the worker has. What its answer does not say is not counted on, and no reason not to deploy.
pub async fn engines(config: &LocalConfig) -> Engines {
    worker::engines(&config.worker).await
}

enum Refused {
    Overtaken(Overtaken),
    Finding(Finding),
}

fn make(data_dir: &Path, order: &Order) -> Result<Vec<Proof>, Refused> {
    let run = run_folder(data_dir);
    let made = folders::make(&run).map_err(Refused::Finding)?;
    take(&run, order)?;
    let written = folders::prove(&run, order.claim.token).map_err(Refused::Finding)?;
    Ok(vec![made, written])
}

/// Takes the deployment's part of a folder of this machine, or keeps it.
fn take(folder: &Path, order: &Order) -> Result<(), Refused> {
    claim::take(folder, &order.deployment, order.generation, order.claim).map_err(|error| match error {
        claim::ClaimError::Overtaken(newer) => Refused::Overtaken(newer),
        claim::ClaimError::Io { path, source } => Refused::Finding(io_finding("claim", &path, &source)),
    })
}

impl From<Refused> for NotReady {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Overtaken(newer) => Self::Overtaken(newer),
            Refused::Finding(finding) => Self::Findings(vec![finding]),
        }
    }
}

/// Takes the deployment's part of a folder of this machine, or keeps it, by the right of the order.
pub(crate) fn take_claim(folder: &Path, order: &Order) -> Result<(), NotReady> {
    Ok(take(folder, order)?)
}

/// Where workers of this machine keep their configuration and log.
#[must_use]
pub fn run_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("run")
}

fn proof(name: &str, detail: impl Into<String>) -> Proof {
    Proof { name: name.to_owned(), detail: detail.into() }
}

/// A finding for something the file system refused. Rights and kinds of files do not change by themselves, everything
/// else may.
pub(crate) fn io_finding(doing: &str, path: &Path, error: &io::Error) -> Finding {
    use io::ErrorKind::{AlreadyExists, IsADirectory, NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    let lasting =
        matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | NotADirectory | IsADirectory | AlreadyExists);
    let (kind, cause, advice) = if lasting {
        (FindingKind::Misconfigured, Cause::Deterministic, "let this user write there, or set common.data_dir")
    } else {
        (FindingKind::DependencyUnavailable, Cause::Transient, "see to the disk")
    };
    let message = format!("{doing} {}: {error}; {advice}", path.display());
    let finding = match cause {
        Cause::Deterministic => Finding::deterministic(kind, message),
        Cause::Transient => Finding::transient(kind, message),
    };
    finding.with_evidence(path.display().to_string())
}

fn broken(error: &dyn std::error::Error) -> Finding {
    Finding::transient(FindingKind::DependencyUnavailable, format!("a check ended before its time: {error}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::demands::tests::modest;
    use slipway_kernel::{ByteSize, Timestamp};

    pub(crate) fn order(token: u64) -> Order {
        Order {
            deployment: "default.digits".parse().unwrap(),
            generation: Generation(1),
            claim: Claim { log_created: Timestamp(1), token },
            demands: Demands { workers: 2, memory: ByteSize::mebibytes(64), ..modest() },
            region: None,
            placement: Placement::default(),
        }
    }

    fn config() -> LocalConfig {
        LocalConfig { worker: vec!["/bin/sh".into(), "-c".into(), "echo worker 1.0".into()], ..LocalConfig::default() }
    }

    fn machine() -> MachineFacts {
        MachineFacts {
            memory_bytes: 8 << 30,
            memory_available_bytes: 4 << 30,
            disk_available_bytes: 8 << 30,
            ..MachineFacts::default()
        }
    }

    #[tokio::test]
    async fn a_ready_machine_gives_a_proof_for_each_part() {
        let folder = tempfile::tempdir().unwrap();
        let proofs = prepare(&config(), folder.path(), &machine(), &order(1)).await.unwrap();
        let names: Vec<&str> = proofs.iter().map(|proof| proof.name.as_str()).collect();
        assert_eq!(names, ["folders", "write-read-sync", "disk", "memory", "ports", "worker-program"]);
        prepare(&config(), folder.path(), &machine(), &order(1)).await.unwrap();
    }

    #[tokio::test]
    async fn everything_that_is_wrong_is_found_at_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("run"), "a file where a folder should be").unwrap();
        let config = LocalConfig { worker: vec!["/nowhere/worker".into()], ..config() };
        let machine = MachineFacts { disk_available_bytes: 1, ..MachineFacts::default() };
        let Err(NotReady::Findings(findings)) = prepare(&config, folder.path(), &machine, &order(1)).await else {
            panic!("it cannot be ready");
        };
        let kinds: Vec<_> = findings.iter().map(|finding| (finding.kind, finding.cause)).collect();
        assert_eq!(
            kinds,
            [
                (FindingKind::Misconfigured, Cause::Deterministic),
                (FindingKind::Unschedulable, Cause::Transient),
                (FindingKind::Unschedulable, Cause::Transient),
                (FindingKind::ImageUnavailable, Cause::Deterministic),
            ]
        );
    }

    #[tokio::test]
    async fn a_holder_that_was_overtaken_touches_nothing() {
        let folder = tempfile::tempdir().unwrap();
        prepare(&config(), folder.path(), &machine(), &order(7)).await.unwrap();
        let late = prepare(&config(), folder.path(), &machine(), &order(6)).await;
        assert!(matches!(late, Err(NotReady::Overtaken(Overtaken { by: Claim { token: 7, .. } }))), "{late:?}");
    }
}
