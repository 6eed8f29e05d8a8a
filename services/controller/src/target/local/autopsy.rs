//! Why a worker died.

use slipway_kernel::{Finding, FindingKind};

/// What is known of a death that nobody asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Death {
    /// The worker.
    pub(super) instance: String,
    /// Resident bytes when it was killed for its memory, if it was.
    pub(super) killed_at_bytes: Option<u64>,
    /// Whether the kernel killed it for its memory.
    pub(super) out_of_memory: bool,
    /// Its planned memory limit, in bytes.
    pub(super) memory_bytes: u64,
    /// What it said itself.
    pub(super) findings: Vec<Finding>,
    /// How it ended, as far as that is known.
    pub(super) status: String,
    /// The end of its log.
    pub(super) tail: String,
}

/// The longest line of a log that goes into a fact: enough to recognise an error, too little to hold a payload.
const MAX_LINE: usize = 300;

/// The findings of a death: memory first, for a process that is killed can say nothing; then what it said; else that it
/// ended.
#[must_use]
pub(super) fn autopsy(death: &Death) -> Vec<Finding> {
    let evidence = format!("run/{}.log", death.instance);
    if death.killed_at_bytes.is_some() || death.out_of_memory {
        let finding =
            Finding::deterministic(FindingKind::OutOfMemory, "the worker passed its memory limit and was killed");
        let limit = crate::domain::plan::to_f64(death.memory_bytes);
        let measured = death.killed_at_bytes.map_or(limit, crate::domain::plan::to_f64);
        return vec![finding.with_figures(measured, limit, "bytes").with_evidence(evidence)];
    }
    if !death.findings.is_empty() {
        let add = |finding: &Finding| finding.clone().with_evidence(evidence.clone());
        return death.findings.iter().map(add).collect();
    }
    let last = death.tail.lines().rev().find(|line| !line.trim().is_empty());
    let said: String = last.unwrap_or_default().chars().take(MAX_LINE).collect();
    let said = if said.is_empty() { "and said nothing".to_owned() } else { format!("and last said: {said}") };
    let message = format!("the worker ended by itself ({}) {said}", death.status);
    vec![Finding::deterministic(FindingKind::Crashed, message).with_evidence(evidence)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death() -> Death {
        Death { instance: "a".into(), memory_bytes: 512, status: "exit status: 1".into(), ..Death::default() }
    }

    #[test]
    fn who_was_killed_for_memory_has_a_finding_with_figures() {
        let own = vec![Finding::transient(FindingKind::Crashed, "x")];
        let [finding] = &autopsy(&Death { killed_at_bytes: Some(600), findings: own, ..death() })[..] else { panic!() };
        assert_eq!(
            (finding.kind, finding.measured, finding.wanted),
            (FindingKind::OutOfMemory, Some(600.0), Some(512.0))
        );
        let [finding] = &autopsy(&Death { out_of_memory: true, ..death() })[..] else { panic!() };
        assert_eq!(finding.kind, FindingKind::OutOfMemory);
    }

    #[test]
    fn who_said_why_is_believed() {
        let own = vec![Finding::deterministic(FindingKind::ArtifactInvalid, "no model")];
        let found = autopsy(&Death { findings: own, ..death() });
        assert_eq!(
            (found[0].kind, found[0].evidence.as_slice()),
            (FindingKind::ArtifactInvalid, &["run/a.log".to_owned()][..])
        );
    }

    #[test]
    fn who_said_nothing_crashed_with_the_last_line_of_his_log() {
        let tail = format!("one\n{}\n\n", "x".repeat(1_000));
        let [finding] = &autopsy(&Death { tail, ..death() })[..] else { panic!() };
        assert_eq!(finding.kind, FindingKind::Crashed);
        assert!(finding.message.starts_with("the worker ended by itself (exit status: 1) and last said: xxx"));
        assert!(finding.message.len() < 400);
        assert!(autopsy(&death())[0].message.ends_with("and said nothing"));
    }
}
