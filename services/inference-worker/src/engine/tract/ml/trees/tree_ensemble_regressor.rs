//! `TreeEnsembleRegressor`, and what it shares with `TreeEnsemble`.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{DatumType, TValue, Tensor, TractResult, bail};

use super::forest::{Aggregate, Forest, Number, Score};
use super::listed::{self, Numbers, TARGETS};
use super::{Forests, Walk};
use crate::engine::tract::ml::attributes::{self, tensor_of, wrong};
use crate::engine::tract::ml::operator::{Built, Form, Kernel, built};
use crate::engine::tract::ml::post_transform::PostTransform;

pub(in super::super) const NAME: &str = "TreeEnsembleRegressor";

pub(in super::super) fn parse(context: &ParsingContext, node: &NodeProto) -> Built {
    built(node, NAME, read(context, node)?)
}

pub(super) fn read(context: &ParsingContext, node: &NodeProto) -> TractResult<Regression> {
    let targets = targets(node, attributes::ints(node, TARGETS.ids)?.len(), TARGETS.ids)?;
    let base = Numbers::read(context, node, "base_values")?;
    if !base.values.is_empty() && base.values.len() != targets {
        return wrong(node, "base_values", format!("{} values for {targets} targets", base.values.len()));
    }
    let aggregate = match node.get_attr_opt::<&str>("aggregate_function")?.unwrap_or("SUM") {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => return wrong(node, "aggregate_function", format!("`{other}` is unknown")),
    };
    let forests = listed::read(context, node, TARGETS, targets, &base)?;
    let post = PostTransform::read(node)?;
    Ok(Regression { forests, aggregate, base: base.values, post, follows_input: false })
}

/// The attribute `n_targets`. Each target takes at least a weight; that also keeps a number in a file from deciding how
/// much memory a run takes.
pub(super) fn targets(node: &NodeProto, weights: usize, ids: &str) -> TractResult<usize> {
    let targets = node.get_attr_opt::<i64>("n_targets")?.unwrap_or_default();
    match usize::try_from(targets) {
        Ok(targets) if targets > 0 && targets <= weights => Ok(targets),
        _ => wrong(node, "n_targets", format!("{targets}, where {ids} gives {weights} weights")),
    }
}

/// Trees whose scores are the answer.
#[derive(Debug)]
pub(super) struct Regression {
    pub(super) forests: Forests,
    pub(super) aggregate: Aggregate,
    /// None or one per target.
    pub(super) base: Vec<f64>,
    pub(super) post: PostTransform,
    /// The output is of the type of the input; else it is of single precision.
    pub(super) follows_input: bool,
}

impl Kernel for Regression {
    fn outputs(&self, inputs: &[Form]) -> TractResult<Vec<Form>> {
        let rows = self.forests.rows(&inputs[0])?;
        let data_type = match inputs[0].data_type {
            _ if !self.follows_input => DatumType::F32,
            DatumType::F32 | DatumType::F64 => inputs[0].data_type,
            other => bail!("TreeEnsemble takes floats, not {other:?}"),
        };
        Ok(vec![Form::new(data_type, [rows, self.forests.slots().into()])])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
        let scores = self.forests.walk(&inputs[0], self)?;
        let targets = self.forests.slots();
        let shape = [scores.len() / targets, targets];
        Ok(vec![if self.follows_input && inputs[0].datum_type() == DatumType::F64 {
            tensor_of(&shape, scores)?
        } else {
            tensor_of(&shape, scores.into_iter().map(|score| score as f32).collect())?
        }])
    }
}

impl Walk for &Regression {
    type Out = Vec<f64>;

    fn through<T: Number>(self, forest: &Forest<T>, rows: &[T], width: usize) -> TractResult<Self::Out> {
        let mut given = Vec::with_capacity(rows.len() / width * forest.slots());
        let base: Vec<T> = self.base.iter().map(|&value| T::of(value)).collect();
        let trees = T::of(forest.trees() as f64);
        let mut shown = vec![0.0; forest.slots()];
        forest.scores(rows, width, self.aggregate, |scores: &mut [Score<T>]| {
            for (index, score) in scores.iter().enumerate() {
                let merged = if self.aggregate == Aggregate::Average { score.value / trees } else { score.value };
                let based = base.get(index).map_or(merged, |&base| merged + base).wide();
                // A target of several that no leaf of this row gave to is zero in ONNX Runtime, whatever its base.
                shown[index] = if score.seen || scores.len() == 1 { based } else { 0.0 };
            }
            self.post.apply(&mut shown);
            given.extend_from_slice(&shown);
        });
        Ok(given)
    }
}
