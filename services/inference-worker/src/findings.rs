//! The last words of a worker that fails: a small file for the controller.
//!
//! A process that ends says only a number. The controller must know whether to try again, to give more memory or to give up, so the
//! reason is written as a finding, which the loop understands.

use std::path::{Path, PathBuf};
use std::{fs, io};

use slipway_kernel::{Cause, Finding, FindingKind};
use slipway_runtime::lanes::LanesError;

use crate::config::WorkerConfig;
use crate::engine::EngineError;
use crate::error::WorkerError;

/// The most bytes of it: Kubernetes keeps 4,096 of a container's last message and cuts the rest off, which would leave no JSON.
pub const MAX_BYTES: usize = 4_000;

/// Where the findings are written: where the settings say, else below the data folder.
#[must_use]
pub fn path(data_dir: &Path, worker: &WorkerConfig) -> PathBuf {
    let own = || data_dir.join("run").join(format!("{}.findings.json", worker.instance));
    worker.findings_file.clone().unwrap_or_else(own)
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
        // It may be on its way still.
        WorkerError::Model(EngineError::ServerSilent { .. }) => (FindingKind::StartTimeout, Transient),
        WorkerError::Model(error) | WorkerError::Measure(error) => (model(error), Deterministic),
        WorkerError::OutOfMemory { .. } => (FindingKind::OutOfMemory, Deterministic),
        WorkerError::Thread(_) | WorkerError::Listen { .. } | WorkerError::Lanes(LanesError::Start(_)) => {
            (FindingKind::Unschedulable, Transient)
        }
        WorkerError::Unassigned | WorkerError::Golden { .. } => (FindingKind::Misconfigured, Deterministic),
        WorkerError::LostThread | WorkerError::Tls(_) | WorkerError::Server(_) | WorkerError::Lanes(_) => {
            (FindingKind::Crashed, Transient)
        }
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
        EngineError::GoldenUnreadable { .. } | EngineError::Repository { .. } => FindingKind::Misconfigured,
        EngineError::ServerSilent { .. } => FindingKind::StartTimeout,
        EngineError::Differs { .. } => FindingKind::OutputMismatch,
        EngineError::NoGpu(_) => FindingKind::InfrastructureUnsuitable,
        EngineError::DoesNotFit(_) => FindingKind::Unschedulable,
        EngineError::Unavailable(_)
        | EngineError::ServerRefuses { .. }
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

/// Writes the findings whole or not at all. A file that somebody has put there is filled, since it may be a mount, which cannot be
/// replaced; who put it there reads it when this process has ended.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, findings: &[Finding]) -> io::Result<()> {
    let text = text(findings, MAX_BYTES);
    if path.exists() {
        return fs::write(path, text);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let part = path.with_extension("part");
    fs::write(&part, text)?;
    fs::rename(&part, path)
}

/// The findings as JSON in at most so many bytes: the last pieces of evidence go first, then the ends of long messages, then the last findings.
fn text(findings: &[Finding], most: usize) -> String {
    let mut kept = findings.to_vec();
    while json(&kept).len() > most {
        if let Some(finding) = kept.iter_mut().rev().find(|finding| !finding.evidence.is_empty()) {
            finding.evidence.pop();
        } else if let Some(shorter) = shortened(&kept, most) {
            kept = shorter;
        } else {
            kept.pop();
        }
    }
    json(&kept)
}

fn json(findings: &[Finding]) -> String {
    // A tree of texts and numbers always has JSON; if not, there is nothing to say.
    serde_json::to_string(findings).unwrap_or_else(|_| "[]".to_owned())
}

/// The same findings with each message cut to as many characters as there is room for; none if even that is too much.
fn shortened(findings: &[Finding], most: usize) -> Option<Vec<Finding>> {
    let cut = |characters: usize| -> Vec<Finding> {
        let cut = |finding: &Finding| Finding { message: beginning(&finding.message, characters), ..finding.clone() };
        findings.iter().map(cut).collect()
    };
    let fits = |characters: &usize| json(&cut(*characters)).len() <= most;
    // What fits is found by halving: a longer text never takes less.
    let (mut least, mut beyond) = (0, most);
    if !fits(&least) {
        return None;
    }
    while beyond - least > 1 {
        let middle = least.midpoint(beyond);
        if fits(&middle) {
            least = middle;
        } else {
            beyond = middle;
        }
    }
    Some(cut(least))
}

/// So many characters of a text; one that goes on says so.
fn beginning(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    let mut beginning: String = text.chars().take(characters.saturating_sub(1)).collect();
    if characters > 0 {
        beginning.push('…');
    }
    beginning
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::ByteSize;

    #[test]
    fn findings_are_written_whole_with_the_chain_of_reasons() {
        let folder = tempfile::tempdir().unwrap();
        let worker = WorkerConfig { instance: "digits-1-1-0-aa".into(), ..WorkerConfig::default() };
        let path = path(folder.path(), &worker);
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

    #[test]
    fn a_file_that_is_there_is_filled_and_not_replaced() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        let mounted = folder.path().join("termination-log");
        fs::write(&mounted, "x".repeat(10_000)).unwrap();
        let before = fs::metadata(&mounted).unwrap().ino();
        let worker = WorkerConfig { findings_file: Some(mounted.clone()), ..WorkerConfig::default() };
        assert_eq!(path(folder.path(), &worker), mounted);
        write(&mounted, &[Finding::transient(FindingKind::Crashed, "no thread")]).unwrap();
        assert_eq!(fs::metadata(&mounted).unwrap().ino(), before);
        let read: Vec<Finding> = serde_json::from_slice(&fs::read(&mounted).unwrap()).unwrap();
        assert_eq!(read[0].message, "no thread");
    }

    #[test]
    fn evidence_goes_before_words_and_words_before_findings() {
        let finding = |message: &str| Finding::deterministic(FindingKind::Crashed, message);
        let (one, two) = (finding("one of many"), finding("two of many"));
        let full = [one.clone().with_evidence("a".repeat(50)).with_evidence("b".repeat(50)), two.clone()];
        let read = |most: usize| serde_json::from_str::<Vec<Finding>>(&text(&full, most)).unwrap();
        assert_eq!(read(1_000), full);
        assert_eq!(read(json(&full).len() - 1)[0].evidence, ["a".repeat(50)]);
        let bare = json(&[one.clone(), two.clone()]).len();
        assert_eq!(read(bare), [one, two]);
        assert_eq!(read(bare - 1), [finding("one of …"), finding("two of …")]);
        assert_eq!(read(bare / 2), [finding("one of …")], "one is better than none");
        assert_eq!(text(&full, 10), "[]");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_to_be_said_the_last_message_is_json_that_fits(
            said in proptest::collection::vec(
                ("(?s).{0,3000}", proptest::collection::vec("(?s).{0,800}", 0..8)), 1..6
            )
        ) {
            let findings: Vec<Finding> = said
                .into_iter()
                .map(|(message, evidence)| Finding {
                    evidence,
                    ..Finding::deterministic(FindingKind::PlatformUnsuitable, message)
                })
                .collect();
            let text = text(&findings, MAX_BYTES);
            proptest::prop_assert!(text.len() <= MAX_BYTES, "{} bytes", text.len());
            let read: Vec<Finding> = serde_json::from_str(&text).unwrap();
            // So few always fit, with the beginning of what they say.
            proptest::prop_assert_eq!(read.len(), findings.len());
            for (kept, whole) in read.iter().zip(&findings) {
                proptest::prop_assert_eq!((kept.kind, kept.cause), (whole.kind, whole.cause));
                let beginning = kept.message.trim_end_matches('…');
                proptest::prop_assert!(whole.message.starts_with(beginning), "{} of {}", kept.message, whole.message);
            }
            if json(&findings).len() <= MAX_BYTES {
                proptest::prop_assert_eq!(read, findings);
            }
        }
    }
}
