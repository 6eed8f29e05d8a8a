//! Which waiting requests run together, and when.
//!
//! A batch is closed when it is full, when its oldest request has waited long enough, or when a request must run alone.
//! Requests keep the order of the queue within a shape; a shape that is rare does not wait behind one that is common.

/// A request in the queue, as far as batching is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    /// Shapes of the inputs without their first dimension: only equal ones can be stacked.
    pub row_shapes: &'a [Vec<usize>],
    /// How many rows it brings.
    pub rows: usize,
    /// It shares a run with nobody: a redelivered request may be the one that broke its batch before.
    pub alone: bool,
    /// When it was enqueued, in microseconds of any monotonic clock.
    pub enqueued_us: u64,
}

/// When a batch is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A batch has at most this many rows, unless one request alone brings more.
    pub max_rows: usize,
    /// No request waits longer for company than this, in microseconds.
    pub max_delay_us: u64,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing waits.
    Idle,
    /// Look again at this time, or when a request arrives.
    Wait {
        /// In microseconds of the same clock.
        until_us: u64,
        /// Rows of the batch that would run first.
        rows: usize,
    },
    /// Run these together: positions in the queue, ascending.
    Run(Vec<usize>),
}

/// Decides over the whole queue, first who is first to run. With `flush`, nothing waits for company (draining).
#[must_use]
pub fn next(queue: &[Waiting<'_>], limits: Limits, now_us: u64, flush: bool) -> Next {
    let Some(oldest) = queue.iter().map(|waiting| waiting.enqueued_us).min() else {
        return Next::Idle;
    };
    let due = |enqueued_us: u64| enqueued_us.saturating_add(limits.max_delay_us);
    let batches = candidates(queue, limits.max_rows);
    let rows = batches.first().map_or(0, |batch| batch.rows);
    batches
        .into_iter()
        .find(|batch| batch.closed || flush || due(batch.oldest_us) <= now_us)
        .map_or(Next::Wait { until_us: due(oldest), rows }, |batch| Next::Run(batch.members))
}

/// A batch that could run, in the order in which batches were begun.
struct Candidate {
    members: Vec<usize>,
    rows: usize,
    closed: bool,
    oldest_us: u64,
}

fn candidates(queue: &[Waiting<'_>], max_rows: usize) -> Vec<Candidate> {
    let mut batches: Vec<Candidate> = Vec::new();
    for (position, waiting) in queue.iter().enumerate() {
        let open = batches.iter_mut().find(|batch| {
            !batch.closed
                && batch
                    .members
                    .first()
                    .and_then(|&first| queue.get(first))
                    .is_some_and(|first| first.row_shapes == waiting.row_shapes)
        });
        match open {
            Some(batch) if !waiting.alone && batch.rows + waiting.rows <= max_rows => {
                batch.members.push(position);
                batch.rows += waiting.rows;
                batch.closed = batch.rows >= max_rows;
                batch.oldest_us = batch.oldest_us.min(waiting.enqueued_us);
            }
            other => {
                // What does not fit closes the batch before it: later requests must not overtake it.
                if let Some(batch) = other
                    && !waiting.alone
                {
                    batch.closed = true;
                }
                batches.push(Candidate {
                    members: vec![position],
                    rows: waiting.rows,
                    closed: waiting.alone || waiting.rows >= max_rows,
                    oldest_us: waiting.enqueued_us,
                });
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { max_rows: 4, max_delay_us: 100 };

    fn one<'a>(shapes: &'a [Vec<usize>], rows: usize, enqueued_us: u64) -> Waiting<'a> {
        Waiting { row_shapes: shapes, rows, alone: false, enqueued_us }
    }

    #[test]
    fn nothing_waits_when_the_queue_is_empty() {
        assert_eq!(next(&[], LIMITS, 0, true), Next::Idle);
    }

    #[test]
    fn a_batch_waits_until_its_oldest_has_waited_long_enough() {
        let shapes = [vec![3]];
        let queue = [one(&shapes, 1, 10), one(&shapes, 1, 50)];
        assert_eq!(next(&queue, LIMITS, 50, false), Next::Wait { until_us: 110, rows: 2 });
        assert_eq!(next(&queue, LIMITS, 110, false), Next::Run(vec![0, 1]));
        assert_eq!(next(&queue, LIMITS, 50, true), Next::Run(vec![0, 1]));
    }

    #[test]
    fn a_full_batch_runs_at_once_and_leaves_the_rest() {
        let shapes = [vec![3]];
        let queue = [one(&shapes, 2, 0), one(&shapes, 2, 0), one(&shapes, 1, 0)];
        assert_eq!(next(&queue, LIMITS, 0, false), Next::Run(vec![0, 1]));
    }

    #[test]
    fn a_request_that_does_not_fit_closes_the_batch_and_is_not_overtaken() {
        let shapes = [vec![3]];
        let queue = [one(&shapes, 3, 0), one(&shapes, 2, 0), one(&shapes, 1, 0)];
        assert_eq!(next(&queue, LIMITS, 0, false), Next::Run(vec![0]));
    }

    #[test]
    fn a_request_larger_than_a_batch_runs_at_once_by_itself() {
        let shapes = [vec![3]];
        let queue = [one(&shapes, 9, 0), one(&shapes, 1, 0)];
        assert_eq!(next(&queue, LIMITS, 0, false), Next::Run(vec![0]));
    }

    #[test]
    fn a_request_that_must_run_alone_does_so_at_once() {
        let shapes = [vec![3]];
        let alone = Waiting { alone: true, ..one(&shapes, 1, 0) };
        let queue = [one(&shapes, 1, 0), alone, one(&shapes, 1, 0)];
        assert_eq!(next(&queue, LIMITS, 0, false), Next::Run(vec![1]));
    }

    #[test]
    fn a_rare_shape_does_not_wait_behind_a_common_one() {
        let (common, rare) = ([vec![3]], [vec![5]]);
        let queue = [one(&rare, 1, 0), one(&common, 2, 5), one(&common, 2, 6)];
        assert_eq!(next(&queue, LIMITS, 7, false), Next::Run(vec![1, 2]));
        assert_eq!(next(&queue[..2], LIMITS, 100, false), Next::Run(vec![0]));
    }

    proptest! {
        #[test]
        fn what_runs_is_one_shape_within_the_limit_in_order_and_nobody_waits_too_long(
            requests in proptest::collection::vec((0_usize..3, 1_usize..7, any::<bool>(), 0_u64..300), 1..40),
            now_us in 0_u64..500, flush in any::<bool>(), max_rows in 1_usize..8,
        ) {
            let shapes: Vec<_> = requests.iter().map(|(shape, ..)| vec![vec![*shape]]).collect();
            let queue: Vec<_> = requests.iter().zip(&shapes).map(|((_, rows, alone, at), shapes)| Waiting {
                row_shapes: shapes, rows: *rows, alone: *alone && *at % 5 == 0, enqueued_us: (*at).min(now_us),
            }).collect();
            let limits = Limits { max_rows, max_delay_us: 100 };
            match next(&queue, limits, now_us, flush) {
                Next::Idle => prop_assert!(false, "something waits"),
                Next::Wait { until_us, .. } => {
                    prop_assert!(!flush);
                    prop_assert!(until_us > now_us, "nobody may wait longer than the delay");
                    prop_assert!(queue.iter().all(|w| !w.alone));
                }
                Next::Run(members) => {
                    prop_assert!(!members.is_empty() && members.windows(2).all(|pair| pair[0] < pair[1]));
                    let first = queue[members[0]];
                    prop_assert!(members.iter().all(|&m| queue[m].row_shapes == first.row_shapes));
                    let rows: usize = members.iter().map(|&m| queue[m].rows).sum();
                    prop_assert!(members.len() == 1 || rows <= max_rows);
                    prop_assert!(members.len() == 1 || members.iter().all(|&m| !queue[m].alone));
                    // Of its shape, nobody who may share a run is left behind by a younger one.
                    if !first.alone {
                        let last = *members.last().unwrap();
                        let skipped = (0..last).filter(|i| !members.contains(i))
                            .filter(|&i| !queue[i].alone && queue[i].row_shapes == first.row_shapes);
                        for i in skipped {
                            prop_assert!(i < members[0], "{i} was overtaken");
                        }
                    }
                }
            }
        }

        #[test]
        fn a_drained_queue_is_run_to_its_end(
            requests in proptest::collection::vec((0_usize..3, 1_usize..7, any::<bool>()), 0..30),
        ) {
            let mut left: Vec<_> = requests.iter().map(|(shape, rows, alone)| (vec![vec![*shape]], *rows, *alone)).collect();
            let mut runs = 0;
            loop {
                let queue: Vec<_> = left.iter().map(|(shapes, rows, alone)| Waiting { row_shapes: shapes, rows: *rows, alone: *alone, enqueued_us: 0 }).collect();
                match next(&queue, LIMITS, 0, true) {
                    Next::Idle => break,
                    Next::Wait { .. } => prop_assert!(false, "a flush never waits"),
                    Next::Run(members) => for m in members.into_iter().rev() { left.remove(m); },
                }
                runs += 1;
                prop_assert!(runs <= requests.len());
            }
            prop_assert!(left.is_empty());
        }
    }
}
