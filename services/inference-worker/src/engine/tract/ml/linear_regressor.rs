//! `LinearRegressor`, and the sums that it shares with `LinearClassifier`.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{DatumType, TDim, TValue, Tensor, TractResult, bail, ensure};

use super::attributes::{self, length, tensor_of, wrong};
use super::operator::{Built, Form, Kernel, built, rows_of};
use super::post_transform::PostTransform;

pub(super) const NAME: &str = "LinearRegressor";

pub(super) fn parse(_context: &ParsingContext, node: &NodeProto) -> Built {
    let targets = node.get_attr_opt::<i64>("targets")?.unwrap_or(1);
    let coefficients = attributes::floats(node, "coefficients")?;
    let targets = match usize::try_from(targets) {
        Ok(targets) if targets > 0 && targets <= coefficients.len() => targets,
        _ => return wrong(node, "targets", format!("{targets}, with {} coefficients", coefficients.len())),
    };
    let intercepts = attributes::floats(node, "intercepts")?;
    if !intercepts.is_empty() {
        length(node, "intercepts", intercepts.len(), targets)?;
    }
    let intercepts = if intercepts.is_empty() { vec![0.0; targets] } else { intercepts.to_vec() };
    let post = PostTransform::read(node)?;
    built(node, NAME, Regressor { linear: Linear::new(node, coefficients, intercepts)?, post })
}

/// x · coefficients + intercept, for each of several targets.
#[derive(Debug)]
pub(super) struct Linear {
    /// Those of a target one after the other.
    coefficients: Vec<f32>,
    /// One per target.
    intercepts: Vec<f32>,
    features: usize,
}

impl Linear {
    pub(super) fn new(node: &NodeProto, coefficients: &[f32], intercepts: Vec<f32>) -> TractResult<Self> {
        let features = coefficients.len() / intercepts.len().max(1);
        if features == 0 || features * intercepts.len() != coefficients.len() {
            let (found, targets) = (coefficients.len(), intercepts.len());
            return wrong(node, "coefficients", format!("{found} cannot be divided among {targets}"));
        }
        Ok(Self { coefficients: coefficients.to_vec(), intercepts, features })
    }

    pub(super) fn targets(&self) -> usize {
        self.intercepts.len()
    }

    /// The number of rows of an input of this form.
    pub(super) fn rows(&self, input: &Form) -> TractResult<TDim> {
        let (rows, width) = input.rows()?;
        if let Ok(width) = width.to_i64() {
            self.fits(width.try_into().unwrap_or_default())?;
        }
        match input.data_type {
            DatumType::F32 | DatumType::F64 | DatumType::I64 | DatumType::I32 => Ok(rows),
            other => bail!("a linear model takes numbers, not {other:?}"),
        }
    }

    fn fits(&self, width: usize) -> TractResult<()> {
        ensure!(
            width == self.features,
            "the coefficients are for {} features, and the input has {width}",
            self.features
        );
        Ok(())
    }

    /// The scores of all rows.
    pub(super) fn scores(&self, input: &TValue) -> TractResult<Vec<f32>> {
        let (rows, width) = rows_of(input)?;
        self.fits(width)?;
        let input = input.cast_to::<f32>()?;
        let mut scores = Vec::with_capacity(rows * self.targets());
        for row in input.try_as_plain_ram()?.as_slice::<f32>()?.chunks_exact(width) {
            let targets = self.coefficients.chunks_exact(width).zip(&self.intercepts);
            scores.extend(targets.map(|(coefficients, intercept)| dot(row, coefficients) + intercept));
        }
        Ok(scores)
    }
}

/// In eight sums side by side, which is what the processor adds at once.
fn dot(one: &[f32], other: &[f32]) -> f32 {
    let ((one, one_rest), (other, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let mut sums = [0.0_f32; 8];
    for (one, other) in one.iter().zip(other) {
        for lane in 0..8 {
            sums[lane] += one[lane] * other[lane];
        }
    }
    let rest: f32 = one_rest.iter().zip(other_rest).map(|(one, other)| one * other).sum();
    sums.iter().sum::<f32>() + rest
}

#[derive(Debug)]
struct Regressor {
    linear: Linear,
    post: PostTransform,
}

impl Kernel for Regressor {
    fn outputs(&self, inputs: &[Form]) -> TractResult<Vec<Form>> {
        Ok(vec![Form::new(DatumType::F32, [self.linear.rows(&inputs[0])?, self.linear.targets().into()])])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
        let (scores, targets) = (self.linear.scores(&inputs[0])?, self.linear.targets());
        let shape = [scores.len() / targets, targets];
        Ok(vec![tensor_of(&shape, self.post.apply_single(scores, targets))?])
    }
}
