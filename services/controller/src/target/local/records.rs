//! What lies in `<data>/run/` for each worker: its settings, its log, what the controller remembers of it, and the
//! findings it may leave behind. A controller that was killed is followed by one that reads these and knows whom it
//! finds.

use super::process::Identity;
use crate::target::Group;
use serde::{Deserialize, Serialize};
use slipway_kernel::{DeploymentId, Finding, Plan, RevisionId, Timestamp};
use std::{
    fs, io,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

/// Logs of ended workers that are kept: enough to look at every try of a few deployments.
const KEPT_LOGS: usize = 100;
/// How much of a log's end is kept as evidence.
const TAIL_BYTES: u64 = 16 << 10;

/// What the controller remembers of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The worker's name.
    pub(super) instance: String,
    /// Whose model.
    pub(super) deployment: String,
    /// Which revision.
    pub(super) revision: RevisionId,
    /// Which try.
    pub(super) attempt: u32,
    /// Which of the workers of the revision, from 0.
    pub(super) number: u32,
    /// How it was started.
    pub(super) plan: Plan,
    /// The fencing token under which it was started.
    pub(super) token: u64,
    /// When.
    pub(super) started: Timestamp,
    /// Its process; none when the controller was killed between the decision and the start. Nobody lists such a worker,
    /// so it ends by itself, if it was started at all.
    pub(super) process: Option<Identity>,
}

impl Record {
    /// Which try at which revision it belongs to; `None` if the file was tampered with.
    #[must_use]
    pub(super) fn group(&self) -> Option<Group> {
        let deployment: DeploymentId = self.deployment.parse().ok()?;
        Some(Group { deployment, revision: self.revision, attempt: self.attempt })
    }
}

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Records {
    folder: PathBuf,
}

impl Records {
    /// `<data>/run`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn open(data: &Path) -> io::Result<Self> {
        let folder = data.join("run");
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// The settings file of a worker.
    #[must_use]
    pub(super) fn settings(&self, instance: &str) -> PathBuf {
        self.file(instance, "toml")
    }

    /// The log of a worker.
    #[must_use]
    pub(super) fn log(&self, instance: &str) -> PathBuf {
        self.file(instance, "log")
    }

    fn file(&self, instance: &str, ending: &str) -> PathBuf {
        self.folder.join(format!("{instance}.{ending}"))
    }

    /// Writes what is to be remembered, whole or not at all.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(record).map_err(io::Error::other)?;
        self.replace(&self.file(&record.instance, "json"), &text)
    }

    /// Writes the settings of a worker, readable by its user only: they say where a key lies.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn write_settings(&self, instance: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.settings(instance);
        self.replace(&path, text.as_bytes())?;
        Ok(path)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = self.folder.join(format!(".{name}.new"));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(content)?;
        // No sync: after a power cut no worker runs, and nothing is to be remembered of it.
        drop(file);
        fs::rename(&beside, path)
    }

    /// All that is remembered. A file that cannot be read is passed over and reported.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(super) fn all(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') || !name.ends_with(".json") || name.ends_with(".findings.json") {
                continue;
            }
            match fs::read(&path).and_then(|text| serde_json::from_slice(&text).map_err(io::Error::other)) {
                Ok(record) => records.push(record),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a record cannot be read");
                }
            }
        }
        Ok(records)
    }

    /// The findings that an ended worker left behind.
    #[must_use]
    pub(super) fn findings(&self, instance: &str) -> Vec<Finding> {
        let read = fs::read(self.file(instance, "findings.json"));
        read.ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// The end of a worker's log.
    #[must_use]
    pub(super) fn tail(&self, instance: &str) -> String {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = fs::File::open(self.log(instance))?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            let mut tail = Vec::new();
            file.take(TAIL_BYTES).read_to_end(&mut tail)?;
            Ok(tail)
        };
        read().map(|tail| String::from_utf8_lossy(&tail).into_owned()).unwrap_or_default()
    }

    /// Forgets a worker that ended. Its log stays, as long as it is among the newest.
    pub(super) fn forget(&self, instance: &str) {
        for ending in ["json", "toml", "findings.json"] {
            // What is not there need not be removed.
            let _ = fs::remove_file(self.file(instance, ending));
        }
        self.prune();
    }

    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut logs: Vec<(std::time::SystemTime, PathBuf)> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "log"))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .filter(|(_, path)| !path.with_extension("json").exists())
            .collect();
        logs.sort();
        let old = logs.len().saturating_sub(KEPT_LOGS);
        for (_, path) in logs.drain(..old) {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::scenario::plan;
    use slipway_kernel::FindingKind;

    pub(in crate::target::local) fn record(instance: &str) -> Record {
        Record {
            instance: instance.into(),
            deployment: "default.digits".into(),
            revision: RevisionId::new(2, 1),
            attempt: 0,
            number: 1,
            plan: plan(),
            token: 7,
            started: Timestamp(5),
            process: Identity::of(std::process::id()),
        }
    }

    #[test]
    fn what_is_remembered_is_found_again_and_forgotten() {
        let data = tempfile::tempdir().unwrap();
        let records = Records::open(data.path()).unwrap();
        records.write(&record("a")).unwrap();
        records.write(&Record { process: None, ..record("b") }).unwrap();
        fs::write(data.path().join("run/c.json"), "{").unwrap();
        let finding = vec![Finding::deterministic(FindingKind::ArtifactInvalid, "no model")];
        fs::write(data.path().join("run/a.findings.json"), serde_json::to_vec(&finding).unwrap()).unwrap();
        fs::write(records.log("a"), "x".repeat(20_000) + "the end").unwrap();
        let mut found = records.all().unwrap();
        found.sort_by(|a, b| a.instance.cmp(&b.instance));
        assert_eq!(found, [record("a"), Record { process: None, ..record("b") }]);
        assert_eq!(records.findings("a"), finding);
        assert_eq!(records.findings("b"), []);
        let tail = records.tail("a");
        assert!(tail.ends_with("the end") && tail.len() == 16 << 10);
        records.forget("a");
        assert_eq!(records.all().unwrap().len(), 1);
        assert!(records.log("a").exists(), "the log of an ended worker stays");
    }

    #[test]
    fn settings_are_for_their_user_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        let path = Records::open(data.path()).unwrap().write_settings("a", "[worker]\n").unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn old_logs_go_and_those_of_living_workers_stay() {
        let data = tempfile::tempdir().unwrap();
        let records = Records::open(data.path()).unwrap();
        records.write(&record("living")).unwrap();
        fs::write(records.log("living"), "").unwrap();
        for n in 0..KEPT_LOGS + 5 {
            fs::write(records.log(&format!("ended-{n}")), "").unwrap();
        }
        records.forget("ended-0");
        let logs = fs::read_dir(data.path().join("run")).unwrap().filter_map(Result::ok);
        let logs = logs.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "log")).count();
        assert_eq!(logs, KEPT_LOGS + 1);
        assert!(records.log("living").exists());
    }
}
