//! A request document, with or without bytes behind it, as a checked request.

use super::{
    data::{self, BytesAs},
    envelope::{Envelope, Input},
};
use crate::{
    binary::{ALL_WANTED, SIZE, Tail, WANTED},
    message::refuse_extensions,
    request::{Assembly, Parameters, Request, Source, flag},
    signature::{Declared, Fitting, Rules, Signature},
};
use bytes::Bytes;
use slipway_kernel::{Refusal, Refusals};
use slipway_proto::inference::{InferParameter, infer_parameter::ParameterChoice};

/// The parameter that says how the elements of a BYTES tensor stand in JSON.
pub(super) const CONTENT_TYPE: &str = "content_type";
/// Its value for elements that are no text.
pub(super) const BASE64: &str = "base64";

/// Holds the document against the signature, then reads its numbers and the bytes behind it.
///
/// # Errors
/// All names, types and shapes that do not fit; then the first element, or the first number of bytes, that does not.
pub fn read(mut envelope: Envelope<'_>, tail: Bytes, signature: &Signature, rules: Rules) -> Result<Request, Refusals> {
    let declared: Vec<Declared<'_>> = envelope
        .inputs
        .iter()
        .map(|input| Declared { name: &input.name, datatype: &input.datatype, shape: &input.shape })
        .collect();
    let wanted: Vec<&str> = envelope.outputs.iter().map(|output| output.name.as_str()).collect();
    let fit = signature.fit(&declared, &wanted, rules)?;
    let binary = wanted_as_bytes(&envelope)?;
    let mut assembly = Assembly::new(signature, rules);
    let mut tail = Tail::new(tail);
    for (index, (input, fits)) in envelope.inputs.iter().zip(&fit.inputs).enumerate() {
        refuse_extensions(&input.parameters, &format_args!("inputs[{index}].parameters"))?;
        let elements = match tail.take(&input.parameters, index)? {
            Some(_) if input.data.is_some() => {
                let allowed = format!("either `data` or `{SIZE}`");
                return Err(Refusals(vec![Refusal::new(format!("inputs[{index}].data"), "given twice", allowed)]));
            }
            Some(elements) => elements,
            None => elements(index, input, fits).map_err(|refusal| Refusals(vec![refusal]))?,
        };
        assembly.put(&fit, index, elements, Source::Data)?;
    }
    tail.finish()?;
    envelope.parameters.remove(ALL_WANTED);
    let (id, parameters) = (envelope.id.unwrap_or_default(), envelope.parameters);
    // Without outputs in the document, what is said for all stands at every place.
    let all = *binary.last().unwrap_or(&false);
    assembly.finish(id, parameters, fit, |index| binary.get(index).copied().unwrap_or(all))
}

/// Which outputs of the document are wanted as bytes; last, whether those not named are.
fn wanted_as_bytes(envelope: &Envelope<'_>) -> Result<Vec<bool>, Refusals> {
    let all = flag(&envelope.parameters, ALL_WANTED, "parameters")?.unwrap_or(false);
    let mut binary = Vec::with_capacity(envelope.outputs.len() + 1);
    for (index, output) in envelope.outputs.iter().enumerate() {
        if output.parameters.is_empty() {
            binary.push(all);
            continue;
        }
        let path = format!("outputs[{index}].parameters");
        refuse_extensions(&output.parameters, &path)?;
        binary.push(flag(&output.parameters, WANTED, &path)?.unwrap_or(all));
    }
    binary.push(all);
    Ok(binary)
}

fn elements(index: usize, input: &Input<'_>, fits: &Fitting) -> Result<Bytes, Refusal> {
    let path = || format!("inputs[{index}].data");
    let Some(text) = input.data else {
        return Err(Refusal::new(path(), "missing", format!("{} elements", fits.count)));
    };
    let bytes_as = if is_base64(&input.parameters) { BytesAs::Base64 } else { BytesAs::Text };
    data::read(&path(), text.get(), fits.data_type, &fits.shape, fits.count, bytes_as).map(Bytes::from)
}

