//! Golden rows through the public door: the answers of the revision against those that are right.

use super::Tools;
use crate::{
    domain::{
        golden::{Row, RowResult, batches, blank, body, compare, read, read_answers},
        judge::{
            Judged,
            golden::{Answered, judge},
            names::{GOLDEN_ACCURACY, GOLDEN_OUTPUTS},
        },
    },
    door::Fate,
    error::told,
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use slipway_kernel::{Finding, FindingKind};
use slipway_loadtest::{FailureClass, Reply};
use std::{ops::Range, sync::Arc, time::Duration};

/// Rows of one request. A worker takes at least as many as its plan's largest batch; more at once would only wait in it.
const MAX_BATCH: u32 = 32;
/// Requests under way: enough that the way there and back is not what is waited for.
const AT_ONCE: usize = 4;
/// Tries of a request that was refused for now. A refused request is no answer, and this check is not about load.
const TRIES: u32 = 6;
/// Pause between them, doubled each time: two seconds in all.
const PAUSE: Duration = Duration::from_millis(60);
/// Rows that the load is made of. More would not be more load, only more memory.
const LOAD_BODIES: usize = 64;

/// The checks, and what the load is to be made of: single rows.
pub(crate) struct Golden {
    pub(crate) judged: Vec<Judged>,
    pub(crate) bodies: Arc<[Bytes]>,
}

pub(crate) async fn golden(tools: &Tools) -> Golden {
    let inputs = &tools.assignment.inputs;
    let without = || -> Arc<[Bytes]> { Arc::from([Bytes::from(blank(inputs))]) };
    let Some(reference) = &tools.assignment.golden else {
        let skipped = |name| Judged::skipped(name, "no golden rows: spec.validation.golden is not set");
        return Golden { judged: vec![skipped(GOLDEN_ACCURACY), skipped(GOLDEN_OUTPUTS)], bodies: without() };
    };
    let file = match tools.world.golden(reference).await {
        Ok(file) => file,
        Err(error) => {
            let open = |name| Judged::inconclusive(name, told(&error));
            return Golden { judged: vec![open(GOLDEN_ACCURACY), open(GOLDEN_OUTPUTS)], bodies: without() };
        }
    };
    let rows = match read(&file, inputs, tools.bounds.golden_rows) {
        Ok(rows) => rows,
        Err(error) => {
            let finding = Finding::deterministic(FindingKind::ArtifactInvalid, error.to_string())
                .with_evidence("spec.validation.golden");
            return Golden { judged: vec![Judged::failed(GOLDEN_OUTPUTS, finding)], bodies: without() };
        }
    };
    let answered = send_all(tools, &rows).await;
    let validation = &tools.assignment.validation;
    let judged = judge(&answered, validation.min_accuracy, validation.tolerance).into();
    let bodies =
        rows.iter().take(LOAD_BODIES).map(|row| Bytes::from(body(std::slice::from_ref(row), inputs))).collect();
    Golden { judged, bodies }
}

async fn send_all(tools: &Tools, rows: &[Row]) -> Vec<Answered> {
    let most = tools.assignment.plan.max_batch.clamp(1, MAX_BATCH) as usize;
    let sent = batches(rows, &tools.assignment.inputs, most).into_iter().map(|batch| send(tools, rows, batch));
    let answers: Vec<Vec<Answered>> = stream::iter(sent).buffered(AT_ONCE).collect().await;
    answers.into_iter().flatten().collect()
}

/// Sends one batch, again while it is refused for now.
async fn send(tools: &Tools, rows: &[Row], batch: Range<usize>) -> Vec<Answered> {
    let rows = &rows[batch];
    let body = Bytes::from(body(rows, &tools.assignment.inputs));
    let mut pause = PAUSE;
    let mut attempt = 1;
    loop {
        let (fate, outcome) = tools.single(body.clone()).await;
        let for_now = matches!(fate, Fate::Refused { .. } | Fate::None(_) | Fate::NotAdmitted(_));
        if !for_now || attempt == TRIES {
            return answers(rows, &fate, &outcome);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
        attempt += 1;
    }
}

fn answers(rows: &[Row], fate: &Fate, outcome: &Result<Reply, FailureClass>) -> Vec<Answered> {
    let all = |answered: Answered| vec![answered; rows.len()];
    match (fate, outcome) {
        (Fate::Answered(_), Ok(reply)) => match read_answers(&reply.body, rows.len()) {
            Ok(answers) => {
                let compared = rows.iter().enumerate().map(|(n, row)| compare(&row.expected, &answers, n));
                compared.map(Answered::With).collect()
            }
            Err(reason) => all(Answered::With(RowResult { misshapen: Some(reason), ..RowResult::default() })),
        },
        (Fate::Misrouted, _) => all(Answered::Not("another revision answered".to_owned())),
        (Fate::Refused { status, .. }, _) => all(Answered::Not(format!("refused with {status}"))),
        (Fate::NotAdmitted(status), _) => {
            all(Answered::Not(format!("the door does not admit the validator to this revision ({status})")))
        }
        (Fate::Fault(said), _) => all(Answered::Refused(said.clone())),
        (Fate::None(class), _) | (Fate::Answered(_), Err(class)) => all(Answered::Not(class.to_string())),
    }
}
