//! Every answered request is in the probe sinks exactly once.

use super::{Judged, float, names::SINKS};
use slipway_kernel::{Finding, FindingKind, RevisionId};
use std::collections::{BTreeMap, BTreeSet};

/// One row of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The request.
    pub request_id: String,
    /// The trace it belongs to.
    pub trace_id: String,
    /// Who computed it.
    pub revision: RevisionId,
}

/// What was looked for and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Ids of the answered requests.
    pub answered: BTreeSet<String>,
    /// Answered requests beyond those that were kept track of.
    pub untracked: u64,
    /// Requests whose end is not known (timed out, connection broken): they may have a row or not.
    pub unknown: u64,
    /// The rows of the run.
    pub rows: Vec<Row>,
    /// Results that are recorded and not yet in the sinks.
    pub pending: u64,
}

/// How the rows compare with the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Answered, and no row.
    pub missing: Vec<String>,
    /// More than one row.
    pub doubled: Vec<String>,
    /// A row of another revision.
    pub misattributed: Vec<String>,
}

/// Compares. Rows of requests whose end is not known are neither good nor bad.
#[must_use]
pub fn compare(found: &Found, revision: RevisionId) -> Comparison {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for row in &found.rows {
        *counts.entry(&row.request_id).or_default() += 1;
    }
    let owned = |id: &str| id.to_owned();
    let other = found.rows.iter().filter(|row| row.revision != revision && found.answered.contains(&row.request_id));
    Comparison {
        missing: found.answered.iter().filter(|id| !counts.contains_key(id.as_str())).cloned().collect(),
        doubled: counts.iter().filter(|(_, count)| **count > 1).map(|(id, _)| owned(id)).collect(),
        misattributed: other.map(|row| owned(&row.request_id)).collect(),
    }
}

/// The check; `found` is `Err` with the reason when the sinks could not be asked.
#[must_use]
pub fn judge(found: Result<&Found, &str>, revision: RevisionId) -> Judged {
    let found = match found {
        Ok(found) => found,
        Err(reason) => return Judged::inconclusive(SINKS, format!("the sinks could not be asked: {reason}")),
    };
    if found.answered.is_empty() {
        return Judged::inconclusive(SINKS, "no request was answered, so none can be looked for");
    }
    let Comparison { missing, doubled, misattributed } = compare(found, revision);
    let total = found.answered.len();
    if !missing.is_empty() && found.pending > 0 {
        let detail = format!(
            "{} of {total} answered requests have no row yet; {} results still wait for the sink-writer",
            missing.len(),
            found.pending
        );
        return Judged::inconclusive(SINKS, detail);
    }
    let wrong: Vec<(&str, &Vec<String>)> = [
        ("have no row", &missing),
        ("have more than one row", &doubled),
        ("have a row of another revision", &misattributed),
    ]
    .into_iter()
    .filter(|(_, ids)| !ids.is_empty())
    .collect();
    if wrong.is_empty() {
        let beyond =
            if found.untracked > 0 { format!(" ({} more were not followed)", found.untracked) } else { String::new() };
        let detail = format!("{total} answered requests have one row each{beyond}");
        return Judged::passed(SINKS, detail).measured(float(total as u64), Some(float(total as u64)), "count");
    }
    let said: Vec<String> = wrong.iter().map(|(what, ids)| format!("{} {what}", ids.len())).collect();
    let message = format!("of {total} answered requests {}", said.join(", "));
    let count: usize = wrong.iter().map(|(_, ids)| ids.len()).sum();
    let mut finding =
        Finding::deterministic(FindingKind::SinkLoss, message).with_figures(float(count as u64), 0.0, "count");
    // Three ids are enough to find the rest by.
    for id in wrong.iter().flat_map(|(_, ids)| ids.iter().take(3)) {
        finding = finding.with_evidence(format!("request {id}"));
    }
    Judged::failed(SINKS, finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Outcome;

    const REVISION: RevisionId = RevisionId::new(2, 1);

    fn found(answered: &[&str], rows: &[&str]) -> Found {
        let row = |id: &&str| Row { request_id: (*id).into(), trace_id: "t".into(), revision: REVISION };
        Found {
            answered: answered.iter().map(|id| (*id).to_owned()).collect(),
            rows: rows.iter().map(row).collect(),
            ..Found::default()
        }
    }

    fn outcome(found: &Found) -> Outcome {
        judge(Ok(found), REVISION).check.outcome
    }

    #[test]
    fn one_row_each_passes() {
        assert_eq!(outcome(&found(&["a", "b"], &["b", "a"])), Outcome::Passed);
    }

    #[test]
    fn a_row_of_a_request_whose_answer_was_lost_is_nothing_bad() {
        let mut seen = found(&["a"], &["a", "x"]);
        seen.unknown = 1;
        assert_eq!(outcome(&seen), Outcome::Passed);
    }

    #[test]
    fn a_missing_a_doubled_and_a_misattributed_row_are_losses() {
        let mut foreign = found(&["a"], &["a"]);
        foreign.rows[0].revision = RevisionId::new(1, 1);
        for seen in [found(&["a", "b"], &["a"]), found(&["a"], &["a", "a"]), foreign] {
            assert_eq!(judge(Ok(&seen), REVISION).findings[0].kind, FindingKind::SinkLoss, "{seen:?}");
        }
    }

    #[test]
    fn a_sink_writer_that_lags_or_does_not_answer_leaves_it_open() {
        let mut lagging = found(&["a", "b"], &["a"]);
        lagging.pending = 1;
        assert_eq!(outcome(&lagging), Outcome::Inconclusive);
        assert_eq!(judge(Err("nobody answers"), REVISION).check.outcome, Outcome::Inconclusive);
        assert_eq!(outcome(&found(&[], &[])), Outcome::Inconclusive);
    }
}
