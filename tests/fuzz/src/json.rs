//! A request as a document.
//!
//! Holds: reading takes memory in proportion to the document; what is refused is refused by a path, in bounds; what is accepted
//! is the same request in every form, and its numbers are those that other code reads.

use crate::{forms, memory::peak, models, numbers, refusals};
use bytes::Bytes;
use slipway_oip::{
    json::{self, Envelope, envelope::Input},
    signature::Declared,
};
use slipway_proto::inference::infer_parameter::ParameterChoice;

/// Bytes per byte of a document. The densest is `""` with its comma: an element of a BYTES tensor, four bytes of length. Two
/// lists that double as they grow, and names beside them.
const PER_BYTE: usize = 24;
/// Bytes besides: what the lists of a small document begin with, and a refusal.
const BESIDES: usize = 16 * 1_024;

/// Runs one input.
pub fn run(data: &[u8]) {
    let (read, took) = peak(|| Envelope::read(data));
    let most = PER_BYTE * data.len() + BESIDES;
    assert!(took <= most, "{took} bytes for a document of {}", data.len());
    let envelope = match read {
        Ok(envelope) => envelope,
        Err(refused) => return refusals::check(&refused),
    };
    let declared: Vec<Declared<'_>> = envelope
        .inputs
        .iter()
        .map(|input| Declared { name: &input.name, datatype: &input.datatype, shape: &input.shape })
        .collect();
    let wanted: Vec<&str> = envelope.outputs.iter().map(|output| output.name.as_str()).collect();
    let fitting = models::fitting(&declared, &wanted);
    let inputs = &envelope.inputs;
    for signature in fitting.into_iter().chain([models::two_inputs()]) {
        for rules in models::RULES {
            let envelope = Envelope::read(data).unwrap_or_else(|refusals| panic!("read twice: {refusals}"));
            let (read, took) = peak(|| json::read(envelope, Bytes::new(), &signature, rules));
            assert!(took <= most, "{took} bytes for the numbers of a document of {}", data.len());
            match read {
                Ok(request) => {
                    forms::check(&request, &signature, rules);
                    for tensor in &request.inputs {
                        let input = inputs.iter().find(|input| input.name == tensor.name()).unwrap();
                        numbers::check(input.data.unwrap().get(), tensor, is_base64(input));
                    }
                }
                Err(refused) => refusals::check(&refused),
            }
        }
    }
}

fn is_base64(input: &Input<'_>) -> bool {
    let choice = input.parameters.get("content_type").and_then(|parameter| parameter.parameter_choice.as_ref());
    matches!(choice, Some(ParameterChoice::StringParam(text)) if text == "base64")
}
