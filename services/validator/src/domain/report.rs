//! The report for a person, and what of it fits a fact.

use super::{assignment::Assignment, judge::load::Repeat, verdict::Verdict};
use serde_json::{Value, json};
use slipway_kernel::{Check, Finding, Outcome, Slot};
use std::{fmt::Write, time::Duration};

/// The most checks or findings of one fact. There are twelve checks; no check has more than a few findings.
const MAX_ENTRIES: usize = 64;
/// The longest sentence of a fact, in characters. With the most entries a fact stays far below its 256 KiB.
const MAX_SENTENCE: usize = 600;
/// The most pieces of evidence of one finding.
const MAX_EVIDENCE: usize = 12;

/// One proof, told.
#[derive(Clone, Debug)]
pub struct Told<'a> {
    /// What was to be proved.
    pub assignment: &'a Assignment,
    /// The run: also the correlation id of its requests.
    pub run: &'a str,
    /// How it came out.
    pub verdict: Verdict,
    /// Every check.
    pub checks: &'a [Check],
    /// What failed.
    pub findings: &'a [Finding],
    /// The repeats of the load.
    pub repeats: &'a [Repeat],
    /// How long it took.
    pub took: Duration,
}

impl Told<'_> {
    /// For a person.
    #[must_use]
    pub fn markdown(&self) -> String {
        let Self { assignment, run, verdict, checks, findings, repeats, took } = self;
        let mut text = format!(
            "# Validation of {} {}: {verdict}\n\nRun `{run}`, attempt {}, {:.1} s. Plan `{}`: {} worker(s), batches of up to {} within {}, queue of {}, {} per worker.\n",
            assignment.deployment,
            assignment.revision,
            assignment.attempt,
            took.as_secs_f64(),
            assignment.plan_digest.short(),
            assignment.plan.replicas,
            assignment.plan.max_batch,
            assignment.plan.max_delay,
            assignment.plan.queue_limit,
            assignment.plan.memory,
        );
        text.push_str(&decided(findings, checks));
        text.push_str(
            "\n## Checks\n\n| check | outcome | measured | wanted | noise | detail |\n|---|---|---|---|---|---|\n",
        );
        for check in *checks {
            // Writing into a String cannot fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                check.name,
                word(check.outcome),
                figure(check.measured, &check.unit),
                figure(check.wanted, &check.unit),
                check.noise.map_or(String::new(), |noise| format!("±{noise:.2}")),
                cell(&check.detail),
            );
        }
        text.push_str(&load(repeats));
        text.push_str(METHOD);
        text
    }

    /// For a program.
    #[must_use]
    pub fn json(&self) -> Value {
        let Self { assignment, run, verdict, checks, findings, repeats, took } = self;
        json!({
            "deployment": assignment.deployment.to_string(),
            "revision": assignment.revision,
            "attempt": assignment.attempt,
            "run": run,
            "verdict": verdict.to_string(),
            "planDigest": assignment.plan_digest,
            "seconds": took.as_secs_f64(),
            "checks": checks,
            "findings": findings,
            "repeats": repeats,
        })
    }
}

const METHOD: &str = "
## How it was measured

Requests went through the ingress with the validator's own mark, so that their results are kept in probe sinks only. Load is an
open loop: requests leave at the wanted times whatever the answers do, and latency counts from the time a request was due
(coordinated omission corrected). A figure decides only when the band of its repeats lies wholly on one side of the target; a
miss while others kept the machine busy does not count against the revision.
";

fn decided(findings: &[Finding], checks: &[Check]) -> String {
    let mut text = String::new();
    if !findings.is_empty() {
        text.push_str("\n## What failed\n\n");
        for finding in findings {
            let _ = writeln!(text, "- **{}**: {}", finding.kind, cell(&finding.message));
            for evidence in &finding.evidence {
                let _ = writeln!(text, "  - {}", cell(evidence));
            }
        }
    }
    let open: Vec<&Check> = checks.iter().filter(|check| check.outcome == Outcome::Inconclusive).collect();
    if !open.is_empty() {
        text.push_str("\n## What could not be told\n\n");
        for check in open {
            let _ = writeln!(text, "- **{}**: {}", check.name, cell(&check.detail));
        }
    }
    text
}

