//! A request as a message of the gRPC protocol, in protobuf.
//!
//! Holds: a message of a bounded number of fields is decoded, and what it says is read, in memory in proportion to it; raw and typed elements are the same request; refusals and forms as
//! in [`crate::json`].

use crate::{forms, memory::peak, models, refusals};
use bytes::Bytes;
use prost::Message as _;
use slipway_oip::{message, signature::Declared};
use slipway_proto::{
    codec::{MAX_FIELDS, check_fields},
    inference::ModelInferRequest,
};

/// Runs one input.
pub fn run(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    if check_fields(&data).is_err() {
        return;
    }
    let (decoded, took) = peak(|| ModelInferRequest::decode(data.clone()));
    // A list doubles as it grows. Empty elements of BYTES are the densest thing in a tensor, empty tensors that of a message, and those
    // are bounded in number.
    assert!(took <= 64 * data.len() + 640 * MAX_FIELDS, "{took} bytes for a message of {}, decoded", data.len());
    let Ok(request) = decoded else { return };
    let declared: Vec<Declared<'_>> = request
        .inputs
        .iter()
        .map(|input| Declared { name: &input.name, datatype: &input.datatype, shape: &input.shape })
        .collect();
    let wanted: Vec<&str> = request.outputs.iter().map(|output| output.name.as_str()).collect();
    for signature in models::fitting(&declared, &wanted).into_iter().chain([models::two_inputs()]) {
        for rules in models::RULES {
            let message = request.clone();
            let (read, took) = peak(|| message::read(&message, &signature, rules));
            assert!(took <= 32 * data.len() + 16 * 1_024, "{took} bytes for a message of {}", data.len());
            match read {
                Ok(request) => forms::check(&request, &signature, rules),
                Err(refused) => refusals::check(&refused),
            }
        }
    }
}
