//! Whether two tensors hold the same numbers, as far as numbers of different engines and batch sizes can.

use std::fmt;

use serde::{Deserialize, Serialize};
use slipway_proto::oip::{BytesElements, DataType, Tensor};

/// How far numbers may lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tolerance {
    /// By so much of the larger of the two.
    pub relative: f64,
    /// And by so much in any case.
    pub absolute: f64,
}

impl Default for Tolerance {
    /// Kernels for other sizes and of other engines add in another order: a thousandth, and a ten-thousandth near zero.
    fn default() -> Self {
        Self { relative: 1e-3, absolute: 1e-4 }
    }
}

impl Tolerance {
    /// For the answers of a GPU beside those of the CPU, in single precision: thousands of threads add in an order of their own, and
    /// its exponentials and square roots are other ones.
    pub const GPU: Self = Self { relative: 1e-3, absolute: 1e-3 };
}

impl fmt::Display for Tolerance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} relative, {} absolute", self.relative, self.absolute)
    }
}

impl Tolerance {
    fn allows(self, one: f64, other: f64) -> bool {
        // NaN and infinities must be the same on both sides; infinity is within any share of infinity.
        (one.is_finite()
            && other.is_finite()
            && (one - other).abs() <= self.absolute + self.relative * one.abs().max(other.abs()))
            || one.to_bits() == other.to_bits()
            || (one.is_nan() && other.is_nan())
    }
}

/// Where two tensors differ first. Numbers are kept as text: they are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{tensor}`{}: {found} where {expected} is expected (tolerance {tolerance})", at(.element))]
pub struct Difference {
    /// Name of the tensor.
    pub tensor: String,
    /// Which element, in row-major order from 0; `None` where type or shape differ.
    pub element: Option<usize>,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub found: String,
    /// What would have been allowed.
    pub tolerance: String,
}

fn at(element: &Option<usize>) -> String {
    element.map(|element| format!(" element {element}")).unwrap_or_default()
}

/// Compares element by element; integers, booleans and strings exactly.
///
/// # Errors
/// The first [`Difference`].
pub fn tensors(expected: &Tensor, found: &Tensor, tolerance: Tolerance) -> Result<(), Difference> {
    let name = found.name();
    let difference = |element, expected: String, found: String, tolerance: String| Difference {
        tensor: name.to_owned(),
        element,
        expected,
        found,
        tolerance,
    };
    if expected.data_type() != found.data_type() || expected.shape() != found.shape() {
        let form = |tensor: &Tensor| format!("{} {:?}", tensor.data_type(), tensor.shape());
        return Err(difference(None, form(expected), form(found), "none".to_owned()));
    }
    if let (Some(wanted), Some(values)) = (floats(expected), floats(found)) {
        let wrong = wanted.iter().zip(&values).position(|(wanted, value)| !tolerance.allows(*wanted, *value));
        return wrong.map_or(Ok(()), |element| {
            let text = |values: &[f64]| values.get(element).map(ToString::to_string).unwrap_or_default();
            Err(difference(Some(element), text(&wanted), text(&values), tolerance.to_string()))
        });
    }
    if expected.bytes() == found.bytes() {
        return Ok(());
    }
    let (wanted, values) = (texts(expected), texts(found));
    let element = wanted.iter().zip(&values).position(|(wanted, value)| wanted != value).unwrap_or_default();
    let text = |texts: &[String]| texts.get(element).cloned().unwrap_or_default();
    Err(difference(Some(element), text(&wanted), text(&values), "none".to_owned()))
}

/// The largest distance between two tensors of numbers; `None` where they are not both that, or differ in shape.
#[must_use]
pub fn distance(one: &Tensor, other: &Tensor) -> Option<f64> {
    let (a, b) = (floats(one)?, floats(other)?);
    (one.shape() == other.shape()).then(|| a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max))
}

fn floats(tensor: &Tensor) -> Option<Vec<f64>> {
    let bytes = tensor.bytes();
    Some(match tensor.data_type() {
        DataType::Fp16 => bytes.as_chunks().0.iter().map(|half| widen(u16::from_le_bytes(*half))).collect(),
        DataType::Bf16 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|upper| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(*upper)) << 16)))
            .collect(),
        DataType::Fp32 => bytes.as_chunks().0.iter().map(|single| f64::from(f32::from_le_bytes(*single))).collect(),
        DataType::Fp64 => bytes.as_chunks().0.iter().map(|double| f64::from_le_bytes(*double)).collect(),
        _ => return None,
    })
}

