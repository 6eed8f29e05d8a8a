//! One batch through the engine: run, cut apart, answer.

use std::time::{Duration, Instant};

use slipway_proto::oip::Tensor;

use super::queue::{Job, Queue};
use super::{Computed, Unanswered};
use crate::engine::{Batching, EngineError, Marks, Model, Parts, guarded, split_rows, stack_rows};
use crate::statistics::Computations;

/// Runs the jobs together; when that fails, each by itself.
pub(super) fn run(queue: &Queue, model: &dyn Model, batch: Vec<Job>, taken: Instant) {
    for job in &batch {
        let waited = taken.saturating_duration_since(job.enqueued);
        queue.metrics.queue_wait_seconds.observe(waited.as_secs_f64());
    }
    match <[Job; 1]>::try_from(batch) {
        Ok([job]) => run_alone(queue, model, job, taken),
        Err(batch) => {
            if let Err((batch, error)) = run_together(queue, model, batch, taken) {
                tracing::warn!(requests = batch.len(), %error, "a batch failed; running its requests one by one");
                queue.metrics.isolated.inc();
                for job in batch {
                    run_alone(queue, model, job, taken);
                }
            }
        }
    }
}

fn run_together(
    queue: &Queue,
    model: &dyn Model,
    batch: Vec<Job>,
    taken: Instant,
) -> Result<(), (Vec<Job>, EngineError)> {
    let rows: Vec<usize> = batch.iter().map(|job| job.work.rows).collect();
    let total = rows.iter().sum();
    queue.metrics.batch_requests.observe(batch.len() as f64);
    let computed = timed(queue, total, |marks| {
        let requests: Vec<&[Tensor]> = batch.iter().map(|job| job.work.inputs.as_slice()).collect();
        let outputs = model.run_marked(&requests, marks)?;
        apart(&outputs, &rows, total)
    });
    match computed {
        Ok((outputs, parts)) => {
            let waited = batch.iter().map(|job| taken.saturating_duration_since(job.enqueued)).sum();
            let statistics = &queue.metrics.statistics;
            statistics.ran(total, &parts);
            statistics.computed(Computations { requests: batch.len(), rows: total, waited }, &parts);
            let ran = parts.total();
            for (job, outputs) in batch.into_iter().zip(outputs) {
                answer(job, outputs, taken, ran, total);
            }
            Ok(())
        }
        Err(error) => Err((batch, error)),
    }
}

fn run_alone(queue: &Queue, model: &dyn Model, job: Job, taken: Instant) {
    let Some(job) = job.still_wanted(Instant::now(), &queue.metrics) else {
        return;
    };
    let rows = job.work.rows;
    queue.metrics.batch_requests.observe(1.0);
    let computed = if rows > queue.max_rows() && *model.batching() == Batching::Rows {
        timed(queue, rows, |_| in_pieces(queue, model, &job.work.inputs, rows))
            .map(|((outputs, parts), _)| (outputs, parts))
    } else {
        timed(queue, rows, |marks| model.run_marked(&[&job.work.inputs], marks))
            .inspect(|(_, parts)| queue.metrics.statistics.ran(size(model, rows), parts))
    };
    match computed {
        Ok((outputs, parts)) => {
            let waited = taken.saturating_duration_since(job.enqueued);
            let computations = Computations { requests: 1, rows: size(model, rows), waited };
            queue.metrics.statistics.computed(computations, &parts);
            answer(job, outputs, taken, parts.total(), rows);
        }
        Err(error) => {
            // A caller that went away needs no answer.
            let _ = job.reply.send(Err(Unanswered::Failed(error)));
        }
    }
}

/// The rows of a run as statistics know them: where requests share no run, the first dimension is none that counts them.
fn size(model: &dyn Model, rows: usize) -> usize {
    if *model.batching() == Batching::Rows { rows } else { 1 }
}

/// A request with more rows than a batch may have is computed in several runs.
fn in_pieces(
    queue: &Queue,
    model: &dyn Model,
    inputs: &[Tensor],
    rows: usize,
) -> Result<(Vec<Tensor>, Parts), EngineError> {
    let max_rows = queue.max_rows();
    let mut sizes = vec![max_rows; rows / max_rows];
    if !rows.is_multiple_of(max_rows) {
        sizes.push(rows % max_rows);
    }
    let pieces = inputs.iter().map(|input| split_rows(input, &sizes)).collect::<Result<Vec<_>, _>>()?;
    let mut computed = Vec::with_capacity(sizes.len());
    let begun = Instant::now();
    let mut all = Marks::default().parts(begun, begun);
    for (index, rows) in sizes.into_iter().enumerate() {
        let piece: Vec<Tensor> = pieces.iter().filter_map(|pieces| pieces.get(index).cloned()).collect();
        let (started, mut marks) = (all.ended, Marks::default());
        computed.push(model.run_marked(&[&piece], &mut marks)?);
        let parts = marks.parts(started, Instant::now());
        queue.metrics.statistics.ran(rows, &parts);
        all = all.and(&parts);
    }
    let outputs = (0..model.signature().outputs.len())
        .map(|output| {
            let parts: Vec<&Tensor> = computed.iter().filter_map(|outputs| outputs.get(output)).collect();
            stack_rows(&parts)
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok((outputs, all))
}

fn timed<T>(
    queue: &Queue,
    rows: usize,
    work: impl FnOnce(&mut Marks) -> Result<T, EngineError>,
) -> Result<(T, Parts), EngineError> {
    let (started, mut marks) = (Instant::now(), Marks::default());
    let result = guarded("running the model", || work(&mut marks));
    let parts = marks.parts(started, Instant::now());
    let took = parts.total();
    queue.ran(took, rows);
    queue.metrics.batch_rows.observe(rows as f64);
    queue.metrics.run_seconds.observe(took.as_secs_f64());
    match result {
        Ok(done) => Ok((done, parts)),
        Err(error) => {
            queue.metrics.failed_runs.inc();
            Err(error)
        }
    }
}

/// The outputs cut apart again: one list of outputs per job.
fn apart(outputs: &[Tensor], rows: &[usize], total: usize) -> Result<Vec<Vec<Tensor>>, EngineError> {
    let mut jobs: Vec<Vec<Tensor>> = rows.iter().map(|_| Vec::with_capacity(outputs.len())).collect();
    for output in outputs {
        let found = output.shape().first().copied();
        if found != Some(total) {
            return Err(EngineError::Output(format!("`{}` has {found:?} rows where {total} went in", output.name())));
        }
        for (job, part) in jobs.iter_mut().zip(split_rows(output, rows)?) {
            job.push(part);
        }
    }
    Ok(jobs)
}

fn answer(job: Job, outputs: Vec<Tensor>, taken: Instant, ran: Duration, batch_rows: usize) {
    let computed = Computed { outputs, waited: taken.saturating_duration_since(job.enqueued), ran, batch_rows };
    // A caller that went away during the run needs no answer.
    let _ = job.reply.send(Ok(computed));
}
