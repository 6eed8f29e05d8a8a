//! Tensors out of and into whole messages.

use std::collections::HashSet;
use std::str::FromStr as _;

use bytes::Bytes;

use super::{DataType, Problem, Tensor, TensorError, contents_to_raw, dimensions, element_count};
use crate::inference::model_infer_request::InferInputTensor;
use crate::inference::model_infer_response::InferOutputTensor;
use crate::inference::{InferTensorContents, ModelInferRequest, ModelInferResponse};

/// What is wrong with the tensors of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// One tensor is wrong in itself.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Raw contents are used, but not for every tensor.
    #[error("{raw} raw contents for {tensors} tensors")]
    RawCount {
        /// How many tensors are declared.
        tensors: usize,
        /// How many raw contents came.
        raw: usize,
    },
    /// Raw and typed contents stand side by side.
    #[error("tensor `{0}` has typed contents beside the raw ones of the message")]
    Mixed(String),
    /// Two tensors have one name.
    #[error("tensor `{0}` is given twice")]
    Duplicate(String),
}

/// The inputs of a request, each checked against its own type and shape.
///
/// # Errors
/// The first [`MessageError`] found.
pub fn request_tensors(request: &ModelInferRequest) -> Result<Vec<Tensor>, MessageError> {
    let declared =
        request.inputs.iter().map(|input| (&*input.name, &*input.datatype, &*input.shape, input.contents.as_ref()));
    tensors(declared, &request.raw_input_contents)
}

/// The outputs of an answer, each checked against its own type and shape.
///
/// # Errors
/// The first [`MessageError`] found.
pub fn response_tensors(response: &ModelInferResponse) -> Result<Vec<Tensor>, MessageError> {
    let declared = response
        .outputs
        .iter()
        .map(|output| (&*output.name, &*output.datatype, &*output.shape, output.contents.as_ref()));
    tensors(declared, &response.raw_output_contents)
}

/// A request in raw form.
#[must_use]
pub fn raw_request(
    model_name: impl Into<String>,
    id: impl Into<String>,
    inputs: impl IntoIterator<Item = Tensor>,
) -> ModelInferRequest {
    let mut request =
        ModelInferRequest { model_name: model_name.into(), id: id.into(), ..ModelInferRequest::default() };
    for tensor in inputs {
        request.inputs.push(InferInputTensor {
            name: tensor.name().to_owned(),
            datatype: tensor.data_type().as_str().to_owned(),
            shape: tensor.wire_shape(),
            ..InferInputTensor::default()
        });
        request.raw_input_contents.push(tensor.bytes().clone());
    }
    request
}

/// An answer in raw form.
#[must_use]
pub fn raw_response(
    model_name: impl Into<String>,
    model_version: impl Into<String>,
    id: impl Into<String>,
    outputs: impl IntoIterator<Item = Tensor>,
) -> ModelInferResponse {
    let mut response = ModelInferResponse {
        model_name: model_name.into(),
        model_version: model_version.into(),
        id: id.into(),
        ..ModelInferResponse::default()
    };
    for tensor in outputs {
        response.outputs.push(InferOutputTensor {
            name: tensor.name().to_owned(),
            datatype: tensor.data_type().as_str().to_owned(),
            shape: tensor.wire_shape(),
            ..InferOutputTensor::default()
        });
        response.raw_output_contents.push(tensor.bytes().clone());
    }
    response
}

type Declared<'a> = (&'a str, &'a str, &'a [i64], Option<&'a InferTensorContents>);

fn tensors<'a>(
    declared: impl ExactSizeIterator<Item = Declared<'a>>,
    raw: &[Bytes],
) -> Result<Vec<Tensor>, MessageError> {
    if !raw.is_empty() && raw.len() != declared.len() {
        return Err(MessageError::RawCount { tensors: declared.len(), raw: raw.len() });
    }
    let mut names = HashSet::new();
    let mut tensors = Vec::with_capacity(declared.len());
    for (index, (name, data_type, shape, contents)) in declared.enumerate() {
        if !names.insert(name) {
            return Err(MessageError::Duplicate(name.to_owned()));
        }
        let raw = raw.get(index);
        if raw.is_some() && contents.is_some() {
            return Err(MessageError::Mixed(name.to_owned()));
        }
        tensors.push(tensor(name, data_type, shape, contents, raw)?);
    }
    Ok(tensors)
}

