//! `Normalizer`: divides each row by its largest value, its sum or its length.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{DatumType, TValue, Tensor, TractResult, bail};

use super::attributes::{tensor_of, wrong};
use super::operator::{Built, Form, Kernel, built, rows_of};

pub(super) const NAME: &str = "Normalizer";

pub(super) fn parse(_context: &ParsingContext, node: &NodeProto) -> Built {
    let kernel = match node.get_attr_opt::<&str>("norm")?.unwrap_or("MAX") {
        "MAX" => Normalizer::Max,
        "L1" => Normalizer::L1,
        "L2" => Normalizer::L2,
        other => return wrong(node, "norm", format!("`{other}` is unknown")),
    };
    built(node, NAME, kernel)
}

#[derive(Debug, Clone, Copy)]
enum Normalizer {
    /// By the largest value, not the largest size: that is what ONNX defines and ONNX Runtime does.
    Max,
    L1,
    L2,
}

impl Kernel for Normalizer {
    fn outputs(&self, inputs: &[Form]) -> TractResult<Vec<Form>> {
        inputs[0].rows()?;
        match inputs[0].data_type {
            DatumType::F32 | DatumType::F64 | DatumType::I64 | DatumType::I32 => {
                Ok(vec![Form { data_type: DatumType::F32, shape: inputs[0].shape.clone() }])
            }
            other => bail!("Normalizer takes numbers, not {other:?}"),
        }
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
        let (_, width) = rows_of(&inputs[0])?;
        let input = inputs[0].cast_to::<f32>()?;
        let mut values = input.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
        for row in values.chunks_mut(width.max(1)) {
            let norm = match self {
                Self::Max => row.iter().copied().fold(f32::MIN, f32::max),
                Self::L1 => row.iter().map(|value| value.abs()).sum(),
                Self::L2 => row.iter().map(|value| value * value).sum::<f32>().sqrt(),
            };
            // A row of nothing stays one.
            if norm != 0.0 {
                row.iter_mut().for_each(|value| *value /= norm);
            }
        }
        Ok(vec![tensor_of(inputs[0].shape(), values)?])
    }
}
