//! Before anything is measured: each body once in quiet, whose answers are kept to compare those under load with, and then a
//! little load whose figures nobody looks at.

use super::Tools;
use crate::domain::{
    golden::{Answers, read_answers},
    judge::steady::Steadiness,
};
use crate::probe::Sample;
use bytes::Bytes;
use slipway_loadtest::{Shape, Stop};
use std::sync::Arc;

/// Callers of the warm-up: two, so that batches of more than one row are made.
const CALLERS: usize = 2;

/// The quiet answers, one for each body; `None` where there was none.
pub(crate) struct Quiet(Vec<Option<Answers>>);

pub(crate) async fn warm_up(tools: &Tools, bodies: &Arc<[Bytes]>) -> Quiet {
    let mut quiet = Vec::with_capacity(bodies.len());
    for body in bodies.iter() {
        let (_, outcome) = tools.single(body.clone()).await;
        let answers = outcome.ok().filter(|reply| reply.status.is_success());
        quiet.push(answers.and_then(|reply| read_answers(&reply.body, 1).ok()));
    }
    let shape = Shape::Closed { callers: CALLERS, duration: tools.bounds.warm_up.0 };
    // Whatever goes wrong here goes wrong under load too, and is judged there.
    if let Err(error) = tools.load(&tools.probe(bodies), shape, tools.limits(), &Stop::default()).await {
        tracing::debug!(%error, "warm-up");
    }
    Quiet(quiet)
}

impl Quiet {
    /// Compares answers under load with the quiet ones.
    pub(crate) fn compare(&self, samples: &[Sample], tolerance: f64) -> Steadiness {
        let mut steadiness = Steadiness::default();
        for (body, answer) in samples {
            let Some(Some(quiet)) = self.0.get(*body) else {
                continue;
            };
            steadiness.compared += 1;
            let same =
                read_answers(answer, 1).is_ok_and(|answers| crate::domain::golden::same(quiet, &answers, tolerance));
            steadiness.differing += u64::from(!same);
        }
        steadiness
    }
}
