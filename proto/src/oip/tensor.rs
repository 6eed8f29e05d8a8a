//! A tensor whose bytes fit its type and shape, and the arithmetic behind that promise.

use bytes::Bytes;

use super::{BytesElements, DataType};
use crate::inference::InferTensorContents;

/// What is wrong with a tensor, without its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The data type is none of the protocol's.
    #[error("unknown data type `{0}`")]
    UnknownDataType(String),
    /// A dimension is negative where a size is needed.
    #[error("dimension {index} of the shape is {value}, which is no size")]
    NegativeDimension {
        /// Which dimension, counted from 0.
        index: usize,
        /// What it was.
        value: i64,
    },
    /// The shape has more elements than can be addressed.
    #[error("the shape has more elements than can be addressed")]
    TooManyElements,
    /// The raw bytes are too many or too few for type and shape.
    #[error("{found} bytes where type and shape need {expected}")]
    WrongLength {
        /// What type and shape need.
        expected: usize,
        /// What was there.
        found: usize,
    },
    /// The elements are too many or too few for the shape.
    #[error("{found} elements where the shape needs {expected}")]
    WrongCount {
        /// What the shape needs.
        expected: usize,
        /// What was there.
        found: usize,
    },
    /// Typed contents stand in the field of another type.
    #[error("a {data_type} tensor must not use `{field}`")]
    WrongContents {
        /// The declared type.
        data_type: DataType,
        /// The field that holds elements.
        field: &'static str,
    },
    /// The type exists only in raw form.
    #[error("a {0} tensor exists only in raw form")]
    RawOnly(DataType),
    /// A typed element does not fit its type.
    #[error("element {index} is {value}, out of the range of {data_type}")]
    OutOfRange {
        /// The declared type.
        data_type: DataType,
        /// Which element, counted from 0.
        index: usize,
        /// What it was.
        value: i64,
    },
    /// A raw BOOL is neither 0 nor 1.
    #[error("element {index} is neither 0 nor 1, so no BOOL")]
    NotBool {
        /// Which element, counted from 0.
        index: usize,
    },
    /// A raw BYTES tensor ends inside an element.
    #[error("the BYTES element at offset {offset} is cut off")]
    CutOff {
        /// Where the element's length prefix stands.
        offset: usize,
    },
    /// An element of BYTES is longer than its four-byte length can say.
    #[error("BYTES element {index} is longer than 4 GiB")]
    ElementTooLong {
        /// Which element, counted from 0.
        index: usize,
    },
}

/// What is wrong with which tensor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tensor `{tensor}`: {problem}")]
pub struct TensorError {
    /// Name of the tensor, as the request spelt it.
    pub tensor: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl Problem {
    /// This problem, of the tensor of this name.
    #[must_use]
    pub fn of(self, tensor: impl Into<String>) -> TensorError {
        TensorError { tensor: tensor.into(), problem: self }
    }
}

/// A named tensor in raw form. Its bytes always fit its type and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    name: String,
    data_type: DataType,
    shape: Vec<usize>,
    bytes: Bytes,
}

impl Tensor {
    /// A tensor, after checking that the bytes fit.
    ///
    /// # Errors
    /// [`TensorError`] naming the tensor, when shape or bytes do not fit.
    pub fn new(
        name: impl Into<String>,
        data_type: DataType,
        shape: Vec<usize>,
        bytes: Bytes,
    ) -> Result<Self, TensorError> {
        let name = name.into();
        match element_count(&shape).and_then(|count| check_raw(data_type, count, &bytes)) {
            Ok(()) => Ok(Self { name, data_type, shape, bytes }),
            Err(problem) => Err(problem.of(name)),
        }
    }

