//! Requests and answers as messages of the gRPC protocol: elements raw, or typed field by field.

use crate::{
    request::{Assembly, Parameters, Request, Source, Wanted, unfit},
    response::Response,
    signature::{Declared, Rules, Signature},
};
use slipway_kernel::{Refusal, Refusals};
use slipway_proto::{
    inference::{
        InferTensorContents, ModelInferRequest, ModelInferResponse,
        model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    },
    oip::{contents_to_raw, raw_request, raw_response},
};

/// Reads a request. Raw elements are not copied.
///
/// # Errors
/// All names, types and shapes that do not fit; then the first input whose elements do not.
pub fn read(message: &ModelInferRequest, signature: &Signature, rules: Rules) -> Result<Request, Refusals> {
    let ModelInferRequest { id, parameters, inputs, outputs, raw_input_contents: raw, .. } = message;
    let refuse = |refusal| Refusals(vec![refusal]);
    if !raw.is_empty() && raw.len() != inputs.len() {
        let allowed = format!("none, or one for each of the {} inputs", inputs.len());
        return Err(refuse(Refusal::new("raw_input_contents", format!("{} entries", raw.len()), allowed)));
    }
    foreign_tensors(inputs, outputs)?;
    let declared: Vec<Declared<'_>> = inputs
        .iter()
        .map(|input| Declared { name: &input.name, datatype: &input.datatype, shape: &input.shape })
        .collect();
    let wanted: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
    let fit = signature.fit(&declared, &wanted, rules)?;
    let mut assembly = Assembly::new(signature, rules);
    for (index, input) in inputs.iter().enumerate() {
        match (raw.get(index), &input.contents) {
            (Some(_), Some(_)) => {
                let allowed = "elements either here or in raw_input_contents";
                return Err(refuse(Refusal::new(format!("inputs[{index}].contents"), "given twice", allowed)));
            }
            (Some(raw), None) => assembly.put(&fit, index, raw.clone(), Source::Raw)?,
            (None, contents) => {
                let nothing = InferTensorContents::default();
                let tensor = &fit.inputs[index];
                let elements = contents_to_raw(tensor.data_type, tensor.count, contents.as_ref().unwrap_or(&nothing))
                    .map_err(|problem| refuse(unfit(Source::Contents.path(index), &problem)))?;
                assembly.put(&fit, index, elements, Source::Contents)?;
            }
        }
    }
    assembly.finish(id.clone(), parameters.clone(), fit, |_| false)
}

/// Refuses what would silently mean something else: tensors in shared memory, classes instead of numbers.
fn foreign_tensors(inputs: &[InferInputTensor], outputs: &[InferRequestedOutputTensor]) -> Result<(), Refusals> {
    for (index, input) in inputs.iter().enumerate() {
        refuse_extensions(&input.parameters, &format_args!("inputs[{index}].parameters"))?;
    }
    for (index, output) in outputs.iter().enumerate() {
        refuse_extensions(&output.parameters, &format_args!("outputs[{index}].parameters"))?;
    }
    Ok(())
}

/// Refuses extensions of the protocol that are not served, by name.
pub(crate) fn refuse_extensions(parameters: &Parameters, path: &dyn std::fmt::Display) -> Result<(), Refusals> {
    if parameters.is_empty() {
        return Ok(());
    }
    for (name, allowed) in [
        ("shared_memory_region", "tensors in the request; shared memory is not served"),
        ("classification", "the scores themselves; classification is not served"),
    ] {
        if parameters.contains_key(name) {
            return Err(Refusals(vec![Refusal::new(format!("{path}.{name}"), "given", allowed)]));
        }
    }
    Ok(())
}

impl Request {
    /// The request as a message with raw elements, for who passes it on.
    #[must_use]
    pub fn message(&self, signature: &Signature, model_name: String, model_version: String) -> ModelInferRequest {
        let mut message = raw_request(model_name, self.id.clone(), self.inputs.iter().cloned());
        message.model_version = model_version;
        message.parameters = self.parameters.clone();
        if !wants_all(&self.outputs, signature) {
            let name = |wanted: &Wanted| signature.outputs.get(wanted.position).map(|spec| spec.name.clone());
            let output = |name| InferRequestedOutputTensor { name, ..InferRequestedOutputTensor::default() };
            message.outputs = self.outputs.iter().filter_map(name).map(output).collect();
        }
        message
    }
}

