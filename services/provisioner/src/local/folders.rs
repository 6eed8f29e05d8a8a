//! The folders workers need, and the proof that they keep what is written into them.

use super::{io_finding, proof};
use slipway_kernel::{Finding, FindingKind, Proof};
use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    time::Instant,
};

/// Enough to be more than what fits a file's metadata, little enough for a slow disk.
const PROBE_BYTES: usize = 256 * 1_024;

/// Makes the folder. Only this user may look into it: logs of workers may quote requests.
pub(super) fn make(run: &Path) -> Result<Proof, Finding> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(run);
    made.map_err(|error| io_finding("cannot make the folder", run, &error))?;
    Ok(proof("folders", format!("{} is there", run.display())))
}

/// Writes, syncs, reads back and compares.
pub(super) fn prove(run: &Path, token: u64) -> Result<Proof, Finding> {
    let path = run.join(format!(".probe-{}-{token}", std::process::id()));
    let started = Instant::now();
    let outcome = write_and_read(&path, token);
    // The probe is of no further use, whatever came of it.
    let removed = fs::remove_file(&path);
    let same = outcome.and_then(|same| removed.map(|()| same));
    match same {
        Ok(true) => {
            let milliseconds = started.elapsed().as_millis();
            Ok(proof(
                "write-read-sync",
                format!("{PROBE_BYTES} bytes written, synced and read back in {milliseconds} ms"),
            ))
        }
        Ok(false) => Err(Finding::transient(
            FindingKind::DependencyUnavailable,
            format!("what was written to {} was read back different; the disk is not to be trusted", run.display()),
        )),
        Err(error) => Err(io_finding("cannot write and read back", &path, &error)),
    }
}

fn write_and_read(path: &Path, token: u64) -> io::Result<bool> {
    // A pattern that differs from probe to probe, so that an old file is not taken for the new one.
    let seed = token.to_le_bytes();
    let content: Vec<u8> = (0..PROBE_BYTES).map(|n| seed[n % 8].wrapping_add((n / 8 % 251) as u8)).collect();
    let mut file = File::create(path)?;
    file.write_all(&content)?;
    file.sync_all()?;
    drop(file);
    let mut read = Vec::with_capacity(PROBE_BYTES);
    File::open(path)?.read_to_end(&mut read)?;
    Ok(read == content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Cause;

    #[test]
    fn a_folder_keeps_what_is_written_and_the_probe_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("a/run");
        make(&run).unwrap();
        prove(&run, u64::MAX).unwrap();
        assert_eq!(fs::read_dir(&run).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_is_a_lasting_finding_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let finding = make(&folder.path().join("file/run")).unwrap_err();
        assert_eq!((finding.kind, finding.cause), (FindingKind::Misconfigured, Cause::Deterministic));
        assert!(finding.message.contains("file/run") && finding.message.contains("common.data_dir"), "{finding:?}");
    }

    #[test]
    fn a_folder_that_went_away_may_come_back() {
        let finding = prove(Path::new("/nowhere/run"), 1).unwrap_err();
        assert_eq!((finding.kind, finding.cause), (FindingKind::DependencyUnavailable, Cause::Transient));
    }
}
