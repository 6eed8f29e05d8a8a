//! A request that any model of a signature must be able to answer: one row of zeros.

use slipway_oip::Signature;
use slipway_proto::oip::{DataType, dimensions, element_count};

/// The document, or why there is none: a shape larger than can be addressed.
pub(super) fn zeros(signature: &Signature) -> Result<String, String> {
    let mut body = String::from(r#"{"inputs":["#);
    for (index, port) in signature.inputs.iter().enumerate() {
        // What the request decides is 1.
        let shape: Vec<i64> = port.shape.iter().map(|size| if *size < 0 { 1 } else { *size }).collect();
        let count =
            dimensions(&shape).and_then(|shape| element_count(&shape)).map_err(|problem| problem.to_string())?;
        let zero = match port.data_type {
            DataType::Bool => "false",
            DataType::Bytes => r#""""#,
            _ => "0",
        };
        let name = serde_json::Value::from(port.name.as_str());
        let comma = if index == 0 { "" } else { "," };
        let head = format!(r#"{comma}{{"name":{name},"datatype":"{}","shape":{shape:?},"data":["#, port.data_type);
        body.push_str(&head);
        body.reserve(count.saturating_mul(zero.len() + 1).min(64 << 20));
        for element in 0..count {
            // A model whose one row is larger than the largest body of any spec cannot be served; no need to write it all.
            if body.len() > 64 << 20 {
                return Err("one row of the inputs has more than 64 MiB of JSON".to_owned());
            }
            if element > 0 {
                body.push(',');
            }
            body.push_str(zero);
        }
        body.push_str("]}");
    }
    body.push_str("]}");
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_tests::facts;
    use bytes::Bytes;
    use slipway_oip::{
        Rules,
        json::{self, Envelope},
    };

    fn signature(inputs: &[(&str, &str, &[i32])], outputs: &[(&str, &str, &[i32])]) -> Signature {
        Signature::of(&facts(inputs, outputs)).unwrap()
    }

    #[test]
    fn a_row_of_zeros_fits_every_signature() {
        for data_type in DataType::ALL {
            let signature = signature(&[("x\"y", data_type.as_str(), &[-1, 3, -1]), ("z", "BYTES", &[])], &[]);
            let body = zeros(&signature).unwrap();
            let envelope = Envelope::read(body.as_bytes()).unwrap();
            let request = json::read(envelope, Bytes::new(), &signature, Rules::SIGNATURE_ONLY).unwrap();
            assert_eq!(request.inputs[0].shape(), [1, 3, 1], "{data_type}");
        }
    }

    #[test]
    fn a_row_beyond_any_limit_is_not_written() {
        assert!(zeros(&signature(&[("x", "FP32", &[-1, i32::MAX, i32::MAX, i32::MAX])], &[])).is_err());
        assert!(zeros(&signature(&[("x", "FP32", &[1 << 30])], &[])).is_err());
    }
}