fn is_base64(parameters: &Parameters) -> bool {
    let Some(InferParameter { parameter_choice: Some(ParameterChoice::StringParam(text)) }) =
        parameters.get(CONTENT_TYPE)
    else {
        return false;
    };
    text == BASE64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Priority;
    use crate::signature::tests::signature;
    use proptest::prelude::*;
    use slipway_proto::oip::DataType;

    fn model() -> Signature {
        signature(
            &[("x", DataType::Fp32, &[-1, 2]), ("s", DataType::Bytes, &[-1])],
            &[("y", DataType::Fp32, &[-1]), ("z", DataType::Fp32, &[-1])],
        )
    }

    fn with_tail(body: &str, tail: &[u8]) -> Result<Request, Refusals> {
        let rules = Rules { allow_non_finite: false, max_rows: 8 };
        read(Envelope::read(body.as_bytes())?, Bytes::copy_from_slice(tail), &model(), rules)
    }

    fn refused(body: &str, tail: &[u8]) -> String {
        with_tail(body, tail).unwrap_err().to_string()
    }

    #[test]
    fn a_request_may_say_how_urgent_it_is() {
        let body = |priority: &str| {
            format!(
                r#"{{"parameters":{{"priority":{priority}}},"inputs":[
                {{"name":"s","datatype":"BYTES","shape":[1],"data":["a"]}},
                {{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}}]}}"#
            )
        };
        let said = ["0", "1", "2", "3"].map(|priority| with_tail(&body(priority), &[]).unwrap().priority);
        assert_eq!(said, [None, Some(Priority::High), Some(Priority::Normal), Some(Priority::Low)]);
        for wrong in ["4", "-1", "1.5", "true", "\"high\""] {
            let refused = refused(&body(wrong), &[]);
            assert!(refused.contains("parameters.priority") && refused.contains(wrong), "{refused}");
        }
    }

    #[test]
    fn a_document_becomes_a_request_in_the_order_of_the_signature() {
        let body = r#"{"id":"a","parameters":{"p":7},"inputs":[
            {"name":"s","datatype":"BYTES","shape":[1],"data":["aGk="],"parameters":{"content_type":"base64"}},
            {"name":"x","datatype":"FP32","shape":[1,2],"data":[[1.5,-2]]}],"outputs":[{"name":"z"}]}"#;
        let request = with_tail(body, &[]).unwrap();
        assert_eq!((request.id.as_str(), request.rows, request.parameters.len()), ("a", 1, 1));
        assert_eq!(request.inputs[0].as_f32().unwrap(), [1.5, -2.0]);
        assert_eq!(request.inputs[1].bytes()[..], [2, 0, 0, 0, b'h', b'i']);
        assert_eq!(request.outputs, [crate::Wanted { position: 1, binary: false }]);
    }

    #[test]
    fn tensors_behind_the_document_are_taken_in_its_order() {
        let body = r#"{"inputs":[
            {"name":"s","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":6}},
            {"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}],
            "parameters":{"binary_data_output":true}}"#;
        let tail = [&[2, 0, 0, 0, b'h', b'i'][..], &1.5f32.to_le_bytes(), &2f32.to_le_bytes()].concat();
        let request = with_tail(body, &tail).unwrap();
        assert_eq!(request.inputs[0].as_f32().unwrap(), [1.5, 2.0]);
        assert_eq!(request.inputs[1].bytes()[..], tail[..6]);
        assert!(request.parameters.is_empty());
        assert!(request.outputs.len() == 2 && request.outputs.iter().all(|wanted| wanted.binary));
    }

    #[test]
    fn each_output_may_say_how_it_is_wanted() {
        let body = |all: &str| {
            format!(
                r#"{{"parameters":{{"binary_data_output":{all}}},"inputs":[
                {{"name":"s","datatype":"BYTES","shape":[1],"data":["a"]}},
                {{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}}],
                "outputs":[{{"name":"z","parameters":{{"binary_data":false}}}},{{"name":"y"}}]}}"#
            )
        };
        let binary =
            |all| with_tail(&body(all), &[]).unwrap().outputs.iter().map(|wanted| wanted.binary).collect::<Vec<_>>();
        assert_eq!(binary("true"), [false, true]);
        assert_eq!(binary("false"), [false, false]);
        assert!(refused(&body("1"), &[]).contains("parameters.binary_data_output"));
    }

    #[test]
    fn what_does_not_fit_is_refused_by_its_path() {
        let s = r#"{"name":"s","datatype":"BYTES","shape":[1],"data":[""]}"#;
        for (tensor, tail, path) in [
            ("", 0, "inputs[0].data"),
            (r#","data":null"#, 0, "inputs[0].data"),
            (r#","data":[1]"#, 0, "inputs[0].data"),
            (r#","data":[1,2],"parameters":{"binary_data_size":8}"#, 8, "inputs[0].data"),
            (r#","parameters":{"binary_data_size":9}"#, 8, "inputs[0].parameters.binary_data_size"),
            (r#","parameters":{"binary_data_size":-1}"#, 8, "inputs[0].parameters.binary_data_size"),
            (r#","parameters":{"binary_data_size":"8"}"#, 8, "inputs[0].parameters.binary_data_size"),
            (r#","parameters":{"binary_data_size":4}"#, 4, "inputs[0].data"),
            (r#","parameters":{"binary_data_size":8}"#, 9, "body"),
            (r#","data":[1,2]"#, 1, "body"),
            (
                r#","data":[1,2],"parameters":{"shared_memory_region":"r"}"#,
                0,
                "inputs[0].parameters.shared_memory_region",
            ),
        ] {
            let body = format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,2]{tensor}}},{s}]}}"#);
            let refusal = with_tail(&body, &vec![0; tail]).unwrap_err().0.remove(0);
            assert_eq!(refusal.path, path, "{tensor}: {refusal}");
        }
        let nan = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}},"#;
        let tail = [f32::NAN.to_le_bytes(), 0f32.to_le_bytes()].concat();
        assert!(refused(&format!("{nan}{s}]}}"), &tail).contains("inputs[0].data[0]: not finite"));
        let body = format!(r#"{{"inputs":[{s}],"outputs":[{{"name":"y","parameters":{{"classification":3}}}}]}}"#);
        assert!(refused(&body, &[]).contains("no input `x`"));
    }

    #[test]
    fn what_a_document_says_of_its_tensors_is_held_against_what_it_holds() {
        let s = r#"{"name":"s","datatype":"BYTES","shape":[1],"data":[""]}"#;
        let x = |shape: &str| format!(r#"{{"name":"x","datatype":"FP32","shape":{shape},"data":[1,2]}}"#);
        for (inputs, says) in [
            (format!("{s},{}", x("[1099511627776,2]")), "inputs[1].shape: [1099511627776, 2]"),
            (
                format!("{},{}", s.replace("[1]", "[1099511627776]"), x("[1099511627776,2]")),
                "inputs[0].shape: 1099511627776 rows",
            ),
            (format!("{},{s}", x("[-1,2]")), "inputs[0].shape: [-1, 2]"),
            (format!("{},{s},{s}", x("[1,2]")), "inputs[2].name: s is not accepted; allowed: each name once"),
            (s.to_owned(), "inputs: no input `x`"),
            (format!("{s},{}", x("[1,2]").replace("[1,2]}", "[1]}")), "inputs[1].data: 1 elements"),
            (format!("{s},{}", x("[1,2]").replace("[1,2]}", "[1,2,3]}")), "inputs[1].data: more than 2 elements"),
        ] {
            let found = refused(&format!(r#"{{"inputs":[{inputs}]}}"#), &[]);
            assert!(found.contains(says), "{says}: {found}");
        }
        for (raw, says) in [
            (&[0xff, 0xff, 0xff, 0xff, b'h', b'i'][..], "the BYTES element at offset 0 is cut off"),
            (&[2, 0, 0, 0, b'h', b'i', 0], "the BYTES element at offset 6 is cut off"),
            (&[1, 0, 0, 0, b'h', 0, 0, 0, 0], "2 elements is not accepted; allowed: 1 elements"),
            (&[], "0 elements is not accepted; allowed: 1 elements"),
        ] {
            let size = raw.len();
            let s =
                format!(r#"{{"name":"s","datatype":"BYTES","shape":[1],"parameters":{{"binary_data_size":{size}}}}}"#);
            let found = refused(&format!(r#"{{"inputs":[{},{s}]}}"#, x("[1,2]")), raw);
            assert!(found.starts_with("inputs[1].data: ") && found.contains(says), "{found}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_behind_a_document_make_it_panic(size in any::<i64>(), tail in proptest::collection::vec(any::<u8>(), 0..64)) {
            let body = format!(r#"{{"inputs":[
                {{"name":"s","datatype":"BYTES","shape":[1],"parameters":{{"binary_data_size":{size}}}}},
                {{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{{"binary_data_size":8}}}}]}}"#);
            let _ = with_tail(&body, &tail);
        }
    }
}
