//! A model on tract: which plan serves which batch.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use slipway_proto::oip::Tensor;
use tract_onnx::pb::ModelProto;

use super::plan::{Plan, Processor, Template, readings};
use crate::engine::{Batching, EngineError, LoadOptions, Marks, Model, Planning, Stack, probe, samples, split_rows};
use crate::signature::Signature;

/// Plans kept for shapes seen lately. Each holds its own packed copy of the weights; a model whose inputs vary in more than
/// the batch would otherwise fill the memory with plans for shapes that never come again.
pub(super) const MAX_PLANS: usize = 16;

/// A plan per batch size must be this much faster than the symbolic one to be worth its memory.
const WORTHWHILE: f64 = 1.25;

/// Below this difference per run, which of two plans is faster is noise.
const NOISE: Duration = Duration::from_micros(50);

/// A loaded ONNX model.
#[derive(Debug)]
pub(super) struct TractModel {
    signature: Signature,
    batching: Batching,
    plans: Plans,
    processor: Processor,
}

#[derive(Debug)]
enum Plans {
    /// One plan for all shapes.
    Symbolic(Plan),
    /// One plan per shape, made when needed.
    PerShape {
        template: Box<Template>,
        made: Mutex<VecDeque<(Shapes, Arc<Plan>)>>,
        /// Only one thread makes a plan at a time: two of the same shape would be a waste of seconds and memory.
        making: Mutex<()>,
    },
}

type Shapes = Vec<Vec<usize>>;

impl TractModel {
    /// Plans the file in each way the options allow, tries each plan out, and keeps the best that works.
    pub(super) fn build(
        proto: &ModelProto,
        signature: &Signature,
        options: &LoadOptions,
        processor: Processor,
    ) -> Result<Self, EngineError> {
        let (templates, mut errors) = readings(proto, signature, processor);
        for &free in probe::free_sizes(signature) {
            for template in &templates {
                match Self::from_template(template, signature, options, free, &mut errors) {
                    Some(model) => return Ok(model),
                    None => continue,
                }
            }
        }
        Err(EngineError::Unplannable(errors))
    }

    fn from_template(
        template: &Template,
        signature: &Signature,
        options: &LoadOptions,
        free: usize,
        errors: &mut Vec<String>,
    ) -> Option<Self> {
        if options.planning == Planning::Symbolic && !has_free(signature) {
            errors.push("symbolic: no dimension of its inputs is free".to_owned());
            return None;
        }
        let mut note = |kind: &str, error: EngineError| errors.push(format!("{kind}: {error}"));
        let symbolic = (options.planning != Planning::Buckets && has_free(signature))
            .then(|| {
                let plan = template.symbolic().map_err(|error| EngineError::Run(format!("{error:#}")))?;
                Self::tried(signature, Plans::Symbolic(plan), template.processor(), free)
            })
            .and_then(|model| model.map_err(|error| note("symbolic", error)).ok());
        if options.planning == Planning::Symbolic {
            return symbolic;
        }
        let plans =
            Plans::PerShape { template: Box::new(template.clone()), made: Mutex::default(), making: Mutex::default() };
        let per_shape =
            Self::tried(signature, plans, template.processor(), free).map_err(|error| note("per shape", error)).ok();
        match (symbolic, per_shape) {
            (Some(symbolic), Some(per_shape)) => Some(faster(symbolic, per_shape, free)),
            (symbolic, per_shape) => symbolic.or(per_shape),
        }
    }

    fn tried(signature: &Signature, plans: Plans, processor: Processor, free: usize) -> Result<Self, EngineError> {
        let mut model = Self { signature: signature.clone(), batching: Batching::Rows, plans, processor };
        model.batching = probe::batching(&model, free)?;
        Ok(model)
    }

    fn planned(&self, shapes: Shapes) -> Result<Arc<Plan>, EngineError> {
        let Plans::PerShape { template, made, making } = &self.plans else {
            return Err(EngineError::Run("the plan is symbolic".to_owned()));
        };
        let find = |shapes: &Shapes| {
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            let position = made.iter().position(|(known, _)| known == shapes)?;
            let found = made.remove(position)?;
            let plan = Arc::clone(&found.1);
            made.push_front(found);
            Some(plan)
        };
        if let Some(plan) = find(&shapes) {
            return Ok(plan);
        }
        let _making = making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = find(&shapes) {
            return Ok(plan);
        }
        let plan = Arc::new(
            template
                .concrete(&shapes)
                .map_err(|error| EngineError::Run(format!("planning for {shapes:?}: {error:#}")))?,
        );
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        made.push_front((shapes, Arc::clone(&plan)));
        made.truncate(MAX_PLANS);
        Ok(plan)
    }