/// The elements for a message.
fn texts(tensor: &Tensor) -> Vec<String> {
    macro_rules! integers {
        ($kind:ty) => {
            tensor.bytes().as_chunks().0.iter().map(|bytes| <$kind>::from_le_bytes(*bytes).to_string()).collect()
        };
    }
    match tensor.data_type() {
        DataType::Bool => tensor.bytes().iter().map(|byte| (*byte != 0).to_string()).collect(),
        DataType::Int8 => integers!(i8),
        DataType::Int16 => integers!(i16),
        DataType::Int32 => integers!(i32),
        DataType::Int64 => integers!(i64),
        DataType::Uint8 => integers!(u8),
        DataType::Uint16 | DataType::Fp16 | DataType::Bf16 => integers!(u16),
        DataType::Uint32 | DataType::Fp32 => integers!(u32),
        DataType::Uint64 | DataType::Fp64 => integers!(u64),
        DataType::Bytes => BytesElements::new(tensor.bytes())
            .map_while(Result::ok)
            .map(|element| format!("{:?}", String::from_utf8_lossy(element)))
            .collect(),
    }
}

/// IEEE 754 half precision to double.
fn widen(half: u16) -> f64 {
    let sign = if half & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from((half >> 10) & 0x1f);
    let fraction = f64::from(half & 0x3ff) / 1024.0;
    match exponent {
        0 => sign * fraction * 2_f64.powi(-14),
        0x1f if fraction == 0.0 => sign * f64::INFINITY,
        0x1f => f64::NAN,
        _ => sign * (1.0 + fraction) * 2_f64.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_proto::oip::join_bytes_elements;

    fn x(values: &[f32]) -> Tensor {
        Tensor::from_f32("x", vec![values.len()], values).unwrap()
    }

    #[test]
    fn the_first_element_beyond_the_tolerance_is_named_with_both_values() {
        let tolerance = Tolerance { relative: 0.0, absolute: 0.5 };
        assert_eq!(tensors(&x(&[1.0, 2.0]), &x(&[1.4, 1.6]), tolerance), Ok(()));
        let difference = tensors(&x(&[1.0, 2.0, 3.0]), &x(&[1.0, 3.0, 9.0]), tolerance).unwrap_err();
        assert_eq!(difference.to_string(), "`x` element 1: 3 where 2 is expected (tolerance 0 relative, 0.5 absolute)");
    }

    #[test]
    fn values_that_are_no_numbers_must_be_the_same_ones() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        assert_eq!(tensors(&x(&odd), &x(&odd), Tolerance::default()), Ok(()));
        for index in 0..odd.len() {
            let mut other = odd;
            other[index] = 1.0;
            assert_eq!(tensors(&x(&odd), &x(&other), Tolerance::default()).unwrap_err().element, Some(index));
            assert!(tensors(&x(&other), &x(&odd), Tolerance::default()).is_err());
        }
    }

    #[test]
    fn integers_and_strings_are_compared_exactly() {
        let integers = |values: &[i64]| Tensor::from_i64("n", vec![values.len()], values).unwrap();
        let difference = tensors(&integers(&[7, -1]), &integers(&[7, -2]), Tolerance::default()).unwrap_err();
        assert_eq!((difference.element, difference.found.as_str()), (Some(1), "-2"));
        let strings = |text: &str| {
            let raw = join_bytes_elements([&b"same"[..], text.as_bytes()]).unwrap();
            Tensor::new("s", DataType::Bytes, vec![2], raw.into()).unwrap()
        };
        let difference = tensors(&strings("cat"), &strings("dog"), Tolerance::default()).unwrap_err();
        assert_eq!(difference.to_string(), "`s` element 1: \"dog\" where \"cat\" is expected (tolerance none)");
    }

    #[test]
    fn another_shape_or_type_is_a_difference_of_the_whole_tensor() {
        let difference = tensors(&x(&[1.0, 2.0]), &x(&[1.0]), Tolerance::default()).unwrap_err();
        assert_eq!(difference.to_string(), "`x`: FP32 [1] where FP32 [2] is expected (tolerance none)");
    }

    #[test]
    fn half_precision_widens_to_the_same_number() {
        for (bits, value) in [
            (0x3c00_u16, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_953_125),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x7c00, f64::INFINITY),
        ] {
            assert!((widen(bits) - value).abs() < 1e-12 || widen(bits) == value, "{bits:x}");
        }
        assert!(widen(0x7e00).is_nan());
    }
}
