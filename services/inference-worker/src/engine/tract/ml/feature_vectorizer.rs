//! `FeatureVectorizer`: columns of several inputs side by side, as floats.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{DatumType, TValue, Tensor, TractResult, bail, ensure};

use super::attributes::{self, length, tensor_of, wrong};
use super::operator::{Built, Form, Kernel, built, rows_of};

pub(super) const NAME: &str = "FeatureVectorizer";

/// Columns that no input has are zero; more of those than this would be a number in a file deciding about memory.
const MOST_COLUMNS: usize = 1 << 20;

pub(super) fn parse(_context: &ParsingContext, node: &NodeProto) -> Built {
    let dimensions = attributes::ints(node, "inputdimensions")?;
    length(node, "inputdimensions", dimensions.len(), node.input.len())?;
    let widths = dimensions
        .iter()
        .map(|&width| match usize::try_from(width) {
            Ok(width) if width <= MOST_COLUMNS => Ok(width),
            _ => wrong(node, "inputdimensions", format!("{width} is not between 0 and {MOST_COLUMNS}")),
        })
        .collect::<TractResult<_>>()?;
    built(node, NAME, FeatureVectorizer { widths })
}

#[derive(Debug)]
struct FeatureVectorizer {
    /// Columns of each input: more are cut off, missing ones are zero.
    widths: Vec<usize>,
}

impl Kernel for FeatureVectorizer {
    fn outputs(&self, inputs: &[Form]) -> TractResult<Vec<Form>> {
        let Some(first) = inputs.first() else { bail!("FeatureVectorizer has no input") };
        for input in inputs {
            input.rows()?;
            ensure!(
                matches!(input.data_type, DatumType::F32 | DatumType::F64 | DatumType::I64 | DatumType::I32),
                "FeatureVectorizer takes numbers, not {:?}",
                input.data_type
            );
        }
        Ok(vec![Form::new(DatumType::F32, [first.rows()?.0, self.widths.iter().sum::<usize>().into()])])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
        let Some(first) = inputs.first() else { bail!("FeatureVectorizer has no input") };
        let (rows, total) = (rows_of(first)?.0, self.widths.iter().sum::<usize>());
        let mut joined = vec![0.0_f32; rows * total];
        let mut start = 0;
        for (input, &wanted) in inputs.iter().zip(&self.widths) {
            let (found_rows, width) = rows_of(input)?;
            ensure!(found_rows == rows, "FeatureVectorizer has inputs of {rows} and of {found_rows} rows");
            let taken = wanted.min(width);
            let floats = input.cast_to::<f32>()?;
            let floats = floats.try_as_plain_ram()?.as_slice::<f32>()?;
            if taken > 0 {
                for (from, to) in floats.chunks_exact(width).zip(joined.chunks_exact_mut(total)) {
                    to[start..start + taken].copy_from_slice(&from[..taken]);
                }
            }
            start += wanted;
        }
        Ok(vec![tensor_of(&[rows, total], joined)?])
    }
}
