//! How an operator of ours is dressed for tract, once for all of them.

use std::fmt;
use std::sync::Arc;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::infer::rules::expr::IntoExp as _;
use tract_onnx::tract_hir::internal::{
    DatumType, DatumTypeExt as _, EvalContext, EvalOp, Expansion, InferenceOp, InferenceResult, Op, OutletId, Solver,
    SpecialOps as _, StaticName, TDim, TValue, TVec, Tensor, TensorProxy, TractResult, TypedFact, TypedModel, bail,
    ensure, expand, op_as_typed_op, op_out_of_plan,
};
use tract_onnx::tract_hir::tract_core::ops::TypedOp;

/// What is known of a tensor before there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) data_type: DatumType,
    pub(super) shape: TVec<TDim>,
}

impl Form {
    pub(super) fn new(data_type: DatumType, shape: impl IntoIterator<Item = TDim>) -> Self {
        Self { data_type, shape: shape.into_iter().collect() }
    }

    /// Rows and columns of an input that holds rows of features; one dimension is one row.
    pub(super) fn rows(&self) -> TractResult<(TDim, TDim)> {
        match &*self.shape {
            [width] => Ok((1.into(), width.clone())),
            [rows, width] => Ok((rows.clone(), width.clone())),
            other => bail!("the input has {} dimensions, where rows of features have two", other.len()),
        }
    }
}

/// Rows and columns of a tensor that holds rows of features; one dimension is one row.
pub(super) fn rows_of(tensor: &Tensor) -> TractResult<(usize, usize)> {
    match tensor.shape() {
        [width] => Ok((1, *width)),
        [rows, width] => Ok((*rows, *width)),
        other => bail!("the input has {} dimensions, where rows of features have two", other.len()),
    }
}

/// What an operator is, apart from its dress.
pub(super) trait Kernel: fmt::Debug + Send + Sync + 'static {
    /// The outputs that inputs of this form give. Refuses inputs that [`Kernel::run`] cannot take, as far as their form
    /// tells.
    fn outputs(&self, inputs: &[Form]) -> TractResult<Vec<Form>>;

    /// Computes all outputs.
    fn run(&self, inputs: &[TValue]) -> TractResult<Vec<Tensor>>;
}

/// What tract's register takes.
pub(super) type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// A kernel as an operator of this node.
pub(super) fn built(node: &NodeProto, name: &'static str, kernel: impl Kernel) -> Built {
    let kept = (0..node.output.len()).filter(|&index| !node.output[index].is_empty()).collect();
    Ok((expand(Operator { name, inputs: node.input.len(), kept, kernel: Arc::new(kernel) }), Vec::new()))
}

#[derive(Debug, Clone)]
struct Operator {
    name: &'static str,
    inputs: usize,
    /// The outputs that the graph uses: those of the node that have a name.
    kept: Vec<usize>,
    kernel: Arc<dyn Kernel>,
}

impl PartialEq for Operator {
    fn eq(&self, other: &Self) -> bool {
        self.kept == other.kept && Arc::ptr_eq(&self.kernel, &other.kernel)
    }
}

impl Eq for Operator {}

impl Operator {
    fn forms(&self, inputs: impl IntoIterator<Item = (DatumType, TVec<TDim>)>) -> TractResult<Vec<Form>> {
        let inputs: Vec<Form> = inputs
            .into_iter()
            .map(|(data_type, shape)| {
                // tract keeps what ONNX casts to INT64 in a type for sizes.
                let data_type = if data_type == DatumType::TDim { DatumType::I64 } else { data_type };
                Form { data_type, shape }
            })
            .collect();
        ensure!(inputs.len() == self.inputs, "{} has {} inputs, not {}", self.name, self.inputs, inputs.len());
        self.keep(self.kernel.outputs(&inputs)?)
    }

    fn keep<T>(&self, all: Vec<T>) -> TractResult<Vec<T>> {
        let count = all.len();
        let kept: Vec<T> =
            all.into_iter().enumerate().filter(|(index, _)| self.kept.contains(index)).map(|(_, one)| one).collect();
        ensure!(kept.len() == self.kept.len(), "{} has {count} outputs and no more", self.name);
        Ok(kept)
    }
}

impl Expansion for Operator {
    fn name(&self) -> StaticName {
        self.name.into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.kept.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        ensure!(inputs.len() == self.inputs, "{} has {} inputs, not {}", self.name, self.inputs, inputs.len());
        solver.given_all(inputs.iter().map(|input| (&input.datum_type).bex()), move |solver, types| {
            solver.given_all(inputs.iter().map(|input| (&input.shape).bex()), move |solver, shapes| {
                for (proxy, form) in outputs.iter().zip(self.forms(types.iter().copied().zip(shapes))?) {
                    solver.equals(&proxy.datum_type, form.data_type)?;
                    solver.equals(&proxy.shape, form.shape)?;
                }
                Ok(())
            })
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for Operator {
    fn name(&self) -> StaticName {
        self.name.into()
    }

    op_as_typed_op!();
}

impl EvalOp for Operator {
    fn eval(&self, _context: &EvalContext, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        for input in inputs.iter_mut().filter(|input| input.datum_type() == DatumType::TDim) {
            *input = input.cast_to_dt(DatumType::I64)?.into_owned().into();
        }
        Ok(self.keep(self.kernel.run(&inputs)?)?.into_iter().map(TValue::from).collect())
    }

    op_out_of_plan!();
}

impl TypedOp for Operator {
    fn as_op(&self) -> &dyn Op {
        self
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self
    }

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let inputs = inputs.iter().map(|fact| (fact.datum_type, fact.shape.iter().cloned().collect()));
        Ok(self.forms(inputs)?.into_iter().map(|form| form.data_type.fact(&*form.shape)).collect())
    }
}
