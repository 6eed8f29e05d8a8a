//! The program that serves the model: it is there, and it starts.

use super::proof;
use serde::Deserialize;
use slipway_kernel::{Finding, FindingKind, Proof};
use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};
use tokio::{process::Command, time::timeout};

/// A program that says its version does so at once; ten seconds allow for a cold, busy disk.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is quoted of its answer.
const QUOTED: usize = 200;
/// The worker as a program of its own.
const WORKER: &str = "slipway-inference-worker";
/// The command line that can be any service, and what makes it a worker.
const COMMAND_LINE: (&str, &str) = ("slipway", "inference-worker");

/// Engines that a worker has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Engines {
    /// Their names.
    #[serde(rename = "engines")]
    pub found: Vec<String>,
    /// Why ONNX Runtime is not among them, if it is not.
    #[serde(default)]
    pub note: String,
    /// Why none of them computes on a GPU, or not all that could.
    #[serde(default, rename = "gpuNote")]
    pub gpu_note: String,
}

/// Runs it with `--version`.
pub(super) async fn check(configured: &[String]) -> Result<Proof, Finding> {
    let command = command(configured)?;
    let shown = command.join(" ");
    let lasting = |why: String| {
        let message =
            format!("the inference worker `{shown}` cannot be used: {why}; set local.worker to a command that works");
        Finding::deterministic(FindingKind::ImageUnavailable, message).with_evidence(shown.clone())
    };
    let output = match ask(&command, "--version").await {
        Asked::Answered(output) => output,
        Asked::NotStarted(why) => return Err(lasting(why)),
        Asked::TooLate => {
            let message =
                format!("the inference worker `{shown}` did not say its version within {} s", PATIENCE.as_secs());
            return Err(Finding::transient(FindingKind::StartTimeout, message));
        }
    };
    if !output.status.success() {
        return Err(lasting(format!("it ended with {}: {}", output.status, quoted(&output.stderr))));
    }
    Ok(proof("worker-program", format!("`{shown} --version` says {}", quoted(&output.stdout))))
}

/// Runs it with `--engines`: only the worker knows where it looks for a library, and whether that loads.
pub(super) async fn engines(configured: &[String]) -> Engines {
    let unknown =
        |why: String| Engines { note: format!("the worker does not say its engines: {why}"), ..Engines::default() };
    let Ok(command) = command(configured) else { return unknown("it is not there".to_owned()) };
    match ask(&command, "--engines").await {
        Asked::Answered(output) if output.status.success() => serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| unknown(format!("`--engines` gives {}", quoted(&output.stdout)))),
        Asked::Answered(output) => unknown(format!("it ended with {}: {}", output.status, quoted(&output.stderr))),
        Asked::NotStarted(why) => unknown(why),
        Asked::TooLate => unknown(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

enum Asked {
    Answered(Output),
    NotStarted(String),
    TooLate,
}

async fn ask(command: &[String], flag: &str) -> Asked {
    let Some((program, arguments)) = command.split_first() else { return Asked::NotStarted("no command".to_owned()) };
    let child = Command::new(program).args(arguments).arg(flag).stdin(Stdio::null()).kill_on_drop(true).output();
    match timeout(PATIENCE, child).await {
        Ok(Ok(output)) => Asked::Answered(output),
        Ok(Err(error)) => Asked::NotStarted(error.to_string()),
        Err(_) => Asked::TooLate,
    }
}

fn command(configured: &[String]) -> Result<Vec<String>, Finding> {
    match configured {
        [] => find(&beside()),
        configured => Ok(configured.to_vec()),
    }
}

/// The folder of this program.
fn beside() -> Option<PathBuf> {
    std::env::current_exe().ok()?.parent().map(Path::to_owned)
}

fn find(folder: &Option<PathBuf>) -> Result<Vec<String>, Finding> {
    let here = folder.as_deref();
    let own = here.map(|folder| folder.join(WORKER)).filter(|path| path.is_file());
    if let Some(program) = own {
        return Ok(vec![program.display().to_string()]);
    }
    let (name, service) = COMMAND_LINE;
    let any = here.map(|folder| folder.join(name)).filter(|path| path.is_file());
    if let Some(program) = any {
        return Ok(vec![program.display().to_string(), service.to_owned()]);
    }
    let place = here.map_or_else(|| "this program".to_owned(), |folder| folder.display().to_string());
    let message = format!("neither `{WORKER}` nor `{name}` is in {place}; install one there, or set local.worker");
    Err(Finding::deterministic(FindingKind::ImageUnavailable, message).with_evidence(place))
}

/// The first line, without what a terminal would obey.
fn quoted(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(&output[..output.len().min(QUOTED)]);
    let line = text.lines().next().unwrap_or("").trim();
    let clean: String = line.chars().filter(|c| !c.is_control()).collect();
    if clean.is_empty() { "nothing".to_owned() } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Cause;

    fn shell(script: &str) -> Vec<String> {
        vec!["/bin/sh".into(), "-c".into(), script.into()]
    }

    #[tokio::test]
    async fn a_worker_that_says_its_version_is_proved_by_it() {
        let proof = check(&shell("printf 'worker 1.2\\033[31m\\nmore'")).await.unwrap();
        assert!(proof.detail.ends_with("says worker 1.2[31m"), "{}", proof.detail);
    }

    #[tokio::test]
    async fn a_worker_that_fails_or_is_missing_is_a_lasting_finding_that_says_why() {
        let failing = check(&shell("echo 'no such library' >&2; exit 3")).await.unwrap_err();
        assert!(failing.message.contains("exit status: 3: no such library"), "{}", failing.message);
        let missing = check(&["/nowhere/worker".to_owned()]).await.unwrap_err();
        assert_eq!((missing.kind, missing.cause), (FindingKind::ImageUnavailable, Cause::Deterministic));
        assert!(missing.message.contains("local.worker"), "{}", missing.message);
    }

    #[tokio::test]
    async fn the_worker_says_its_engines_and_what_it_does_not_say_is_not_counted_on() {
        let both = engines(&shell(r#"echo '{"engines":["onnxruntime","tract"]}'"#)).await;
        assert_eq!(both, Engines { found: vec!["onnxruntime".into(), "tract".into()], ..Engines::default() });
        let one = engines(&shell(r#"echo '{"engines":["tract"],"note":"there is no library"}'"#)).await;
        assert_eq!((one.found.len(), one.note.as_str()), (1, "there is no library"));
        let gpu = engines(&shell(r#"echo '{"engines":["tract"],"gpuNote":"tract-cuda: no cudart"}'"#)).await;
        assert_eq!(gpu.gpu_note, "tract-cuda: no cudart");
        for (script, word) in
            [("echo worker 1.0", "gives worker 1.0"), ("echo what >&2; exit 2", "exit status: 2: what")]
        {
            let unknown = engines(&shell(script)).await;
            assert!(unknown.found.is_empty() && unknown.note.contains(word), "{unknown:?}");
        }
        assert!(engines(&["/nowhere/worker".to_owned()]).await.note.contains("does not say"));
    }

    #[test]
    fn the_own_program_is_preferred_to_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let place = Some(folder.path().to_owned());
        assert!(find(&place).unwrap_err().message.contains("neither"));
        std::fs::write(folder.path().join("slipway"), "").unwrap();
        assert_eq!(find(&place).unwrap().last().unwrap(), "inference-worker");
        std::fs::write(folder.path().join(WORKER), "").unwrap();
        assert_eq!(find(&place).unwrap().len(), 1);
    }
}