fn load(repeats: &[Repeat]) -> String {
    if repeats.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "\n## Load\n\n| repeat | requests/s | sent | answered | failed | p50 ms | p99 ms | sustained/s | used by others |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for (n, repeat) in repeats.iter().enumerate() {
        let _ = writeln!(
            text,
            "| {} | {:.1} | {} | {} | {} | {:.2} | {:.2} | {:.1}{} | {}{} |",
            n + 1,
            repeat.rate,
            repeat.sent,
            repeat.ok,
            repeat.failed(),
            repeat.p50_ms,
            repeat.p99_ms,
            repeat.throughput,
            if repeat.backlog_grew { " (a backlog grew)" } else { "" },
            repeat.foreign.map_or_else(|| "unknown".to_owned(), |share| format!("{:.0} %", share * 100.0)),
            if repeat.late { " (generator late)" } else { "" },
        );
    }
    text
}

/// The report when the four did not all answer.
#[must_use]
pub fn missing_markdown(deployment: &str, revision: &str, missing: &[Slot]) -> String {
    let names: Vec<String> =
        missing.iter().map(|slot| format!("- {slot} (answered by {})", slot.answered_by())).collect();
    format!(
        "# Validation of {deployment} {revision}: inconclusive\n\nNothing was proved, because these did not answer in time:\n\n{}\n",
        names.join("\n")
    )
}

/// What of the checks and findings goes into a fact: all of them, with sentences cut to a bound.
#[must_use]
pub fn fit(checks: &[Check], findings: &[Finding]) -> (Vec<Check>, Vec<Finding>) {
    let checks = checks.iter().take(MAX_ENTRIES).map(|check| Check { detail: cut(&check.detail), ..check.clone() });
    let findings = findings.iter().take(MAX_ENTRIES).map(|finding| Finding {
        message: cut(&finding.message),
        evidence: finding.evidence.iter().take(MAX_EVIDENCE).map(|evidence| cut(evidence)).collect(),
        ..finding.clone()
    });
    (checks.collect(), findings.collect())
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MAX_SENTENCE {
        return text.to_owned();
    }
    text.chars().take(MAX_SENTENCE - 1).chain(['…']).collect()
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "**failed**",
        Outcome::Inconclusive => "inconclusive",
        Outcome::Skipped => "skipped",
    }
}

fn figure(value: Option<f64>, unit: &str) -> String {
    match value {
        None => String::new(),
        // A difference between two numbers of the model: of any size, and without a unit.
        Some(value) if unit.is_empty() => format!("{value:.3e}"),
        Some(value) if unit == "ratio" => format!("{value:.6} {unit}"),
        Some(value) => format!("{value:.2} {unit}"),
    }
}

/// Text of others must not break the table or begin a heading.
fn cell(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::judge::Judged, samples::assignment};
    use slipway_kernel::{Answer, FindingKind, ValidationReport};

    #[test]
    fn the_report_says_what_failed_what_is_open_and_how_the_load_went() {
        let assignment = assignment();
        let finding =
            Finding::deterministic(FindingKind::Latency, "slow | very\nslow").with_evidence("spec.slo.latencyP99");
        let checks = [
            Judged::failed("latency-p99", finding.clone().with_figures(80.0, 50.0, "ms")).check,
            Judged::inconclusive("sinks", "nobody answers").check,
        ];
        let repeats = [Repeat { rate: 50.0, sent: 50, ok: 50, p99_ms: 80.0, foreign: Some(0.1), ..Repeat::default() }];
        let told = Told {
            assignment: &assignment,
            run: "r-1",
            verdict: Verdict::Failed,
            checks: &checks,
            findings: &[finding],
            repeats: &repeats,
            took: Duration::from_secs(3),
        };
        let text = told.markdown();
        for part in [
            "# Validation of default.digits 1-1: failed",
            "- **latency**: slow \\| very slow",
            "- **sinks**: nobody answers",
            "| latency-p99 | **failed** | 80.00 ms | 50.00 ms |",
            "| 1 | 50.0 | 50 | 50 | 0 | 0.00 | 80.00 |",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(told.json()["verdict"], "failed");
        assert_eq!(told.json()["revision"], "1-1");
    }

    #[test]
    fn a_fact_is_never_too_large_whatever_the_checks_say() {
        let long = "ä".repeat(100_000);
        let mut finding = Finding::deterministic(FindingKind::AuthHole, long.clone());
        finding.evidence = vec![long.clone(); 1_000];
        let checks = vec![Judged::inconclusive("c", long).check; 1_000];
        let (checks, findings) = fit(&checks, &vec![finding; 5]);
        let report = ValidationReport { checks, findings, missing: Vec::new(), report: None, plan_digest: None };
        let size = Answer::ValidationFailed(report).to_json().unwrap().to_string().len();
        assert!(size < 200 << 10, "{size}");
    }
}
