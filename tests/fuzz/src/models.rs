//! Models that requests are held against.

use slipway_oip::{Rules, Signature, TensorSpec, signature::Declared};
use slipway_proto::oip::DataType;

/// Rules of a usual deployment, and those of who passes a request on.
pub(crate) const RULES: [Rules; 2] = [Rules { allow_non_finite: false, max_rows: 8 }, Rules::SIGNATURE_ONLY];

fn spec(name: &str, data_type: DataType, shape: &[i64]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), data_type, shape: shape.to_vec() }
}

/// Two inputs, one of them texts, and a batch.
pub(crate) fn two_inputs() -> Signature {
    Signature::new(
        vec![spec("x", DataType::Fp32, &[-1, 2]), spec("s", DataType::Bytes, &[-1])],
        vec![spec("y", DataType::Fp32, &[-1]), spec("z", DataType::Int64, &[-1])],
    )
}

/// Models of one input of this type, which take a body that is nothing but a tensor.
pub(crate) fn one_input(data_type: DataType) -> [Signature; 7] {
    let shapes: [&[i64]; 7] = [&[-1], &[-1, 3], &[-1, -1, 3], &[2, 3], &[4, -1], &[2, 0, -1], &[]];
    shapes.map(|shape| Signature::new(vec![spec("x", data_type, shape)], vec![spec("y", DataType::Fp32, &[-1])]))
}

/// The model that a request would fit: its own names, types and shapes, the first size free. Without it, hardly an input would
/// get past the signature. `None` when a type is none, or the names are so long that the refusals of this very model would be.
pub(crate) fn fitting(inputs: &[Declared<'_>], outputs: &[&str]) -> Option<Signature> {
    let names: usize = inputs.iter().map(|input| input.name.len()).chain(outputs.iter().map(|name| name.len())).sum();
    if names > 256 {
        return None;
    }
    let input = |input: &Declared<'_>| {
        let mut shape = input.shape.to_vec();
        if let Some(first) = shape.first_mut().filter(|first| **first > 0) {
            *first = -1;
        }
        Some(spec(input.name, input.datatype.parse().ok()?, &shape))
    };
    let inputs = inputs.iter().map(input).collect::<Option<Vec<_>>>()?;
    let outputs = ["other"].iter().chain(outputs).map(|name| spec(name, DataType::Fp32, &[-1])).collect();
    Some(Signature::new(inputs, outputs))
}
