//! The tree operators: `TreeEnsembleClassifier`, `TreeEnsembleRegressor`, and `TreeEnsemble`, which follows them in version 5
//! of the operator set.
//!
//! Rows go through the trees in blocks: all rows of a block through one tree, then through the next. Results are those of
//! ONNX Runtime 1.32, whose sums are in the precision of the input and in the order of the trees.

mod forest;
mod listed;
pub(super) mod tree_ensemble;
pub(super) mod tree_ensemble_classifier;
pub(super) mod tree_ensemble_regressor;

#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use tract_onnx::tract_hir::internal::{DatumType, TDim, TValue, TractResult, bail, ensure};

use self::forest::{Forest, Number};
use super::operator::{Form, rows_of};

/// A forest in each precision that inputs may have.
#[derive(Debug)]
struct Forests {
    /// None where the file has thresholds or weights in double precision: cut to single they would be other trees.
    single: Option<Forest<f32>>,
    /// Made when it is first needed.
    double: OnceLock<Forest<f64>>,
}

impl Forests {
    fn single(forest: Forest<f32>) -> Self {
        Self { single: Some(forest), double: OnceLock::new() }
    }

    fn double(forest: Forest<f64>) -> Self {
        Self { single: None, double: OnceLock::from(forest) }
    }

    fn features(&self) -> usize {
        self.single.as_ref().map(Forest::features).or_else(|| self.double.get().map(Forest::features)).unwrap_or(0)
    }

    fn slots(&self) -> usize {
        self.single.as_ref().map(Forest::slots).or_else(|| self.double.get().map(Forest::slots)).unwrap_or(0)
    }

    /// The number of rows of an input of this form, which the trees can take.
    fn rows(&self, input: &Form) -> TractResult<TDim> {
        let (rows, width) = input.rows()?;
        if let Ok(width) = width.to_i64() {
            self.enough(width.try_into().unwrap_or_default())?;
        }
        match input.data_type {
            DatumType::F64 => Ok(rows),
            DatumType::F32 | DatumType::I32 | DatumType::I64 if self.single.is_some() => Ok(rows),
            DatumType::F32 | DatumType::I32 | DatumType::I64 => {
                bail!("the trees are of double precision, and the input is {:?}", input.data_type)
            }
            other => bail!("trees take numbers, not {other:?}"),
        }
    }

    fn enough(&self, width: usize) -> TractResult<()> {
        let wanted = self.features();
        ensure!(width >= wanted.max(1), "a branch looks at feature {}, and the input has {width}", wanted.max(1) - 1);
        Ok(())
    }

    /// Hands the rows and the forest of their precision to `walk`.
    fn walk<W: Walk>(&self, input: &TValue, walk: W) -> TractResult<W::Out> {
        let (_, width) = rows_of(input)?;
        self.enough(width)?;
        match (input.datum_type(), &self.single) {
            (DatumType::F64, single) => {
                let forest = match single {
                    Some(single) => self.double.get_or_init(|| single.doubled()),
                    None => match self.double.get() {
                        Some(double) => double,
                        None => bail!("there are no trees"),
                    },
                };
                walk.through(forest, input.try_as_plain_ram()?.as_slice()?, width)
            }
            // ONNX Runtime compares integers in single precision too.
            (_, Some(single)) => {
                let cast = input.cast_to::<f32>()?;
                walk.through(single, cast.try_as_plain_ram()?.as_slice()?, width)
            }
            (other, None) => bail!("the trees are of double precision, and the input is {other:?}"),
        }
    }
}

/// What is to be done with the scores, in either precision.
trait Walk {
    type Out;

    fn through<T: Number>(self, forest: &Forest<T>, rows: &[T], width: usize) -> TractResult<Self::Out>;
}
