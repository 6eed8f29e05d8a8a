//! A body of HTTP. The first line of an input is the header `Inference-Header-Content-Length` (none when the line is empty, two
//! when there is a space in it), the rest is the body.
//!
//! Holds: the parts are the body, and nothing is copied; a body that is a tensor is the tensor, byte for byte, in every form;
//! memory, refusals and forms as in [`crate::json`].

use crate::{forms, memory::peak, models, refusals};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use slipway_kernel::Refusals;
use slipway_oip::{
    Request, Rules, Signature, binary,
    http::LENGTH_OF_DOCUMENT,
    json::{self, Envelope},
    signature::Declared,
};
use slipway_proto::oip::DataType;

/// Runs one input.
pub fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, body) = (&data[..end], Bytes::copy_from_slice(data.get(end + 1..).unwrap_or_default()));
    let mut headers = HeaderMap::new();
    for value in line.split(|byte| *byte == b' ').filter(|value| !value.is_empty()) {
        let Ok(value) = HeaderValue::from_bytes(value) else { return };
        headers.append(LENGTH_OF_DOCUMENT, value);
    }
    let parts = match slipway_oip::http::parts(&headers, body.clone()) {
        Ok(parts) => parts,
        Err(refused) => return refusals::check_one(&refused),
    };
    assert_eq!([&parts.document[..], &parts.tensors[..]].concat(), body);
    assert_eq!(parts.is_tensor, !headers.is_empty() && parts.document.is_empty());
    if parts.is_tensor {
        // One type for each body keeps the search fast.
        let kind = body.iter().fold(0, |sum, byte| sum + usize::from(*byte)) % DataType::ALL.len();
        for signature in models::one_input(DataType::ALL[kind]) {
            tensor(&body, &signature);
        }
        let refused = binary::raw(body, &models::two_inputs(), Rules::SIGNATURE_ONLY).unwrap_err();
        return refusals::check(&refused);
    }
    let Ok(envelope) = Envelope::read(&parts.document) else { return };
    let declared: Vec<Declared<'_>> = envelope
        .inputs
        .iter()
        .map(|input| Declared { name: &input.name, datatype: &input.datatype, shape: &input.shape })
        .collect();
    for signature in models::fitting(&declared, &[]).into_iter().chain([models::two_inputs()]) {
        for rules in models::RULES {
            let envelope = Envelope::read(&parts.document).unwrap();
            let (read, took) = peak(|| json::read(envelope, parts.tensors.clone(), &signature, rules));
            // Bytes behind a document are not copied: only the document counts.
            assert!(took <= 24 * parts.document.len() + 16 * 1_024, "{took} bytes for {}", parts.document.len());
            checked(read, &signature, rules);
        }
    }
}

fn tensor(body: &Bytes, signature: &Signature) {
    for rules in models::RULES {
        let (read, took) = peak(|| binary::raw(body.clone(), signature, rules));
        assert!(took <= 2 * body.len() + 4 * 1_024, "{took} bytes for a tensor of {}", body.len());
        if let Ok(request) = &read {
            let input = &request.inputs[0];
            let text = input.data_type() == DataType::Bytes;
            assert_eq!(input.bytes()[if text { 4 } else { 0 }..], body[..]);
            assert!(request.rows == 1 || !signature.batched);
            assert!(request.outputs.len() == 1 && request.outputs[0].binary);
        }
        checked(read, signature, rules);
    }
}

fn checked(read: Result<Request, Refusals>, signature: &Signature, rules: Rules) {
    match read {
        Ok(request) => forms::check(&request, signature, rules),
        Err(refused) => refusals::check(&refused),
    }
}