fn tensor(
    name: &str,
    data_type: &str,
    shape: &[i64],
    contents: Option<&InferTensorContents>,
    raw: Option<&Bytes>,
) -> Result<Tensor, TensorError> {
    let data_type = DataType::from_str(data_type).map_err(|error| Problem::UnknownDataType(error.0).of(name))?;
    let shape = dimensions(shape).map_err(|problem| problem.of(name))?;
    let bytes = match raw {
        Some(raw) => raw.clone(),
        None => {
            let nothing = InferTensorContents::default();
            element_count(&shape)
                .and_then(|count| contents_to_raw(data_type, count, contents.unwrap_or(&nothing)))
                .map_err(|problem| problem.of(name))?
        }
    };
    Tensor::new(name, data_type, shape, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn x(shape: Vec<usize>, values: &[f32]) -> Tensor {
        Tensor::from_f32("x", shape, values).unwrap()
    }

    #[test]
    fn raw_and_typed_forms_of_a_request_are_the_same_tensors() {
        let raw = raw_request("m", "1", [x(vec![1, 2], &[0.5, -1.0])]);
        let mut typed = raw.clone();
        typed.raw_input_contents.clear();
        typed.inputs[0].contents =
            Some(InferTensorContents { fp32_contents: vec![0.5, -1.0], ..InferTensorContents::default() });
        assert_eq!(request_tensors(&raw), request_tensors(&typed));
        assert_eq!(request_tensors(&raw).unwrap()[0].as_f32().unwrap(), [0.5, -1.0]);
    }

    #[test]
    fn each_way_to_be_wrong_has_its_name() {
        let good = raw_request("m", "1", [x(vec![1, 2], &[0.5, -1.0])]);
        let broken = |change: fn(&mut ModelInferRequest)| {
            let mut request = good.clone();
            change(&mut request);
            request_tensors(&request).unwrap_err().to_string()
        };
        assert_eq!(broken(|r| r.raw_input_contents.push(Bytes::new())), "2 raw contents for 1 tensors");
        assert_eq!(
            broken(|r| r.inputs[0].contents = Some(InferTensorContents::default())),
            "tensor `x` has typed contents beside the raw ones of the message"
        );
        assert_eq!(
            broken(|r| {
                r.inputs.push(r.inputs[0].clone());
                r.raw_input_contents.push(r.raw_input_contents[0].clone());
            }),
            "tensor `x` is given twice"
        );
        assert_eq!(broken(|r| r.inputs[0].datatype = "FLOAT".into()), "tensor `x`: unknown data type `FLOAT`");
        assert_eq!(
            broken(|r| r.inputs[0].shape = vec![-1, 2]),
            "tensor `x`: dimension 0 of the shape is -1, which is no size"
        );
        assert_eq!(broken(|r| r.inputs[0].shape = vec![2, 2]), "tensor `x`: 8 bytes where type and shape need 16");
        assert_eq!(broken(|r| r.raw_input_contents.clear()), "tensor `x`: 0 elements where the shape needs 2");
        assert_eq!(
            broken(|r| r.inputs[0].shape = vec![i64::MAX, i64::MAX]),
            "tensor `x`: the shape has more elements than can be addressed"
        );
    }

    proptest! {
        #[test]
        fn tensors_survive_an_answer(values in proptest::collection::vec(any::<i64>(), 0..20)) {
            let tensor = Tensor::from_i64("y", vec![values.len(), 1], &values).unwrap();
            let response = raw_response("m", "1-1", "id", [tensor.clone()]);
            prop_assert_eq!(response_tensors(&response).unwrap(), vec![tensor]);
        }
    }
}
