//! A request can be followed from end to end: the trace its answer names is the trace its row belongs to.

use super::{Judged, float, names::TRACES, sinks::Row};
use slipway_kernel::{Finding, FindingKind};
use std::collections::BTreeMap;

/// An answered request and the trace its answer named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The request.
    pub request_id: String,
    /// The trace in its answer; `None` if there was none.
    pub trace_id: Option<String>,
}

/// The check; `rows` is `Err` with the reason when the sinks could not be asked.
#[must_use]
pub fn judge(answered: &[Traced], rows: Result<&[Row], &str>) -> Judged {
    if answered.is_empty() {
        return Judged::inconclusive(TRACES, "no request was answered, so none can be followed");
    }
    let unnamed = answered.iter().filter(|traced| traced.trace_id.is_none()).count();
    let rows = match rows {
        Ok(rows) => rows,
        Err(reason) if unnamed == 0 => {
            return Judged::inconclusive(TRACES, format!("the sinks could not be asked: {reason}"));
        }
        Err(_) => &[],
    };
    let by_request: BTreeMap<&str, &str> =
        rows.iter().map(|row| (row.request_id.as_str(), row.trace_id.as_str())).collect();
    let mut followed = 0;
    let mut torn = Vec::new();
    for traced in answered {
        // A request without a row is a loss, not a gap: another check says so.
        if let (Some(trace), Some(in_row)) = (&traced.trace_id, by_request.get(traced.request_id.as_str())) {
            followed += 1;
            if trace != in_row {
                torn.push(&traced.request_id);
            }
        }
    }
    if unnamed > 0 || !torn.is_empty() {
        let message = format!(
            "of {} answered requests {unnamed} name no trace, and {} of {followed} rows belong to another trace than the answer named",
            answered.len(),
            torn.len()
        );
        let gaps = float((unnamed + torn.len()) as u64);
        let mut finding = Finding::deterministic(FindingKind::TraceGap, message).with_figures(gaps, 0.0, "count");
        for id in torn.iter().take(3) {
            finding = finding.with_evidence(format!("request {id}"));
        }
        return Judged::failed(TRACES, finding);
    }
    if followed == 0 {
        return Judged::inconclusive(TRACES, "no answered request has a row whose trace could be compared");
    }
    let detail = format!("{followed} requests carry one trace from the answer to the sink row");
    Judged::passed(TRACES, detail).measured(0.0, Some(0.0), "count")
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::{Outcome, RevisionId};

    fn traced(trace: Option<&str>) -> Vec<Traced> {
        vec![Traced { request_id: "a".into(), trace_id: trace.map(str::to_owned) }]
    }

    fn rows(trace: &str) -> Vec<Row> {
        vec![Row { request_id: "a".into(), trace_id: trace.into(), revision: RevisionId::new(1, 1) }]
    }

    #[test]
    fn the_same_trace_in_answer_and_row_passes() {
        assert_eq!(judge(&traced(Some("t")), Ok(&rows("t"))).check.outcome, Outcome::Passed);
    }

    #[test]
    fn another_trace_or_none_is_a_gap() {
        for judged in [
            judge(&traced(Some("t")), Ok(&rows("u"))),
            judge(&traced(Some("t")), Ok(&rows(""))),
            judge(&traced(None), Ok(&rows("t"))),
            judge(&traced(None), Err("nobody answers")),
        ] {
            assert_eq!(judged.findings[0].kind, FindingKind::TraceGap);
        }
    }

    #[test]
    fn without_rows_nothing_can_be_followed() {
        assert_eq!(judge(&traced(Some("t")), Ok(&[])).check.outcome, Outcome::Inconclusive);
        assert_eq!(judge(&traced(Some("t")), Err("nobody answers")).check.outcome, Outcome::Inconclusive);
        assert_eq!(judge(&[], Ok(&[])).check.outcome, Outcome::Inconclusive);
    }
}
