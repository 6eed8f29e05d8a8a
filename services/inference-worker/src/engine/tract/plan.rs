//! A model made runnable for one set of shapes, or for a symbolic batch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use slipway_proto::oip::Tensor;
use tract_onnx::Onnx;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{
    DatumType, Framework as _, InferenceFact, InferenceModel, InferenceModelExt as _, TValue, TVec, TractResult,
    TypedRunnableModel, TypedSimpleState, tvec,
};
use tract_onnx::tract_hir::infer::{DimFact, Factoid as _, ShapeFactoid};
use tract_onnx::tract_hir::internal::{IntoRunnable as _, Symbol, TDim, ToDim};

use super::{ml, tensors};
use crate::engine::{EngineError, Marks, Stack};
use crate::signature::Signature;

/// A way to read a file, with its name for messages.
type Reading = (&'static str, fn() -> Onnx);

/// Ways to read the same file, from the most to the least of what it says about its inner tensors. Exporters write inner
/// shapes and types that tract cannot reconcile with what it infers itself ("impossible to unify"); leaving them out loses
/// nothing that the graph does not say anyway.
const READINGS: [Reading; 3] = [
    ("as written", ml::onnx),
    ("without inner shapes", || ml::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true)),
    ("without inner shapes and output types", || {
        ml::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true).with_ignore_output_types(true)
    }),
];

/// What computes a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Processor {
    /// The cores of this machine.
    Cpu,
    /// The GPU that CUDA counts first.
    #[cfg(feature = "cuda")]
    Gpu,
}

/// A file as tract parsed it, ready to be planned for any shapes.
#[derive(Debug, Clone)]
pub(super) struct Template {
    model: InferenceModel,
    types: Vec<DatumType>,
    processor: Processor,
}

/// Every way in which the file can be parsed, best first; errors of the others are kept for the message.
pub(super) fn readings(
    proto: &ModelProto,
    signature: &Signature,
    processor: Processor,
) -> (Vec<Template>, Vec<String>) {
    let (mut templates, mut errors) = (Vec::new(), Vec::new());
    for (name, reader) in READINGS {
        match Template::parse(&reader(), proto, signature, processor) {
            Ok(template) => templates.push(template),
            Err(error) => errors.push(format!("read {name}: {error:#}")),
        }
    }
    (templates, errors)
}

impl Template {
    fn parse(onnx: &Onnx, proto: &ModelProto, signature: &Signature, processor: Processor) -> TractResult<Self> {
        let model = onnx.model_for_proto_model(proto)?;
        let types = signature.inputs.iter().map(|input| tensors::datum_type(input.data_type)).collect();
        Ok(Self { model, types, processor })
    }

    pub(super) const fn processor(&self) -> Processor {
        self.processor
    }

    /// One plan for every batch size: free dimensions stay symbols.
    pub(super) fn symbolic(&self) -> TractResult<Plan> {
        let mut model = self.model.clone();
        let mut batch: Option<TDim> = None;
        for (index, data_type) in self.types.iter().enumerate() {
            let dims: TVec<TDim> = model
                .input_fact(index)?
                .shape
                .dims()
                .enumerate()
                .map(|(axis, dim)| match dim.concretize() {
                    Some(known) => known,
                    // Unnamed batch dimensions of several inputs are the same batch.
                    None if axis == 0 => {
                        batch.get_or_insert_with(|| model.symbols.new_with_prefix("batch").to_dim()).clone()
                    }
                    None => model.symbols.new_with_prefix("free").to_dim(),
                })
                .collect();
            let fact = InferenceFact::dt_shape(*data_type, closed(dims));
            model.set_input_fact(index, fact)?;
        }
        Plan::new(model, self.processor)
    }

    /// A plan for exactly these input shapes.
    pub(super) fn concrete(&self, shapes: &[Vec<usize>]) -> TractResult<Plan> {
        Plan::new(self.shaped(shapes)?, self.processor)
    }

    /// The graph for exactly these input shapes.
    pub(super) fn shaped(&self, shapes: &[Vec<usize>]) -> TractResult<InferenceModel> {
        let mut model = self.model.clone();
        let mut symbols: HashMap<Symbol, TDim> = HashMap::new();
        for (index, shape) in shapes.iter().enumerate() {
            let declared = model.input_fact(index)?.shape.clone();
            for (dim, &size) in declared.dims().zip(shape) {
                if let Some(TDim::Sym(symbol)) = dim.concretize() {
                    symbols.insert(symbol, size.to_dim());
                }
            }
        }
        model.set_symbols(&symbols)?;
        for (index, (data_type, shape)) in self.types.iter().zip(shapes).enumerate() {
            let dims = shape.iter().map(ToDim::to_dim).collect();
            model.set_input_fact(index, InferenceFact::dt_shape(*data_type, closed(dims)))?;
        }
        Ok(model)
    }
}

fn closed(dims: TVec<TDim>) -> ShapeFactoid {
    ShapeFactoid::closed(dims.into_iter().map(DimFact::from).collect())
}

/// A runnable plan. Runs share nothing but the weights, so any number of threads may run it at once.
#[derive(Debug)]
pub(super) struct Plan {
    plan: Arc<TypedRunnableModel>,
    /// States of earlier runs: making one allocates for every node, which for a small network costs more than the run.
    /// A state that saw an error or a panic is not put back, nor is one in which an operator remembers: a recurrent layer would begin
    /// the next request, which may be someone else's, with what it kept of this one.
    /// Nor is one of a GPU, where the memory of a run belongs to the stream of its thread.
    idle: Mutex<Vec<TypedSimpleState>>,
    processor: Processor,
}

impl Plan {
    fn new(model: InferenceModel, processor: Processor) -> TractResult<Self> {
        let plan = match processor {
            Processor::Cpu => model.into_optimized()?.into_runnable()?,
            #[cfg(feature = "cuda")]
            Processor::Gpu => super::cuda::runnable(model)?,
        };
        Ok(Self { plan, idle: Mutex::default(), processor })
    }

    /// Where its operators are computed, where that is not the CPU alone.
    pub(super) fn placement(&self) -> Option<String> {
        match self.processor {
            Processor::Cpu => None,
            #[cfg(feature = "cuda")]
            Processor::Gpu => Some(super::cuda::Placement::of(self.plan.model()).to_string()),
        }
    }

    /// Computes all outputs.
    pub(super) fn run(
        &self,
        signature: &Signature,
        inputs: &[Stack<'_>],
        marks: &mut Marks,
    ) -> Result<Vec<Tensor>, EngineError> {
        let failed = |error: &dyn std::fmt::Display| EngineError::Run(error.to_string());
        let mut values: TVec<TValue> = tvec!();
        for input in inputs {
            values.push(tensors::to_tract(input)?);
        }
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut state = match idle {
            Some(state) => state,
            None => self.plan.spawn().map_err(|error| failed(&format!("{error:#}")))?,
        };
        marks.filled();
        let values = state.run(values).map_err(|error| failed(&format!("{error:#}")))?;
        marks.computed();
        if self.processor == Processor::Cpu && state.op_states.iter().all(Option::is_none) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(state);
        }
        if values.len() != signature.outputs.len() {
            return Err(EngineError::Output(format!(
                "{} where {} are declared",
                values.len(),
                signature.outputs.len()
            )));
        }
        signature
            .outputs
            .iter()
            .zip(values)
            .map(|(spec, value)| match self.processor {
                Processor::Cpu => tensors::from_tract(&spec.name, spec.data_type, value),
                #[cfg(feature = "cuda")]
                Processor::Gpu => tensors::from_device(&spec.name, spec.data_type, value),
            })
            .collect()
    }
}
