//! `Imputer`: puts a value where one is missing.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{Datum, DatumType, TValue, Tensor, TractResult, bail, ensure};

use super::attributes::{self, tensor_of, wrong};
use super::operator::{Built, Form, Kernel, built};

pub(super) const NAME: &str = "Imputer";

pub(super) fn parse(_context: &ParsingContext, node: &NodeProto) -> Built {
    let (floats, ints) =
        (attributes::floats(node, "imputed_value_floats")?, attributes::ints(node, "imputed_value_int64s")?);
    let kernel = match (floats.len(), ints.len()) {
        (0, 0) => return wrong(node, "imputed_value_floats", "neither this nor imputed_value_int64s is there"),
        (_, 0) => Imputer::Floats {
            missing: node.get_attr_opt("replaced_value_float")?.unwrap_or_default(),
            instead: floats.to_vec(),
        },
        (0, _) => Imputer::Ints {
            missing: node.get_attr_opt("replaced_value_int64")?.unwrap_or_default(),
            instead: ints.to_vec(),
        },
        _ => return wrong(node, "imputed_value_floats", "both this and imputed_value_int64s are there"),
    };
    built(node, NAME, kernel)
}

#[derive(Debug)]
enum Imputer {
    Floats { missing: f32, instead: Vec<f32> },
    Ints { missing: i64, instead: Vec<i64> },
}

impl Imputer {
    fn fits(&self, width: usize) -> TractResult<()> {
        let known = match self {
            Self::Floats { instead, .. } => instead.len(),
            Self::Ints { instead, .. } => instead.len(),
        };
        ensure!(known == 1 || known == width, "Imputer is for {known} features, and the input has {width}");
        Ok(())
    }
}

impl Kernel for Imputer {
    fn outputs(&self, inputs: &[Form]) -> TractResult<Vec<Form>> {
        let (_, width) = inputs[0].rows()?;
        if let Ok(width) = width.to_i64() {
            self.fits(width.try_into().unwrap_or_default())?;
        }
        match (self, inputs[0].data_type) {
            (Self::Floats { .. }, DatumType::F32 | DatumType::F64) | (Self::Ints { .. }, DatumType::I64) => {
                Ok(vec![inputs[0].clone()])
            }
            (Self::Floats { .. }, other) => bail!("Imputer puts in floats, and the input is {other:?}"),
            (Self::Ints { .. }, other) => bail!("Imputer puts in integers, and the input is {other:?}"),
        }
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
        let input = &inputs[0];
        self.fits(input.shape().last().copied().unwrap_or_default())?;
        Ok(vec![match self {
            Self::Floats { missing, instead } if input.datum_type() == DatumType::F64 => {
                let (missing, instead) = (f64::from(*missing), instead.iter().map(|&value| f64::from(value)));
                put(input, &instead.collect::<Vec<_>>(), |value| {
                    value == missing || (value.is_nan() && missing.is_nan())
                })?
            }
            Self::Floats { missing, instead } => {
                put::<f32>(input, instead, |value| value == *missing || (value.is_nan() && missing.is_nan()))?
            }
            Self::Ints { missing, instead } => put::<i64>(input, instead, |value| value == *missing)?,
        }])
    }
}

fn put<T: Datum + Copy>(input: &Tensor, instead: &[T], is_missing: impl Fn(T) -> bool) -> TractResult<Tensor> {
    let values = input.try_as_plain_ram()?.as_slice::<T>()?.iter().zip(instead.iter().cycle());
    tensor_of(input.shape(), values.map(|(&value, &instead)| if is_missing(value) { instead } else { value }).collect())
}
