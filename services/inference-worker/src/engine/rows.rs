//! Rows of several tensors in one, and back.

use std::iter::repeat_n;

use bytes::Bytes;
use slipway_proto::oip::{BytesElements, DataType, Problem, Tensor};

use super::{EngineError, copies};

/// One input of every request of a run, seen as one tensor of all their rows. Nothing is copied: the engine writes the
/// pieces into its own buffer, once.
#[derive(Debug)]
pub struct Stack<'a> {
    first: &'a Tensor,
    parts: Parts<'a>,
    shape: Vec<usize>,
    padding: Padding<'a>,
}

#[derive(Debug, Clone, Copy)]
struct Parts<'a> {
    requests: &'a [&'a [Tensor]],
    input: usize,
}

/// The last row over and over: real values, unlike zeros, cannot bring a model to divide by nothing.
#[derive(Debug, Clone, Copy, Default)]
struct Padding<'a> {
    row: &'a [u8],
    times: usize,
}

impl<'a> Parts<'a> {
    fn tensors(self) -> impl Iterator<Item = &'a Tensor> {
        self.requests.iter().filter_map(move |inputs| inputs.get(self.input))
    }
}

impl<'a> Stack<'a> {
    /// The input at this position of all `requests`. A request that is alone keeps its shape, whatever that is; several
    /// must agree in type and in shape but for the first dimension.
    ///
    /// # Errors
    /// [`EngineError::Run`] when they do not, or when one lacks the input.
    pub fn new(requests: &'a [&'a [Tensor]], input: usize) -> Result<Self, EngineError> {
        let parts = Parts { requests, input };
        let first = parts.tensors().next().ok_or_else(|| EngineError::Run("nothing to run".to_owned()))?;
        let mut shape = first.shape().to_vec();
        if requests.len() > 1 {
            if parts.tensors().count() != requests.len() {
                return Err(EngineError::Run(format!("`{}` is missing from a request", first.name())));
            }
            let rows = parts.tensors().try_fold(0, |rows, part| Ok(rows + rows_like(first, part)?))?;
            if let Some(first) = shape.first_mut() {
                *first = rows;
            }
        }
        Ok(Self { first, parts, shape, padding: Padding::default() })
    }

    /// The same with the last row repeated until there are so many rows.
    ///
    /// # Errors
    /// [`EngineError::Run`] when there is no last row, or more rows than that.
    pub fn padded_to(mut self, rows: usize) -> Result<Self, EngineError> {
        let found = self.shape.first().copied().unwrap_or_default();
        let (Some(last), 1..) = (self.parts.tensors().last(), found) else {
            return Err(EngineError::Run(format!("`{}` has no row to repeat", self.name())));
        };
        let times = rows
            .checked_sub(found)
            .ok_or_else(|| EngineError::Run(format!("`{}` has {found} rows where {rows} are the most", self.name())))?;
        self.padding = Padding { row: last_row(last)?, times };
        if let Some(first) = self.shape.first_mut() {
            *first = rows;
        }
        Ok(self)
    }

    /// Name of the input.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.first.name()
    }

    /// Type of its elements.
    #[must_use]
    pub const fn data_type(&self) -> DataType {
        self.first.data_type()
    }

    /// Shape of all rows together.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Where the bytes lie, in the order of the rows. Whoever asks is about to copy them, and is counted.
    pub fn pieces(&self) -> impl Iterator<Item = &'a [u8]> {
        let parts = self.parts.tensors().map(|part| part.bytes().as_ref());
        parts.chain(repeat_n(self.padding.row, self.padding.times)).inspect(|piece| copies::into_engine(piece.len()))
    }

    /// The elements of a BYTES input, in the order of the rows.
    pub fn strings(&self) -> impl Iterator<Item = Result<&'a [u8], Problem>> {
        self.pieces().flat_map(BytesElements::new)
    }
}

/// Rows of `part`, if it is like `first` in everything else.
fn rows_like(first: &Tensor, part: &Tensor) -> Result<usize, EngineError> {
    match (first.shape(), part.shape()) {
        ([_, wanted @ ..], [rows, found @ ..]) if wanted == found && first.data_type() == part.data_type() => Ok(*rows),
        ([], _) | (_, []) => Err(EngineError::Run(format!("`{}` has no rows", first.name()))),
        _ => Err(EngineError::Run(format!("rows of `{}` differ in shape or type", first.name()))),
    }
}

