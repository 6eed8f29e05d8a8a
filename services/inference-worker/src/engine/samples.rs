//! Made-up inputs for warming up and measuring. They are the same in every process, so measurements can be compared.

use slipway_proto::oip::{DataType, Tensor};

use super::EngineError;
use crate::signature::{Signature, TensorSpec};

/// More elements than this fit into no request: a message has at most 16 MiB, and the smallest element takes a byte.
const MAX_ELEMENTS: usize = 16 << 20;

/// Inputs with this many rows; every other free dimension gets the size `free`. `variant` tells rows apart that must
/// differ.
///
/// # Errors
/// [`EngineError::Run`] when such a tensor cannot exist.
pub fn inputs(signature: &Signature, rows: usize, free: usize, variant: u32) -> Result<Vec<Tensor>, EngineError> {
    signature.inputs.iter().map(|spec| tensor(spec, signature.batched, rows, free, variant)).collect()
}

fn tensor(spec: &TensorSpec, batched: bool, rows: usize, free: usize, variant: u32) -> Result<Tensor, EngineError> {
    let shape: Vec<usize> = spec
        .shape
        .iter()
        .enumerate()
        .map(|(index, &size)| match usize::try_from(size) {
            Ok(size) => size,
            Err(_) if index == 0 && batched => rows,
            Err(_) => free,
        })
        .collect();
    let count = slipway_proto::oip::element_count(&shape)
        .map_err(|problem| EngineError::Run(problem.of(&spec.name).to_string()))?;
    if count > MAX_ELEMENTS {
        return Err(EngineError::Run(format!(
            "input `{}` has {count} elements, more than any request can carry",
            spec.name
        )));
    }
    let mut bytes = Vec::new();
    let mut noise = Noise(variant.wrapping_mul(0x9e37_79b9) | 1);
    for _ in 0..count {
        element(spec.data_type, noise.next(), &mut bytes);
    }
    Tensor::new(&spec.name, spec.data_type, shape, bytes.into()).map_err(|error| EngineError::Run(error.to_string()))
}

/// Small values: fractions for floats, 0 or 1 for everything that may be an index, a mask or a token.
fn element(data_type: DataType, noise: u32, bytes: &mut Vec<u8>) {
    /// Half precision between 0.5 and 1: this exponent, any ten bits of fraction.
    const HALF_TO_ONE: u16 = 0x3800;
    /// The same in bfloat16, seven bits of fraction.
    const BF16_HALF_TO_ONE: u16 = 0x3f00;
    let bit = noise & 1;
    let low = noise.to_le_bytes()[0];
    match data_type {
        DataType::Fp32 => bytes.extend((noise as f32 / u32::MAX as f32).to_le_bytes()),
        DataType::Fp64 => bytes.extend((f64::from(noise) / f64::from(u32::MAX)).to_le_bytes()),
        DataType::Fp16 => bytes.extend((HALF_TO_ONE | u16::from(low)).to_le_bytes()),
        DataType::Bf16 => bytes.extend((BF16_HALF_TO_ONE | u16::from(low & 0x7f)).to_le_bytes()),
        DataType::Bool | DataType::Int8 | DataType::Uint8 => bytes.push(low & 1),
        DataType::Int16 | DataType::Uint16 => bytes.extend(u16::from(low & 1).to_le_bytes()),
        DataType::Int32 | DataType::Uint32 => bytes.extend(bit.to_le_bytes()),
        DataType::Int64 | DataType::Uint64 => bytes.extend(u64::from(bit).to_le_bytes()),
        DataType::Bytes => {
            bytes.extend(1_u32.to_le_bytes());
            bytes.push(b'a' + (low & 1));
        }
    }
}

/// Marsaglia's xorshift: enough to be different, no dependency, the same everywhere.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_fit_the_signature_in_every_type_and_differ_by_variant() {
        for data_type in DataType::ALL {
            let signature =
                Signature::new(vec![TensorSpec { name: "x".into(), data_type, shape: vec![-1, -1, 16] }], vec![]);
            let one = inputs(&signature, 2, 5, 1).unwrap();
            assert_eq!(one[0].shape(), [2, 5, 16]);
            assert_ne!(one, inputs(&signature, 2, 5, 2).unwrap(), "{data_type}");
            assert_eq!(one, inputs(&signature, 2, 5, 1).unwrap());
            assert_eq!(slipway_proto::oip::first_non_finite(data_type, one[0].bytes()), None);
        }
    }
}
