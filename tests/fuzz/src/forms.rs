//! One request in all its forms: as a document, with its tensors behind the document, as a message. All must be read as that
//! request.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use prost::Message as _;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use slipway_kernel::Refusals;
use slipway_oip::{
    Request, Response, Rules, Signature,
    http::LENGTH_OF_DOCUMENT,
    json::{self, Envelope},
    message,
};
use slipway_proto::{
    inference::{InferParameter, ModelInferRequest, infer_parameter::ParameterChoice},
    oip::{Tensor, first_non_finite},
};

/// Writes `request`, which was read with this model and these rules, in every form, reads each, and panics when one is another
/// request.
pub(crate) fn check(request: &Request, signature: &Signature, rules: Rules) {
    fits(request, signature, rules);
    let again =
        ModelInferRequest::decode(request.message(signature, "m".into(), "1".into()).encode_to_vec().as_slice());
    let again = message::read(&again.unwrap(), signature, rules).unwrap();
    assert_eq!(shown(&again, false), shown(request, false), "as a message");

    // JSON has no word for what is not finite, and a parameter that says how tensors stand would say it again.
    let request = &Request { parameters: plain(request), ..request.clone() };
    let finite = |tensor: &Tensor| first_non_finite(tensor.data_type(), tensor.bytes()).is_none();
    let bytes = as_bytes(request, signature);
    let again = read_body(&bytes.0, bytes.1, signature, rules).unwrap();
    assert_eq!(shown(&again, true), shown(request, true), "with its tensors behind the document");
    if request.inputs.iter().all(finite) {
        let text = as_text(request, signature);
        let again = Envelope::read(text.as_bytes()).and_then(|e| json::read(e, Bytes::new(), signature, rules));
        let again = again.unwrap_or_else(|refusals| panic!("{refusals}: {text}"));
        assert_eq!(shown(&again, true), shown(request, true), "as a document");
    }
}

/// What an accepted request keeps to.
fn fits(request: &Request, signature: &Signature, rules: Rules) {
    assert_eq!(request.inputs.len(), signature.inputs.len());
    assert!(request.rows <= rules.max_rows);
    for (tensor, spec) in request.inputs.iter().zip(&signature.inputs) {
        assert_eq!((tensor.name(), tensor.data_type()), (spec.name.as_str(), spec.data_type));
        assert_eq!(tensor.shape().len(), spec.shape.len());
        if signature.batched {
            assert_eq!(tensor.shape().first(), Some(&request.rows));
        }
        if let Some(size) = tensor.data_type().element_size() {
            assert_eq!(tensor.elements() * size, tensor.bytes().len());
        }
        assert!(rules.allow_non_finite || first_non_finite(tensor.data_type(), tensor.bytes()).is_none());
    }
    assert!(request.outputs.iter().all(|wanted| wanted.position < signature.outputs.len()));
}

/// All that a request says, in an order of its own. A message cannot say which outputs are wanted as bytes.
fn shown(request: &Request, with_binary: bool) -> String {
    let mut parameters: Vec<_> = request.parameters.iter().collect();
    parameters.sort_by_key(|(name, _)| *name);
    let outputs: Vec<_> = request.outputs.iter().map(|out| (out.position, with_binary && out.binary)).collect();
    format!("{:?} {parameters:?} {:?} {} {outputs:?}", request.id, request.inputs, request.rows)
}

/// The parameters that a document can carry and that mean nothing in it.
fn plain(request: &Request) -> slipway_oip::Parameters {
    let plain = |(name, parameter): &(&String, &InferParameter)| {
        let value = match &parameter.parameter_choice {
            Some(ParameterChoice::StringParam(text)) => text.len() <= 1_024,
            // Read as the signed one when it fits there.
            Some(ParameterChoice::Uint64Param(number)) => i64::try_from(*number).is_err(),
            Some(ParameterChoice::BoolParam(_) | ParameterChoice::Int64Param(_)) => true,
            // Not every reader of JSON rounds the last place as the writer does.
            Some(ParameterChoice::DoubleParam(_)) | None => false,
        };
        value && name.len() <= 1_024 && *name != "binary_data_output"
    };
    let owned = |(name, parameter): (&String, &InferParameter)| (name.clone(), parameter.clone());
    request.parameters.iter().filter(plain).take(64).map(owned).collect()
}

/// The head of a document: all but its inputs.
fn head(request: &Request, signature: &Signature) -> Map<String, Value> {
    let mut head = Map::new();
    if !request.id.is_empty() {
        head.insert("id".into(), request.id.clone().into());
    }
    let parameter = |(name, parameter): (&String, &InferParameter)| {
        let value = match parameter.parameter_choice.clone()? {
            ParameterChoice::BoolParam(flag) => flag.into(),
            ParameterChoice::Int64Param(number) => number.into(),
            ParameterChoice::Uint64Param(number) => number.into(),
            ParameterChoice::StringParam(text) => text.into(),
            ParameterChoice::DoubleParam(number) => number.into(),
        };
        Some((name.clone(), value))
    };
    let parameters: Map<String, Value> = request.parameters.iter().filter_map(parameter).collect();
    head.insert("parameters".into(), parameters.into());
    let output = |wanted: &slipway_oip::Wanted| {
        let name = &signature.outputs[wanted.position].name;
        serde_json::json!({ "name": name, "parameters": { "binary_data": wanted.binary } })
    };
    head.insert("outputs".into(), request.outputs.iter().map(output).collect());
    head
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    outputs: Vec<&'a RawValue>,
}

/// The request as a document. The inputs are written by the writer of answers, whose outputs look the same.
fn as_text(request: &Request, signature: &Signature) -> String {
    let answer = Response {
        model_name: String::new(),
        model_version: String::new(),
        id: String::new(),
        outputs: request.inputs.clone(),
    };
    let written = json::write(&answer, &[]).unwrap();
    assert!(!written.is_binary());
    let Answer { outputs } = serde_json::from_slice(&written.document).unwrap();
    let inputs: Vec<&str> = outputs.into_iter().map(RawValue::get).collect();
    let head = serde_json::to_string(&head(request, signature)).unwrap();
    format!("{},\"inputs\":[{}]}}", &head[..head.len() - 1], inputs.join(","))
}

/// The request as a document with its tensors behind it, and the headers that say so.
fn as_bytes(request: &Request, signature: &Signature) -> (HeaderMap, Bytes) {
    let mut document = head(request, signature);
    let input = |tensor: &Tensor| {
        serde_json::json!({
            "name": tensor.name(), "datatype": tensor.data_type().as_str(), "shape": tensor.shape(),
            "parameters": { "binary_data_size": tensor.bytes().len() },
        })
    };
    document.insert("inputs".into(), request.inputs.iter().map(input).collect());
    let mut body = serde_json::to_vec(&document).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(LENGTH_OF_DOCUMENT, HeaderValue::from(body.len()));
    request.inputs.iter().for_each(|tensor| body.extend_from_slice(tensor.bytes()));
    (headers, body.into())
}

/// Reads a body as ingress and worker do.
pub(crate) fn read_body(
    headers: &HeaderMap,
    body: Bytes,
    signature: &Signature,
    rules: Rules,
) -> Result<Request, Refusals> {
    let parts = slipway_oip::http::parts(headers, body).map_err(|refusal| Refusals(vec![refusal]))?;
    if parts.is_tensor {
        return slipway_oip::binary::raw(parts.tensors, signature, rules);
    }
    json::read(Envelope::read(&parts.document)?, parts.tensors, signature, rules)
}
