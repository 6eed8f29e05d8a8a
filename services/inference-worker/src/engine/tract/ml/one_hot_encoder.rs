//! `OneHotEncoder`: a column per category, 1 in that of the value.

use std::collections::HashMap;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{DatumType, TValue, Tensor, TractResult, bail, ensure};

use super::attributes::{self, tensor_of, wrong};
use super::operator::{Built, Form, Kernel, built};

pub(super) const NAME: &str = "OneHotEncoder";

pub(super) fn parse(_context: &ParsingContext, node: &NodeProto) -> Built {
    let (ints, texts) = (attributes::ints(node, "cats_int64s")?, attributes::texts(node, "cats_strings")?);
    let categories = match (ints.len(), texts.len()) {
        (0, 0) => return wrong(node, "cats_int64s", "neither this nor cats_strings names a category"),
        (_, 0) => Categories::Ints(ints.iter().copied().enumerate().map(|(at, one)| (one, at)).collect()),
        (0, _) => Categories::Texts(texts.into_iter().enumerate().map(|(at, one)| (one, at)).collect()),
        _ => return wrong(node, "cats_int64s", "both this and cats_strings name categories"),
    };
    let width = ints.len().max(node.get_attr_opt_slice::<Vec<u8>>("cats_strings")?.map_or(0, <[_]>::len));
    let zeros = node.get_attr_opt::<i64>("zeros")?.unwrap_or(1) != 0;
    built(node, NAME, OneHotEncoder { categories, width, zeros })
}

#[derive(Debug)]
enum Categories {
    Ints(HashMap<i64, usize>),
    Texts(HashMap<String, usize>),
}

#[derive(Debug)]
struct OneHotEncoder {
    categories: Categories,
    width: usize,
    /// A value of no category gives zeros only; else it is an error.
    zeros: bool,
}

impl Kernel for OneHotEncoder {
    fn outputs(&self, inputs: &[Form]) -> TractResult<Vec<Form>> {
        ensure!(inputs[0].shape.len() <= 2, "OneHotEncoder takes at most two dimensions");
        match (&self.categories, inputs[0].data_type) {
            (Categories::Texts(_), DatumType::String)
            | (Categories::Ints(_), DatumType::I64 | DatumType::I32 | DatumType::F32 | DatumType::F64) => {
                let shape = inputs[0].shape.iter().cloned().chain([self.width.into()]);
                Ok(vec![Form::new(DatumType::F32, shape)])
            }
            (Categories::Texts(_), other) => bail!("the categories are texts, and the input is {other:?}"),
            (Categories::Ints(_), other) => bail!("the categories are integers, and the input is {other:?}"),
        }
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<Vec<Tensor>> {
        let input = &inputs[0];
        let columns: Vec<Option<usize>> = match &self.categories {
            Categories::Texts(known) => {
                input.try_as_plain_ram()?.as_slice::<String>()?.iter().map(|one| known.get(one).copied()).collect()
            }
            Categories::Ints(known) if input.datum_type().is_float() => {
                let input = input.cast_to::<f64>()?;
                let values = input.try_as_plain_ram()?.as_slice::<f64>()?;
                // A fraction is cut off as in a cast; what is no number is no category, and not zero.
                values.iter().map(|one| one.is_finite().then(|| known.get(&(*one as i64)).copied()).flatten()).collect()
            }
            Categories::Ints(known) => {
                let input = input.cast_to::<i64>()?;
                input.try_as_plain_ram()?.as_slice::<i64>()?.iter().map(|one| known.get(one).copied()).collect()
            }
        };
        ensure!(
            self.zeros || !columns.contains(&None),
            "a value is none of the categories of a OneHotEncoder that knows no others; to be tried out before it is served, it \
             must be exported with handle_unknown='ignore'"
        );
        let mut hot = vec![0.0_f32; columns.len() * self.width];
        for (row, column) in hot.chunks_exact_mut(self.width).zip(&columns) {
            if let Some(column) = column {
                row[*column] = 1.0;
            }
        }
        let shape: Vec<usize> = input.shape().iter().copied().chain([self.width]).collect();
        Ok(vec![tensor_of(&shape, hot)?])
    }
}
