//! `ArrayFeatureExtractor`: some of the last dimension.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{Datum, DatumType, TDim, TValue, Tensor, TractResult, bail, ensure, format_err};

use super::attributes::tensor_of;
use super::operator::{Built, Form, Kernel, built};

pub(super) const NAME: &str = "ArrayFeatureExtractor";

pub(super) fn parse(_context: &ParsingContext, node: &NodeProto) -> Built {
    built(node, NAME, ArrayFeatureExtractor)
}

/// tract's own gives the indices' dimensions to the output; in ONNX it has those of the data, but for the last.
#[derive(Debug)]
struct ArrayFeatureExtractor;

impl Kernel for ArrayFeatureExtractor {
    fn outputs(&self, inputs: &[Form]) -> TractResult<Vec<Form>> {
        let [data, indices] = inputs else { bail!("ArrayFeatureExtractor has {} inputs, not two", inputs.len()) };
        ensure!(indices.data_type == DatumType::I64, "the indices are {:?}, not integers", indices.data_type);
        ensure!(!data.shape.is_empty(), "ArrayFeatureExtractor takes no scalar");
        // One row, even of data that has no rows.
        let rows = if data.shape.len() == 1 { vec![1.into()] } else { data.shape[..data.shape.len() - 1].to_vec() };
        let count: TDim = indices.shape.iter().product();
        Ok(vec![Form::new(data.data_type, rows.into_iter().chain([count]))])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
        let [data, indices] = inputs else { bail!("ArrayFeatureExtractor has {} inputs, not two", inputs.len()) };
        let indices = indices.try_as_plain_ram()?.as_slice::<i64>()?;
        Ok(vec![match data.datum_type() {
            DatumType::F32 => extracted::<f32>(data, indices)?,
            DatumType::F64 => extracted::<f64>(data, indices)?,
            DatumType::I64 => extracted::<i64>(data, indices)?,
            DatumType::I32 => extracted::<i32>(data, indices)?,
            DatumType::String => extracted::<String>(data, indices)?,
            other => bail!("ArrayFeatureExtractor takes numbers and texts, not {other:?}"),
        }])
    }
}

fn extracted<T: Datum>(data: &Tensor, indices: &[i64]) -> TractResult<Tensor> {
    let width = data.shape().last().copied().unwrap_or_default();
    let columns = indices
        .iter()
        .map(|&index| {
            let column = usize::try_from(index).ok().filter(|&column| column < width);
            column.ok_or_else(|| format_err!("index {index} is out of the {width} that there are"))
        })
        .collect::<TractResult<Vec<usize>>>()?;
    let values = data.try_as_plain_ram()?.as_slice::<T>()?;
    let taken = values.chunks(width.max(1)).flat_map(|row| columns.iter().map(|&column| row[column].clone())).collect();
    let mut shape = if data.rank() == 1 { vec![1, width] } else { data.shape().to_vec() };
    if let Some(last) = shape.last_mut() {
        *last = columns.len();
    }
    tensor_of(&shape, taken)
}
