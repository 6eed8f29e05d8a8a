//! The fence on this machine: the holder of the lease writes its token beside what it makes; who finds a larger one stops.
//!
//! Tokens grow within one log. After the broker's data was lost they begin anew, so a claim also names the log it comes
//! from by the time that log was created: a newer log's claim wins over any token of an older one.

use serde::{Deserialize, Serialize};
use slipway_kernel::{DeploymentId, Generation, Timestamp};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// On whose authority something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// When the log was created that the lease belongs to.
    pub log_created: Timestamp,
    /// The fencing token of the lease.
    pub token: u64,
}

/// A newer holder was here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overtaken {
    /// Its claim.
    pub by: Claim,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ClaimError {
    #[error("a newer holder of the lease was here")]
    Overtaken(Overtaken),
    #[error("cannot keep {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Record {
    claim: Claim,
    generation: Generation,
}

/// No `.json`: those in the same folder are the controller's.
const ENDING: &str = ".claim";

/// The file that holds the claim on a deployment's part of this machine.
pub(crate) fn file_name(deployment: &DeploymentId) -> String {
    format!("{deployment}{ENDING}")
}

/// The deployment whose claim a file is, by its name.
pub(super) fn deployment_of(file_name: &str) -> Option<DeploymentId> {
    file_name.strip_suffix(ENDING)?.parse().ok()
}

/// Takes the deployment's part of this machine, or keeps it.
pub(super) fn take(
    run: &Path,
    deployment: &DeploymentId,
    generation: Generation,
    claim: Claim,
) -> Result<(), ClaimError> {
    let path = run.join(file_name(deployment));
    let failed = |source| ClaimError::Io { path: path.clone(), source };
    // Two processes must not both read the old claim and then write theirs.
    let lock = File::create(run.join(".claims.lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if let Some(held) = read(&path).map_err(failed)?
        && held.claim > claim
    {
        return Err(ClaimError::Overtaken(Overtaken { by: held.claim }));
    }
    let record = serde_json::to_vec(&Record { claim, generation }).map_err(|error| failed(error.into()))?;
    replace(&path, &record).map_err(failed)
}

/// Nothing there, or nothing readable, is no claim: the file is written whole or not at all, so garbage is not ours.
fn read(path: &Path) -> io::Result<Option<Record>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes beside, syncs, renames, syncs the folder: after a power cut there is the old content or the new.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_take(run: &Path, log_created: u64, token: u64) -> Result<(), ClaimError> {
        let claim = Claim { log_created: Timestamp(log_created), token };
        take(run, &"default.digits".parse().unwrap(), Generation(1), claim)
    }

    #[test]
    fn the_larger_token_wins_and_the_same_one_keeps_what_it_has() {
        let run = tempfile::tempdir().unwrap();
        try_take(run.path(), 1, 5).unwrap();
        try_take(run.path(), 1, 5).unwrap();
        try_take(run.path(), 1, 9).unwrap();
        assert!(matches!(try_take(run.path(), 1, 8), Err(ClaimError::Overtaken(newer)) if newer.by.token == 9));
    }

    #[test]
    fn after_the_log_was_made_anew_tokens_begin_small_and_still_win() {
        let run = tempfile::tempdir().unwrap();
        try_take(run.path(), 1, 5_000).unwrap();
        try_take(run.path(), 2, 3).unwrap();
        assert!(matches!(try_take(run.path(), 1, 5_001), Err(ClaimError::Overtaken(_))));
    }

    #[test]
    fn a_claim_that_is_garbage_is_none() {
        let run = tempfile::tempdir().unwrap();
        fs::write(run.path().join("default.digits.claim"), "{").unwrap();
        try_take(run.path(), 1, 1).unwrap();
    }
}