    /// An FP32 tensor.
    ///
    /// # Errors
    /// [`TensorError`] when the number of values does not fit the shape.
    pub fn from_f32(name: impl Into<String>, shape: Vec<usize>, values: &[f32]) -> Result<Self, TensorError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::new(name, DataType::Fp32, shape, bytes.into())
    }

    /// An INT64 tensor.
    ///
    /// # Errors
    /// [`TensorError`] when the number of values does not fit the shape.
    pub fn from_i64(name: impl Into<String>, shape: Vec<usize>, values: &[i64]) -> Result<Self, TensorError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::new(name, DataType::Int64, shape, bytes.into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of its elements.
    #[must_use]
    pub const fn data_type(&self) -> DataType {
        self.data_type
    }

    /// Its shape, the batch first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its elements in raw form.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many elements it has.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its shape as the wire writes it.
    #[must_use]
    pub fn wire_shape(&self) -> Vec<i64> {
        self.shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect()
    }

    /// Its elements by type, as JSON and typed protobuf contents need them.
    ///
    /// # Errors
    /// [`TensorError`] for FP16, which exists only in raw form.
    pub fn contents(&self) -> Result<InferTensorContents, TensorError> {
        super::raw_to_contents(self.data_type, &self.bytes).map_err(|problem| problem.of(&self.name))
    }

    /// Its elements as FP32; `None` when it is of another type.
    #[must_use]
    pub fn as_f32(&self) -> Option<Vec<f32>> {
        (self.data_type == DataType::Fp32).then(|| {
            let (chunks, _) = self.bytes.as_chunks::<4>();
            chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
        })
    }

    /// Its elements as INT64; `None` when it is of another type.
    #[must_use]
    pub fn as_i64(&self) -> Option<Vec<i64>> {
        (self.data_type == DataType::Int64).then(|| {
            let (chunks, _) = self.bytes.as_chunks::<8>();
            chunks.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect()
        })
    }
}

/// The sizes of a shape on the wire.
///
/// # Errors
/// [`Problem::NegativeDimension`] or [`Problem::TooManyElements`].
pub fn dimensions(shape: &[i64]) -> Result<Vec<usize>, Problem> {
    shape
        .iter()
        .enumerate()
        .map(|(index, &value)| {
            if value < 0 {
                return Err(Problem::NegativeDimension { index, value });
            }
            usize::try_from(value).map_err(|_| Problem::TooManyElements)
        })
        .collect()
}

/// How many elements a shape has; 1 for a scalar.
///
/// A shape is refused when the product of its sizes *other than zero* does not fit, so that the product of any part of an
/// accepted shape fits too: a row of `[0, 2^40, 2^40]` can be sized without a second check.
///
/// # Errors
/// [`Problem::TooManyElements`].
pub fn element_count(shape: &[usize]) -> Result<usize, Problem> {
    let product = shape
        .iter()
        .filter(|&&size| size != 0)
        .try_fold(1_usize, |product, &size| product.checked_mul(size))
        .ok_or(Problem::TooManyElements)?;
    Ok(if shape.contains(&0) { 0 } else { product })
}

/// How many bytes `count` elements take in raw form; `None` for BYTES, where only the elements tell.
///
/// # Errors
/// [`Problem::TooManyElements`].
pub fn raw_len(data_type: DataType, count: usize) -> Result<Option<usize>, Problem> {
    data_type.element_size().map(|size| count.checked_mul(size).ok_or(Problem::TooManyElements)).transpose()
}

/// Whether `raw` is exactly `count` elements of this type.
///
/// # Errors
/// The first [`Problem`] found.
pub fn check_raw(data_type: DataType, count: usize, raw: &[u8]) -> Result<(), Problem> {
    match raw_len(data_type, count)? {
        Some(expected) if expected != raw.len() => Err(Problem::WrongLength { expected, found: raw.len() }),
        Some(_) if data_type == DataType::Bool => match raw.iter().position(|&byte| byte > 1) {
            Some(index) => Err(Problem::NotBool { index }),
            None => Ok(()),
        },
        Some(_) => Ok(()),
        None => {
            let mut found = 0;
            for element in BytesElements::new(raw) {
                element?;
                found += 1;
            }
            if found == count { Ok(()) } else { Err(Problem::WrongCount { expected: count, found }) }
        }
    }
}

