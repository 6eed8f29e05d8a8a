//! What stands in a document against what was read of it, by other code: the reader's own rounding and ranges are of no use here.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;
use slipway_proto::oip::{BytesElements, DataType, Tensor};

/// Panics unless the text of an input's data says the elements of the tensor that was read from it.
pub(crate) fn check(text: &str, tensor: &Tensor, is_base64: bool) {
    let mut scalars = Vec::with_capacity(tensor.elements());
    flatten(text, &mut scalars);
    assert_eq!(scalars.len(), tensor.elements());
    let raw = &tensor.bytes()[..];
    if tensor.data_type() == DataType::Bytes {
        for (scalar, element) in scalars.iter().zip(BytesElements::new(raw)) {
            let text: String = serde_json::from_str(scalar).unwrap();
            let bytes = if is_base64 { STANDARD.decode(text).unwrap() } else { text.into_bytes() };
            assert_eq!(element.unwrap(), bytes, "{scalar}");
        }
        return;
    }
    let size = tensor.data_type().element_size().unwrap();
    for (scalar, element) in scalars.iter().zip(raw.chunks(size)) {
        assert!(
            says(scalar, element, tensor.data_type()),
            "{scalar} was read as {element:?} of {}",
            tensor.data_type()
        );
    }
}

/// The scalars of a nest of lists. It is as deep as a shape at most: it was accepted.
fn flatten<'a>(text: &'a str, scalars: &mut Vec<&'a str>) {
    if text.starts_with('[') {
        let entries: Vec<&RawValue> = serde_json::from_str(text).unwrap();
        entries.into_iter().for_each(|entry| flatten(entry.get(), scalars));
    } else {
        scalars.push(text);
    }
}

fn says(scalar: &str, element: &[u8], data_type: DataType) -> bool {
    let unsigned = element.iter().rev().fold(0_i128, |number, byte| number << 8 | i128::from(*byte));
    let sign = 1_i128 << (8 * element.len() - 1);
    let near = |found: f64, digits: i32, least: i32| {
        let wanted: f64 = scalar.parse().unwrap();
        // Half of the last place, and a hair more for what is computed here.
        (found - wanted).abs() <= (wanted.abs() * 2f64.powi(-digits)).max(2f64.powi(least)) * 1.000_1
    };
    match data_type {
        DataType::Bool => matches!((scalar, unsigned), ("true" | "1", 1) | ("false" | "0", 0)),
        DataType::Uint8 | DataType::Uint16 | DataType::Uint32 | DataType::Uint64 => scalar.parse() == Ok(unsigned),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            scalar.parse() == Ok((unsigned ^ sign) - sign)
        }
        DataType::Fp16 => {
            let (exponent, fraction) = ((unsigned >> 10 & 0x1f) as i32, (unsigned & 0x3ff) as f64);
            let magnitude = match exponent {
                0 => fraction * 2f64.powi(-24),
                _ => (1_024.0 + fraction) * 2f64.powi(exponent - 25),
            };
            near(if unsigned & sign == 0 { magnitude } else { -magnitude }, 11, -25)
        }
        DataType::Bf16 => near(f32::from_bits((unsigned as u32) << 16).into(), 8, -134),
        DataType::Fp32 => scalar.parse::<f32>().unwrap().to_le_bytes() == element,
        DataType::Fp64 => scalar.parse::<f64>().unwrap().to_le_bytes() == element,
        DataType::Bytes => false,
    }
}
