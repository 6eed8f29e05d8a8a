//! `slipway broker-reload`: beside a nats-server, which reads certificates and permissions only when it is told to.

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use slipway_kernel::{Digest, Refusal, Span};
use slipway_runtime::{Common, Frame, ServiceConfig};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    /// What every process has.
    common: Common,
    /// The files that the server reads.
    files: Vec<PathBuf>,
    /// The file in which the server notes its process number.
    pid_file: PathBuf,
    /// How often the files are looked at. Kubernetes itself takes up to a minute to show a change.
    every: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            common: Common::default(),
            files: Vec::new(),
            pid_file: PathBuf::from("/run/nats/nats.pid"),
            every: Span::seconds(5),
        }
    }
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "broker-reload";
    const ABOUT: &'static str = "Has a nats-server read its configuration again whenever one of its files changes.";

    fn common(&self) -> &Common {
        &self.common
    }

    fn check(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        if self.files.is_empty() {
            refusals.push(Refusal::new("files", "[]", "the files that the server reads"));
        }
        if !(Span::millis(100)..=Span::seconds(3_600)).contains(&self.every) {
            refusals.push(Refusal::new("every", self.every, "100ms to 1h"));
        }
        refusals
    }
}

/// Runs until shutdown.
///
/// # Errors
/// None: what cannot be read or told now is tried again.
pub(crate) async fn run(config: Config, frame: Frame) -> anyhow::Result<()> {
    // Whatever changed before this process began is told once too often rather than never.
    let mut known = None;
    loop {
        tokio::select! {
            () = frame.shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(config.every.0) => {}
        }
        // A file that is being replaced is there in a moment.
        let Ok(now) = content(&config.files) else { continue };
        if known.as_ref() == Some(&now) {
            continue;
        }
        match tell(&config.pid_file) {
            Ok(pid) => {
                tracing::info!(pid, "the server was told to read its configuration again");
                known = Some(now);
            }
            Err(error) => tracing::warn!(%error, file = %config.pid_file.display(), "the server cannot be told yet"),
        }
    }
}

/// What all files together digest to.
fn content(files: &[PathBuf]) -> io::Result<Digest> {
    let mut all = Vec::new();
    for file in files {
        all.extend_from_slice(Digest::of(&fs::read(file)?).as_str().as_bytes());
    }
    Ok(Digest::of(&all))
}

fn tell(pid_file: &Path) -> io::Result<i32> {
    let text = fs::read_to_string(pid_file)?;
    let number = text.trim().parse::<i32>().map_err(io::Error::other)?;
    // 0 and below are groups of processes, 1 is the pod's first.
    let pid = (number > 1).then(|| Pid::from_raw(number)).flatten();
    let pid = pid.ok_or_else(|| io::Error::other("no process number"))?;
    kill_process(pid, Signal::HUP)?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_file_is_seen_and_one_that_is_away_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|name| folder.path().join(name));
        assert!(content(&files).is_err());
        for file in &files {
            fs::write(file, "one").unwrap();
        }
        let before = content(&files).unwrap();
        fs::write(&files[1], "two").unwrap();
        assert_ne!(content(&files).unwrap(), before);
    }

    #[test]
    fn only_a_process_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        for text in ["", "x", "0", "1", "-7"] {
            fs::write(&file, text).unwrap();
            assert!(tell(&file).is_err(), "{text:?}");
        }
    }
}
