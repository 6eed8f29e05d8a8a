//! Rows of several tensors in one, and back.

use bytes::Bytes;
use slipway_proto::oip::{BytesElements, Tensor};

use super::EngineError;

/// One tensor of the rows of all `parts`, in their order. They must agree in name, type and shape but for the first
/// dimension.
///
/// # Errors
/// [`EngineError::Run`] when they do not.
pub fn stack_rows(parts: &[&Tensor]) -> Result<Tensor, EngineError> {
    let first = parts.first().ok_or_else(|| EngineError::Run("nothing to stack".to_owned()))?;
    let row_shape = first.shape().get(1..).unwrap_or_default();
    let mut rows = 0;
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.bytes().len()).sum());
    for part in parts {
        let [own_rows, own_shape @ ..] = part.shape() else {
            return Err(EngineError::Run(format!("`{}` has no rows", part.name())));
        };
        if own_shape != row_shape || part.data_type() != first.data_type() {
            return Err(EngineError::Run(format!("rows of `{}` differ in shape or type", first.name())));
        }
        rows += own_rows;
        bytes.extend_from_slice(part.bytes());
    }
    let shape = [&[rows], row_shape].concat();
    Tensor::new(first.name(), first.data_type(), shape, bytes.into())
        .map_err(|error| EngineError::Run(error.to_string()))
}

/// The tensor cut into parts of so many rows each; what is left over is dropped (padding).
///
/// # Errors
/// [`EngineError::Output`] when there are fewer rows than the parts need.
pub fn split_rows(tensor: &Tensor, parts: &[usize]) -> Result<Vec<Tensor>, EngineError> {
    let needed: usize = parts.iter().sum();
    let [rows, row_shape @ ..] = tensor.shape() else {
        return Err(EngineError::Output(format!("`{}` is a scalar, so it cannot be told whose it is", tensor.name())));
    };
    if *rows < needed {
        return Err(EngineError::Output(format!("`{}` has {rows} rows where {needed} went in", tensor.name())));
    }
    let row_elements: usize = row_shape.iter().product();
    let mut cutter = Cutter::new(tensor);
    parts
        .iter()
        .map(|&rows| {
            let bytes = cutter.take(rows * row_elements)?;
            let shape = [&[rows], row_shape].concat();
            Tensor::new(tensor.name(), tensor.data_type(), shape, bytes)
                .map_err(|error| EngineError::Output(error.to_string()))
        })
        .collect()
}

/// Cuts consecutive elements off a tensor.
struct Cutter<'a> {
    bytes: &'a Bytes,
    element_size: Option<usize>,
    elements: BytesElements<'a>,
    offset: usize,
}

impl<'a> Cutter<'a> {
    fn new(tensor: &'a Tensor) -> Self {
        Self {
            bytes: tensor.bytes(),
            element_size: tensor.data_type().element_size(),
            elements: BytesElements::new(tensor.bytes()),
            offset: 0,
        }
    }

    fn take(&mut self, elements: usize) -> Result<Bytes, EngineError> {
        let start = self.offset;
        self.offset = match self.element_size {
            Some(size) => start + elements * size,
            None => {
                for _ in 0..elements {
                    if let Some(Err(problem)) = self.elements.next() {
                        return Err(EngineError::Output(problem.to_string()));
                    }
                }
                self.elements.offset()
            }
        };
        if self.offset > self.bytes.len() {
            return Err(EngineError::Output("fewer elements than rows".to_owned()));
        }
        Ok(self.bytes.slice(start..self.offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use slipway_proto::oip::{DataType, join_bytes_elements};

    #[test]
    fn rows_that_differ_in_shape_are_not_stacked() {
        let a = Tensor::from_f32("x", vec![1, 2], &[1.0, 2.0]).unwrap();
        let b = Tensor::from_f32("x", vec![1, 3], &[1.0, 2.0, 3.0]).unwrap();
        assert!(stack_rows(&[&a, &b]).is_err());
        let scalar = Tensor::from_f32("x", vec![], &[1.0]).unwrap();
        assert!(stack_rows(&[&scalar]).is_err());
        assert!(split_rows(&scalar, &[1]).is_err());
    }

    #[test]
    fn missing_rows_are_an_error_and_padding_is_dropped() {
        let tensor = Tensor::from_i64("y", vec![4], &[1, 2, 3, 4]).unwrap();
        assert!(split_rows(&tensor, &[3, 2]).is_err());
        let parts = split_rows(&tensor, &[1, 2]).unwrap();
        assert_eq!(parts[1].as_i64().unwrap(), [2, 3]);
    }

    #[test]
    fn strings_are_cut_at_their_elements() {
        let raw = join_bytes_elements([&b"a"[..], b"", b"ccc", b"dd"]).unwrap();
        let tensor = Tensor::new("s", DataType::Bytes, vec![2, 2], raw.into()).unwrap();
        let parts = split_rows(&tensor, &[1, 1]).unwrap();
        assert_eq!(parts[1].shape(), [1, 2]);
        assert_eq!(stack_rows(&[&parts[0], &parts[1]]).unwrap(), tensor);
    }

    proptest! {
        #[test]
        fn splitting_undoes_stacking(sizes in proptest::collection::vec(1_usize..5, 1..6), width in 0_usize..4) {
            let mut next = 0.0_f32;
            let parts: Vec<_> = sizes.iter().map(|&rows| {
                let values: Vec<f32> = (0..rows * width).map(|_| { next += 1.0; next }).collect();
                Tensor::from_f32("x", vec![rows, width], &values).unwrap()
            }).collect();
            let stacked = stack_rows(&parts.iter().collect::<Vec<_>>()).unwrap();
            prop_assert_eq!(split_rows(&stacked, &sizes).unwrap(), parts);
        }
    }
}