fn last_row(tensor: &Tensor) -> Result<&[u8], EngineError> {
    let rows = tensor.shape().first().copied().unwrap_or_default().max(1);
    let elements = tensor.elements() / rows;
    let mut cutter = Cutter::new(tensor);
    let start = cutter.skip((rows - 1) * elements)?;
    tensor.bytes().get(start..).ok_or_else(|| EngineError::Run(format!("`{}` is cut off", tensor.name())))
}

/// One tensor of the rows of all `parts`, in their order, copied. They must agree in name, type and shape but for the first
/// dimension.
///
/// # Errors
/// [`EngineError::Run`] when they do not.
pub fn stack_rows(parts: &[&Tensor]) -> Result<Tensor, EngineError> {
    let first = parts.first().ok_or_else(|| EngineError::Run("nothing to stack".to_owned()))?;
    let row_shape = first.shape().get(1..).unwrap_or_default();
    let rows = parts.iter().try_fold(0, |rows, part| Ok::<_, EngineError>(rows + rows_like(first, part)?))?;
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.bytes().len()).sum());
    for part in parts {
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
        let end = self.skip(elements)?;
        Ok(self.bytes.slice(start..end))
    }

    /// Walks over so many elements; says where that ends.
    fn skip(&mut self, elements: usize) -> Result<usize, EngineError> {
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
        Ok(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use slipway_proto::oip::join_bytes_elements;

    #[test]
    fn rows_that_differ_in_shape_are_not_stacked() {
        let a = Tensor::from_f32("x", vec![1, 2], &[1.0, 2.0]).unwrap();
        let b = Tensor::from_f32("x", vec![1, 3], &[1.0, 2.0, 3.0]).unwrap();
        assert!(stack_rows(&[&a, &b]).is_err());
        let scalar = Tensor::from_f32("x", vec![], &[1.0]).unwrap();
        assert!(stack_rows(&[&scalar]).is_err());
        assert!(split_rows(&scalar, &[1]).is_err());
    }

    fn whole(stack: &Stack<'_>) -> Tensor {
        let bytes: Vec<u8> = stack.pieces().collect::<Vec<_>>().concat();
        Tensor::new(stack.name(), stack.data_type(), stack.shape().to_vec(), bytes.into()).unwrap()
    }

    #[test]
    fn a_request_that_is_alone_keeps_its_shape_even_a_scalar() {
        let scalar = [Tensor::from_f32("x", vec![], &[1.0]).unwrap()];
        assert_eq!(whole(&Stack::new(&[&scalar], 0).unwrap()), scalar[0]);
        assert!(Stack::new(&[&scalar, &scalar], 0).is_err());
        assert!(Stack::new(&[&scalar], 1).is_err());
        assert!(Stack::new(&[], 0).is_err());
    }

    #[test]
    fn padding_repeats_the_last_row_of_numbers_and_of_strings() {
        let numbers = [Tensor::from_i64("x", vec![2, 2], &[1, 2, 3, 4]).unwrap()];
        let requests = [numbers.as_slice()];
        let padded = Stack::new(&requests, 0).unwrap().padded_to(4).unwrap();
        assert_eq!(whole(&padded).as_i64().unwrap(), [1, 2, 3, 4, 3, 4, 3, 4]);
        let raw = join_bytes_elements([&b"a"[..], b"bb"]).unwrap();
        let strings = [Tensor::new("s", DataType::Bytes, vec![2, 1], raw.into()).unwrap()];
        let requests = [strings.as_slice()];
        let padded = Stack::new(&requests, 0).unwrap().padded_to(3).unwrap();
        let elements: Vec<_> = padded.strings().map(Result::unwrap).collect();
        assert_eq!(elements, [&b"a"[..], b"bb", b"bb"]);
        assert!(Stack::new(&[&strings], 0).unwrap().padded_to(1).is_err());
        let empty = [Tensor::from_f32("x", vec![0, 2], &[]).unwrap()];
        assert!(Stack::new(&[&empty], 0).unwrap().padded_to(2).is_err());
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
            prop_assert_eq!(&split_rows(&stacked, &sizes).unwrap(), &parts);
            let requests: Vec<&[Tensor]> = parts.iter().map(std::slice::from_ref).collect();
            prop_assert_eq!(whole(&Stack::new(&requests, 0).unwrap()), stacked);
        }
    }
}
