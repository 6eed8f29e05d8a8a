//! `Scaler`: (x - offset) * scale, per feature or for all alike.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{DatumType, TValue, Tensor, TractResult, bail, ensure};

use super::attributes::{self, length, tensor_of, wrong};
use super::operator::{Built, Form, Kernel, built};

pub(super) const NAME: &str = "Scaler";

pub(super) fn parse(_context: &ParsingContext, node: &NodeProto) -> Built {
    let (offset, scale) = (attributes::floats(node, "offset")?, attributes::floats(node, "scale")?);
    if scale.is_empty() {
        return wrong(node, "scale", "is missing");
    }
    length(node, "offset", offset.len(), scale.len())?;
    built(node, NAME, Scaler { offset: offset.to_vec(), scale: scale.to_vec() })
}

#[derive(Debug)]
struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

impl Scaler {
    fn fits(&self, width: usize) -> TractResult<()> {
        ensure!(
            self.scale.len() == 1 || self.scale.len() == width,
            "Scaler is for {} features, and the input has {width}",
            self.scale.len()
        );
        Ok(())
    }
}

impl Kernel for Scaler {
    fn outputs(&self, inputs: &[Form]) -> TractResult<Vec<Form>> {
        let (_, width) = inputs[0].rows()?;
        if let Ok(width) = width.to_i64() {
            self.fits(width.try_into().unwrap_or_default())?;
        }
        match inputs[0].data_type {
            DatumType::F32 | DatumType::F64 | DatumType::I64 | DatumType::I32 => {
                Ok(vec![Form { data_type: DatumType::F32, shape: inputs[0].shape.clone() }])
            }
            other => bail!("Scaler takes numbers, not {other:?}"),
        }
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
        let input = &inputs[0];
        self.fits(input.shape().last().copied().unwrap_or_default())?;
        let scales = || self.offset.iter().zip(&self.scale).cycle();
        // Doubles are scaled as doubles and only then made single; integers are single from the beginning.
        let scaled = if input.datum_type() == DatumType::F64 {
            let values = input.try_as_plain_ram()?.as_slice::<f64>()?.iter().zip(scales());
            values.map(|(value, (&offset, &scale))| ((value - f64::from(offset)) * f64::from(scale)) as f32).collect()
        } else {
            let input = input.cast_to::<f32>()?;
            let values = input.try_as_plain_ram()?.as_slice::<f32>()?.iter().zip(scales());
            values.map(|(value, (&offset, &scale))| (value - offset) * scale).collect()
        };
        Ok(vec![tensor_of(input.shape(), scaled)?])
    }
}