/// Whether these are all outputs in the order of the signature, which a message says by naming none.
fn wants_all(outputs: &[Wanted], signature: &Signature) -> bool {
    outputs.len() == signature.outputs.len()
        && outputs.iter().enumerate().all(|(index, output)| output.position == index)
}

impl Response {
    /// The answer as a message with raw elements. Nothing is copied.
    #[must_use]
    pub fn into_message(self) -> ModelInferResponse {
        raw_response(self.model_name, self.model_version, self.id, self.outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::tests::signature;
    use proptest::prelude::*;
    use slipway_proto::oip::{DataType, Tensor};

    const RULES: Rules = Rules { allow_non_finite: false, max_rows: 8 };

    fn model() -> Signature {
        signature(
            &[("x", DataType::Fp32, &[-1, 2]), ("ids", DataType::Int64, &[-1, -1])],
            &[("label", DataType::Int64, &[-1]), ("probabilities", DataType::Fp32, &[-1, 3])],
        )
    }

    fn x(rows: usize) -> Tensor {
        Tensor::from_f32("x", vec![rows, 2], &vec![0.5; rows * 2]).unwrap()
    }

    fn ids(rows: usize, length: usize) -> Tensor {
        Tensor::from_i64("ids", vec![rows, length], &vec![7; rows * length]).unwrap()
    }

    fn refused(message: &ModelInferRequest) -> String {
        read(message, &model(), RULES).unwrap_err().to_string()
    }

    #[test]
    fn a_fitting_request_comes_out_in_the_order_of_the_signature_and_goes_on_as_it_came() {
        let request = read(&raw_request("m", "1", [ids(3, 5), x(3)]), &model(), RULES).unwrap();
        assert_eq!(request.inputs, [x(3), ids(3, 5)]);
        assert_eq!((request.id.as_str(), request.rows, request.outputs.len()), ("1", 3, 2));
        let message = request.message(&model(), "m".into(), "2-1".into());
        assert!(message.outputs.is_empty());
        assert_eq!(read(&message, &model(), RULES).unwrap(), request);
    }

    #[test]
    fn typed_contents_are_the_same_request() {
        let mut message = raw_request("m", "1", [x(1), ids(1, 2)]);
        message.raw_input_contents.clear();
        message.inputs[0].contents = Some(InferTensorContents { fp32_contents: vec![0.5; 2], ..Default::default() });
        message.inputs[1].contents = Some(InferTensorContents { int64_contents: vec![7; 2], ..Default::default() });
        assert_eq!(read(&message, &model(), RULES).unwrap().inputs, [x(1), ids(1, 2)]);
    }

    #[test]
    fn elements_that_do_not_fit_are_named_where_they_stand() {
        let nan = Tensor::from_f32("x", vec![1, 2], &[0.0, f32::NAN]).unwrap();
        assert!(refused(&raw_request("m", "1", [nan, ids(1, 1)])).contains("raw_input_contents[0][1]"));
        let mut short = raw_request("m", "1", [x(1), ids(1, 1)]);
        short.raw_input_contents[1] = bytes::Bytes::from_static(&[0; 7]);
        assert!(refused(&short).contains("raw_input_contents[1]: 7 bytes is not accepted; allowed: 8 bytes"));
        let mut few = raw_request("m", "1", [x(1), ids(1, 1)]);
        few.raw_input_contents.pop();
        assert!(refused(&few).contains("raw_input_contents: 1 entries"));
        let mut twice = raw_request("m", "1", [x(1), ids(1, 1)]);
        twice.inputs[0].contents = Some(InferTensorContents::default());
        assert!(refused(&twice).contains("inputs[0].contents"));
        let mut missing = raw_request("m", "1", [x(1), ids(1, 1)]);
        missing.raw_input_contents.clear();
        assert!(refused(&missing).contains("inputs[0].contents: 0 elements"));
        let mut shared = raw_request("m", "1", [x(1), ids(1, 1)]);
        shared.inputs[0].parameters.insert("shared_memory_region".into(), Default::default());
        assert!(refused(&shared).contains("shared memory is not served"));
    }

    #[test]
    fn what_a_message_says_of_its_tensors_is_held_against_what_it_holds() {
        let lies = |raw: &'static [u8]| {
            let mut message = raw_request("m", "1", [x(1), ids(1, 1)]);
            message.inputs[0] =
                InferInputTensor { name: "s".into(), datatype: "BYTES".into(), shape: vec![1], ..Default::default() };
            message.raw_input_contents[0] = bytes::Bytes::from_static(raw);
            message
        };
        let texts = signature(&[("s", DataType::Bytes, &[-1]), ("ids", DataType::Int64, &[-1, -1])], &[]);
        for (raw, says) in [
            (&[0xff, 0xff, 0xff, 0xff, b'h', b'i'][..], "the BYTES element at offset 0 is cut off"),
            (&[2, 0, 0, 0, b'h', b'i', 0], "the BYTES element at offset 6 is cut off"),
            (&[1, 0, 0, 0, b'h', 0, 0, 0, 0], "2 elements is not accepted; allowed: 1 elements"),
            (&[], "0 elements is not accepted; allowed: 1 elements"),
        ] {
            let refused = read(&lies(raw), &texts, RULES).unwrap_err().to_string();
            assert!(refused.starts_with("raw_input_contents[0]: ") && refused.contains(says), "{refused}");
        }
        let with = |change: fn(&mut ModelInferRequest)| {
            let mut message = raw_request("m", "1", [x(1), ids(1, 1)]);
            change(&mut message);
            refused(&message)
        };
        for (found, says) in [
            (with(|m| m.raw_input_contents[1] = vec![0; 9].into()), "raw_input_contents[1]: 9 bytes"),
            (with(|m| m.inputs[1].shape = vec![1, 1 << 40]), "raw_input_contents[1]: 8 bytes"),
            (with(|m| m.inputs[1].shape = vec![1 << 32, 1 << 32]), "inputs[1].shape: [4294967296, 4294967296]"),
            (with(|m| m.inputs[1].shape = vec![1, -1]), "inputs[1].shape: [1, -1]"),
            (with(|m| m.inputs[1].name = "x".into()), "inputs[1].name: x"),
            (with(|m| m.inputs.truncate(1)), "raw_input_contents: 2 entries"),
            (with(|m| (m.inputs.truncate(1), m.raw_input_contents.truncate(1)).0), "inputs: no input `ids`"),
        ] {
            assert!(found.contains(says), "{says}: {found}");
        }
    }

    #[test]
    fn a_model_may_allow_what_is_not_finite() {
        let nan = || Tensor::from_f32("x", vec![1, 2], &[f32::INFINITY, f32::NAN]).unwrap();
        let rules = Rules { allow_non_finite: true, ..RULES };
        assert!(read(&raw_request("m", "1", [nan(), ids(1, 1)]), &model(), rules).is_ok());
    }

    #[test]
    fn outputs_may_be_chosen_and_keep_their_order() {
        let mut message = raw_request("m", "1", [x(1), ids(1, 1)]);
        let output = |name: &str| InferRequestedOutputTensor { name: name.into(), ..Default::default() };
        message.outputs = vec![output("probabilities"), output("label")];
        let request = read(&message, &model(), RULES).unwrap();
        assert_eq!(request.outputs.iter().map(|wanted| wanted.position).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(request.message(&model(), "m".into(), String::new()).outputs[0].name, "probabilities");
    }

    proptest! {
        #[test]
        fn what_is_accepted_fits(rows in 0_usize..12, width in 0_usize..4, length in 0_usize..4, other_rows in 0_usize..12) {
            let tensors = [
                Tensor::from_f32("x", vec![rows, width], &vec![0.0; rows * width]).unwrap(),
                ids(other_rows, length),
            ];
            let fits = width == 2 && rows == other_rows && (1..=8).contains(&rows) && length > 0;
            prop_assert_eq!(read(&raw_request("m", "1", tensors), &model(), RULES).is_ok(), fits);
        }
    }
}
