//! A fact in one line for a person: which step it was, and what came of it.

use crate::output::Mark;
use slipway_kernel::{Answer, Fact, Finding, Outcome, ValidationReport};

/// A fact for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Whether it went well.
    pub mark: Mark,
    /// What came of it.
    pub text: String,
    /// More lines, indented under it: findings, changes and their reasons.
    pub more: Vec<String>,
}

/// Describes a fact.
#[must_use]
pub fn describe(fact: &Fact) -> Step {
    let mut more: Vec<String> = fact.answer.findings().iter().map(finding).collect();
    let (mark, text) = match &fact.answer {
        Answer::Requested(requested) => (Mark::Note, format!("wanted: {}", requested.deployment.spec.model.uri)),
        Answer::InfrastructureChosen(chosen) if chosen.target.is_empty() => (Mark::Bad, chosen.reason.clone()),
        Answer::InfrastructureChosen(chosen) => (Mark::Good, format!("{}: {}", chosen.target, chosen.reason)),
        Answer::Approved(approved) => (Mark::Good, said("approved", &approved.reason)),
        Answer::Declined(declined) => (Mark::Bad, said("declined", &declined.reason)),
        Answer::InfrastructureReady(ready) => {
            (Mark::Good, format!("{} is ready, {} proofs", ready.target, ready.proofs.len()))
        }
        Answer::PlatformSelected(selected) => {
            let model = &selected.model;
            let text = format!(
                "{}: {} ({}, {} parameters, sha256 {})",
                selected.platform,
                selected.reason,
                model.format,
                model.parameters,
                model.digest.short()
            );
            (Mark::Good, text)
        }
        Answer::Planned(planned) => {
            let plan = &planned.plan;
            more.extend(planned.changes.iter().map(|change| {
                format!(
                    "{}: {} → {} because of {}: {}",
                    change.path, change.from, change.to, change.finding, change.reason
                )
            }));
            let text = format!(
                "{} × {} cpu, {}, batches of up to {} within {}",
                plan.replicas, plan.cpu, plan.memory, plan.max_batch, plan.max_delay
            );
            (Mark::Good, text)
        }
        Answer::Deployed(deployed) => (Mark::Good, format!("{} worker(s) ready", deployed.endpoints.len())),
        Answer::IngressReady(ready)
        | Answer::OutputsReady(ready)
        | Answer::ObservabilityReady(ready)
        | Answer::SecurityReady(ready) => {
            // One name may have been proved in several ways.
            let mut proofs: Vec<&str> = ready.proofs.iter().map(|proof| proof.name.as_str()).collect();
            proofs.dedup();
            (Mark::Good, format!("ready; proved: {}", proofs.join(", ")))
        }
        Answer::Validated(report) => (Mark::Good, checks(report)),
        Answer::ValidationFailed(report) => (Mark::Bad, checks(report)),
        Answer::ValidationInconclusive(report) if report.missing.is_empty() => (Mark::Note, checks(report)),
        Answer::ValidationInconclusive(report) => {
            (Mark::Note, format!("not told yet; missing: {}", report.missing.join(", ")))
        }
        Answer::Shifted(shifted) => (Mark::Good, format!("{} % of the traffic", shifted.percent)),
        Answer::Released(released) => {
            let place = released.replaces.map_or_else(String::new, |id| format!(", in place of {id}"));
            (Mark::Good, format!("released: 100 % of the traffic{place}"))
        }
        Answer::Degraded(_) => (Mark::Bad, "objectives are missed".to_owned()),
        Answer::Recovered(_) => (Mark::Good, "objectives are kept again".to_owned()),
        Answer::RolledBack(back) => {
            // The reason sums them up.
            more.clear();
            (Mark::Note, format!("traffic is on {} again: {}", back.to, back.reason))
        }
        Answer::RollbackRequested(command) => (Mark::Note, said("rollback wanted", &command.reason)),
        Answer::Paused(command) => (Mark::Note, said("paused", &command.reason)),
        Answer::Resumed(command) => (Mark::Note, said("resumed", &command.reason)),
        Answer::RevalidationRequested(command) => (Mark::Note, said("proof wanted again", &command.reason)),
        Answer::RetireRequested(command) => (Mark::Note, said("retirement wanted", &command.reason)),
        Answer::Annulled(annulled) => (Mark::Note, format!("{} no longer counts: {}", annulled.fact, annulled.reason)),
        Answer::Removed(removed) => (Mark::Good, format!("{} thing(s) removed", removed.items.len())),
        Answer::Superseded(superseded) => (Mark::Note, format!("generation {} took its place", superseded.by)),
        Answer::Abandoned(abandoned) => {
            more.push(format!("what to do: {}", abandoned.advice));
            (Mark::Bad, abandoned.reason.clone())
        }
        Answer::Retired(_) => (Mark::Good, "retired".to_owned()),
        Answer::Archived(_) => (Mark::Note, "archived".to_owned()),
        Answer::InfrastructureFailed(_)
        | Answer::PlatformRejected(_)
        | Answer::DeployFailed(_)
        | Answer::IngressFailed(_)
        | Answer::OutputsFailed(_)
        | Answer::ObservabilityFailed(_)
        | Answer::SecurityFailed(_)
        | Answer::RemovalFailed(_) => (Mark::Bad, fact.answer.name().to_owned()),
    };
    Step { mark, text, more }
}

fn said(what: &str, reason: &str) -> String {
    if reason.is_empty() { what.to_owned() } else { format!("{what}: {reason}") }
}

/// A finding in one line: kind, figures, sentence.
#[must_use]
pub fn finding(finding: &Finding) -> String {
    match (finding.measured, finding.wanted) {
        (Some(measured), Some(wanted)) => {
            let figure = |value: f64| format!("{value:.4} {}", finding.unit).trim_end().to_owned();
            format!("{}: {}, wanted {}: {}", finding.kind, figure(measured), figure(wanted), finding.message)
        }
        _ => format!("{}: {}", finding.kind, finding.message),
    }
}

fn checks(report: &ValidationReport) -> String {
    let count = |outcome| report.checks.iter().filter(|check| check.outcome == outcome).count();
    let parts = [
        (Outcome::Passed, "passed"),
        (Outcome::Failed, "failed"),
        (Outcome::Inconclusive, "inconclusive"),
        (Outcome::Skipped, "skipped"),
    ];
    let told: Vec<String> = parts
        .iter()
        .filter(|(outcome, _)| count(*outcome) > 0)
        .map(|(outcome, word)| format!("{} {word}", count(*outcome)))
        .collect();
    format!("checks: {}", told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::FindingKind;

    #[test]
    fn a_figure_without_a_unit_has_no_gap_behind_it() {
        let wrong = Finding::deterministic(FindingKind::OutputMismatch, "rows differ".to_owned());
        let told = |unit: &str| finding(&wrong.clone().with_figures(1.0, 0.001, unit));
        assert_eq!(told(""), "output-mismatch: 1.0000, wanted 0.0010: rows differ");
        assert_eq!(told("ms"), "output-mismatch: 1.0000 ms, wanted 0.0010 ms: rows differ");
    }
}
