//! The last words of a worker that fails: a small file for the controller.
//!
//! A process that ends says only a number. The controller must know whether to try again, to give more memory or to give up, so the
//! reason is written as a finding, which the loop understands.

use std::path::{Path, PathBuf};
use std::{fs, io};

use slipway_kernel::{Cause, Finding, FindingKind};

use crate::engine::EngineError;
use crate::error::WorkerError;

/// Where the findings of an instance are written, below the data folder.
#[must_use]
pub fn path(data_dir: &Path, instance: &str) -> PathBuf {
    data_dir.join("run").join(format!("{instance}.findings.json"))
}

/// The finding behind an error.
#[must_use]
pub fn finding(error: &WorkerError) -> Finding {
    let (kind, cause) = classify(error);
    let message = chain(error);
    let finding = match cause {
        Cause::Transient => Finding::transient(kind, message),
        Cause::Deterministic => Finding::deterministic(kind, message),
    };
    match error {
        WorkerError::OutOfMemory { used, limit, .. } => finding.with_figures(used.0 as f64, limit.0 as f64, "bytes"),
        _ => finding,
    }
}

fn classify(error: &WorkerError) -> (FindingKind, Cause) {
    use Cause::{Deterministic, Transient};
    match error {
        WorkerError::Bus(_) | WorkerError::Disk(_) => (FindingKind::DependencyUnavailable, Transient),
        WorkerError::Artifact { .. } => (FindingKind::ImageUnavailable, Transient),
        WorkerError::Corrupt { .. } | WorkerError::Unreadable { .. } => (FindingKind::ArtifactInvalid, Deterministic),
        WorkerError::Model(error) | WorkerError::Measure(error) => (model(error), Deterministic),
        WorkerError::OutOfMemory { .. } => (FindingKind::OutOfMemory, Deterministic),
        WorkerError::Thread(_) | WorkerError::Listen { .. } => (FindingKind::Unschedulable, Transient),
        WorkerError::Unassigned | WorkerError::Golden { .. } => (FindingKind::Misconfigured, Deterministic),
        WorkerError::LostThread | WorkerError::Tls(_) | WorkerError::Server(_) => (FindingKind::Crashed, Transient),
    }
}

fn model(error: &EngineError) -> FindingKind {
    match error {
        // The file itself is at fault: no engine would take it.
        EngineError::Unreadable(_) | EngineError::ExternalData(_) | EngineError::UnsupportedType { .. } => {
            FindingKind::ArtifactInvalid
        }
        // A file that some engine finds fault with is at fault, and so is a wrong answer, whatever the other engine lacks.
        EngineError::AllRefuse(refusals) => {
            let kinds: Vec<FindingKind> = refusals.iter().map(|(_, refusal)| model(refusal)).collect();
            let first = [FindingKind::ArtifactInvalid, FindingKind::OutputMismatch, FindingKind::Misconfigured];
            first.into_iter().find(|kind| kinds.contains(kind)).unwrap_or(FindingKind::PlatformUnsuitable)
        }
        EngineError::GoldenUnreadable { .. } => FindingKind::Misconfigured,
        EngineError::Differs { .. } => FindingKind::OutputMismatch,
        EngineError::NoGpu(_) => FindingKind::InfrastructureUnsuitable,
        EngineError::DoesNotFit(_) => FindingKind::Unschedulable,
        EngineError::Unavailable(_)
        | EngineError::Unproved(_)
        | EngineError::MissingOperators(_)
        | EngineError::WrongResults(_)
        | EngineError::Unplannable(_)
        | EngineError::Panicked { .. }
        | EngineError::Run(_)
        | EngineError::Output(_) => FindingKind::PlatformUnsuitable,
    }
}

/// The error with all its causes, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Writes the findings whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, findings: &[Finding]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let part = path.with_extension("part");
    fs::write(&part, serde_json::to_vec_pretty(findings).map_err(io::Error::other)?)?;
    fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::ByteSize;

    #[test]
    fn findings_are_written_whole_with_the_chain_of_reasons() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), "default.digits.1-1.0-aa");
        let error = WorkerError::Model(EngineError::MissingOperators(vec!["Loop (used 1 times)".into()]));
        write(&path, &[finding(&error)]).unwrap();
        let read: Vec<Finding> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(read[0].kind, FindingKind::PlatformUnsuitable);
        assert_eq!(read[0].cause, Cause::Deterministic);
        assert_eq!(read[0].message, "the model cannot be served: the engine lacks the operators: Loop (used 1 times)");
        assert_eq!(fs::read_dir(folder.path().join("run")).unwrap().count(), 1);
    }

    #[test]
    fn too_much_memory_is_told_in_figures() {
        let error = WorkerError::OutOfMemory { used: ByteSize(300), limit: ByteSize(200), when: "while serving" };
        let finding = finding(&error);
        assert_eq!(
            (finding.kind, finding.measured, finding.wanted),
            (FindingKind::OutOfMemory, Some(300.0), Some(200.0))
        );
    }

    #[test]
    fn a_file_at_fault_is_told_from_an_engine_that_lacks_something() {
        let file = WorkerError::Model(EngineError::ExternalData("w".into()));
        assert_eq!(finding(&file).kind, FindingKind::ArtifactInvalid);
        let engine = WorkerError::Model(EngineError::WrongResults(vec![]));
        assert_eq!(finding(&engine).kind, FindingKind::PlatformUnsuitable);
    }
}