/// The index of the first element that is NaN or infinite; `None` when there is none or the type has no such values.
#[must_use]
pub fn first_non_finite(data_type: DataType, raw: &[u8]) -> Option<usize> {
    /// All bits of the exponent: what NaN and the infinities have in common in half precision.
    const HALF_EXPONENT: u16 = 0x7c00;
    /// The same in bfloat16.
    const BF16_EXPONENT: u16 = 0x7f80;
    let with_all = |bits: u16| raw.as_chunks::<2>().0.iter().position(|two| u16::from_le_bytes(*two) & bits == bits);
    match data_type {
        DataType::Fp16 => with_all(HALF_EXPONENT),
        DataType::Bf16 => with_all(BF16_EXPONENT),
        DataType::Fp32 => raw.as_chunks::<4>().0.iter().position(|single| !f32::from_le_bytes(*single).is_finite()),
        DataType::Fp64 => raw.as_chunks::<8>().0.iter().position(|double| !f64::from_le_bytes(*double).is_finite()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_negative_dimension_is_refused_by_its_index() {
        assert_eq!(dimensions(&[2, -1]), Err(Problem::NegativeDimension { index: 1, value: -1 }));
        assert_eq!(dimensions(&[]), Ok(vec![]));
    }

    #[test]
    fn a_shape_that_overflows_is_refused_even_beside_a_zero() {
        let huge = 1 << 40;
        for shape in [vec![huge, huge], vec![huge, 0, huge], vec![0, huge, huge]] {
            assert_eq!(element_count(&shape), Err(Problem::TooManyElements));
        }
        assert_eq!(element_count(&[0, 5]), Ok(0));
        assert_eq!(element_count(&[]), Ok(1));
        assert_eq!(raw_len(DataType::Fp64, usize::MAX / 4), Err(Problem::TooManyElements));
    }

    #[test]
    fn one_byte_too_few_or_too_many_is_refused_for_every_type() {
        for data_type in DataType::ALL {
            let Some(size) = data_type.element_size() else {
                continue;
            };
            for length in [6 * size - 1, 6 * size + 1, 0] {
                let error = Tensor::new("x", data_type, vec![2, 3], vec![0; length].into()).unwrap_err();
                assert_eq!(error, Problem::WrongLength { expected: 6 * size, found: length }.of("x"));
            }
            assert!(Tensor::new("x", data_type, vec![2, 3], vec![0; 6 * size].into()).is_ok());
        }
    }

    #[test]
    fn a_raw_bool_other_than_0_and_1_is_refused() {
        assert_eq!(check_raw(DataType::Bool, 3, &[0, 1, 2]), Err(Problem::NotBool { index: 2 }));
    }

    #[test]
    fn bytes_elements_are_counted_against_the_shape() {
        let raw = super::super::join_bytes_elements([&b"a"[..], b""]).unwrap();
        assert_eq!(check_raw(DataType::Bytes, 2, &raw), Ok(()));
        assert_eq!(check_raw(DataType::Bytes, 3, &raw), Err(Problem::WrongCount { expected: 3, found: 2 }));
    }

    #[test]
    fn nan_and_infinity_are_found_in_every_float_type() {
        for bits in [0x7e00_u16, 0x7c00, 0xfc00] {
            let raw = [[0, 0x3c], bits.to_le_bytes()].concat();
            assert_eq!(first_non_finite(DataType::Fp16, &raw), Some(1));
            assert_eq!(first_non_finite(DataType::Bf16, &raw), None);
        }
        for bits in [0x7fc0_u16, 0x7f80, 0xff80] {
            let raw = [0x3f80_u16.to_le_bytes(), bits.to_le_bytes()].concat();
            assert_eq!(first_non_finite(DataType::Bf16, &raw), Some(1));
        }
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let raw = [1_f32.to_le_bytes(), value.to_le_bytes()].concat();
            assert_eq!(first_non_finite(DataType::Fp32, &raw), Some(1));
            assert_eq!(first_non_finite(DataType::Uint32, &raw), None);
            let raw = [1_f64.to_le_bytes(), f64::from(value).to_le_bytes()].concat();
            assert_eq!(first_non_finite(DataType::Fp64, &raw), Some(1));
        }
        assert_eq!(first_non_finite(DataType::Fp32, &f32::MAX.to_le_bytes()), None);
    }

    proptest! {
        #[test]
        fn the_count_is_the_product_or_refused(shape in proptest::collection::vec(0_usize..100_000, 0..8)) {
            let exact = shape.iter().fold(1_u128, |product, &size| product.saturating_mul(size as u128));
            match element_count(&shape) {
                Ok(count) => prop_assert_eq!(count as u128, exact),
                Err(problem) => {
                    prop_assert_eq!(problem, Problem::TooManyElements);
                    let others = shape.iter().filter(|&&size| size > 0).fold(1_u128, |product, &size| product.saturating_mul(size as u128));
                    prop_assert!(others > usize::MAX as u128);
                }
            }
        }

        #[test]
        fn floats_survive_the_raw_form(values in proptest::collection::vec(any::<f32>(), 0..32)) {
            let tensor = Tensor::from_f32("x", vec![values.len()], &values).unwrap();
            let found = tensor.as_f32().unwrap();
            prop_assert!(found.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits()));
            prop_assert_eq!(tensor.elements(), values.len());
        }
    }
}