    /// Pads the batch to the next size that has a plan, and cuts the padding off the outputs.
    fn run_padded(&self, stacks: Vec<Stack<'_>>, marks: &mut Marks) -> Result<Vec<Tensor>, EngineError> {
        let rows = stacks.first().and_then(|stack| stack.shape().first().copied()).unwrap_or(1);
        let bucket =
            if self.signature.batched && self.batching == Batching::Rows { rows.next_power_of_two() } else { rows };
        let shapes = |stacks: &[Stack<'_>]| stacks.iter().map(|stack| stack.shape().to_vec()).collect();
        if bucket == rows {
            return self.planned(shapes(&stacks))?.run(&self.signature, &stacks, marks);
        }
        let padded = stacks.into_iter().map(|stack| stack.padded_to(bucket)).collect::<Result<Vec<_>, _>>()?;
        self.planned(shapes(&padded))?
            .run(&self.signature, &padded, marks)?
            .iter()
            .map(|output| {
                split_rows(output, &[rows])?
                    .pop()
                    .ok_or_else(|| EngineError::Output("nothing left of the batch".to_owned()))
            })
            .collect()
    }
}

impl Model for TractModel {
    fn platform(&self) -> &'static str {
        match self.processor {
            Processor::Cpu => "onnx_tract",
            #[cfg(feature = "cuda")]
            Processor::Gpu => "onnx_tract_cuda",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn batching(&self) -> &Batching {
        &self.batching
    }

    fn plan(&self) -> String {
        let (planned, placement) = match &self.plans {
            Plans::Symbolic(plan) => ("one plan for every batch size", plan.placement()),
            Plans::PerShape { made, .. } => {
                let newest =
                    made.lock().unwrap_or_else(PoisonError::into_inner).front().map(|(_, plan)| Arc::clone(plan));
                let planned = if self.signature.batched { "one plan per batch size" } else { "one plan per shape" };
                (planned, newest.and_then(|plan| plan.placement()))
            }
        };
        placement.map_or_else(|| planned.to_owned(), |placement| format!("{planned}, {placement}"))
    }

    fn run(&self, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, EngineError> {
        self.run_marked(requests, &mut Marks::default())
    }

    fn run_marked(&self, requests: &[&[Tensor]], marks: &mut Marks) -> Result<Vec<Tensor>, EngineError> {
        let stacks =
            (0..self.signature.inputs.len()).map(|input| Stack::new(requests, input)).collect::<Result<Vec<_>, _>>()?;
        match &self.plans {
            Plans::Symbolic(plan) => plan.run(&self.signature, &stacks, marks),
            Plans::PerShape { .. } => self.run_padded(stacks, marks),
        }
    }
}

/// Whether any dimension of any input is decided by the request.
fn has_free(signature: &Signature) -> bool {
    signature.inputs.iter().any(|input| input.shape.iter().any(|&size| size < 0))
}

/// Convolutions run twice as fast when the batch is a number; transformers do not care. Only a measurement tells.
fn faster(symbolic: TractModel, per_shape: TractModel, free: usize) -> TractModel {
    let (Some(one), Some(other)) = (best_run(&symbolic, free), best_run(&per_shape, free)) else {
        return symbolic;
    };
    let gain = one.saturating_sub(other);
    if gain > NOISE && one.as_secs_f64() > other.as_secs_f64() * WORTHWHILE { per_shape } else { symbolic }
}

/// The best of a few runs of one row; the best, because other work on the machine only ever adds.
fn best_run(model: &TractModel, free: usize) -> Option<Duration> {
    /// Enough for the caches to be warm, and the time that it may take for a big model.
    const RUNS: usize = 5;
    const ENOUGH: Duration = Duration::from_millis(200);
    let inputs = samples::inputs(model.signature(), 1, free, 1).ok()?;
    let started = Instant::now();
    let mut best: Option<Duration> = None;
    for _ in 0..RUNS {
        let run = Instant::now();
        model.run(&[&inputs]).ok()?;
        let took = run.elapsed();
        best = Some(best.map_or(took, |best| best.min(took)));
        if started.elapsed() > ENOUGH {
            break;
        }
    }
    best
}
