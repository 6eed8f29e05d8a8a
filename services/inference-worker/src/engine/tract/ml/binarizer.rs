//! `Binarizer`: 1 above a threshold, else 0.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{DatumType, TValue, Tensor, TractResult, bail, ensure};

use super::attributes::tensor_of;
use super::operator::{Built, Form, Kernel, built};

pub(super) const NAME: &str = "Binarizer";

pub(super) fn parse(_context: &ParsingContext, node: &NodeProto) -> Built {
    // The specification says 0 where the attribute is absent; ONNX Runtime 1.32 takes 1.
    let Some(threshold) = node.get_attr_opt("threshold")? else {
        return super::attributes::wrong(node, "threshold", "is missing, and what it then is differs between engines");
    };
    built(node, NAME, Binarizer { threshold })
}

#[derive(Debug)]
struct Binarizer {
    threshold: f32,
}

impl Kernel for Binarizer {
    fn outputs(&self, inputs: &[Form]) -> TractResult<Vec<Form>> {
        match inputs[0].data_type {
            DatumType::F32 => Ok(vec![inputs[0].clone()]),
            other => bail!("Binarizer takes floats of single precision, not {other:?}"),
        }
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
        let values = inputs[0].try_as_plain_ram()?.as_slice::<f32>()?;
        ensure!(!values.iter().any(|value| value.is_nan()), "Binarizer cannot tell on which side NaN is");
        let bits = values.iter().map(|&value| if value > self.threshold { 1.0 } else { 0.0 }).collect::<Vec<f32>>();
        Ok(vec![tensor_of(inputs[0].shape(), bits)?])
    }
}
