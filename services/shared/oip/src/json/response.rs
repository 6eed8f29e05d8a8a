//! An answer as a document, written straight from the raw bytes; tensors that are wanted as bytes follow it.

use super::{
    half,
    request::{BASE64, CONTENT_TYPE},
};
use crate::{binary::SIZE, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};
use slipway_proto::oip::{BytesElements, DataType, Tensor};
use std::str;

/// JSON could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the answer could not be written as JSON")]
pub struct EncodeError(#[from] serde_json::Error);

/// An answer on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The document.
    pub document: Bytes,
    /// The bytes of the tensors behind it, which are those of the answer, not copies.
    pub tensors: Vec<Bytes>,
}

impl Written {
    /// The length of the whole body.
    #[must_use]
    pub fn length(&self) -> usize {
        self.document.len() + self.tensors.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether anything follows the document, so that its length has to be told.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        !self.tensors.is_empty()
    }
}

/// Writes an answer. `binary` says which outputs are wanted as bytes, by their place; places beyond it are written as text.
///
/// A number that is not finite becomes `null`, because JSON has no word for it. Elements of BYTES that are no text are
/// written in base64, and the tensor's parameter `content_type` says so.
///
/// # Errors
/// If JSON cannot be written.
pub fn write(response: &Response, binary: &[bool]) -> Result<Written, EncodeError> {
    let is_binary = |place: usize| binary.get(place).copied().unwrap_or(false);
    let wanted = response.outputs.iter().enumerate().filter(|(place, _)| is_binary(*place));
    let tensors = wanted.map(|(_, tensor)| tensor.bytes().clone()).collect();
    let in_text = response.bytes_in_text(binary);
    // A number takes about as many characters as it has bits by three; doubling the raw size rarely grows again.
    let mut document = Vec::with_capacity(128 + 96 * response.outputs.len() + 2 * in_text);
    serde_json::to_writer(
        &mut document,
        &Document {
            model_name: &response.model_name,
            model_version: &response.model_version,
            id: &response.id,
            outputs: Outputs { tensors: &response.outputs, is_binary: &is_binary },
        },
    )?;
    Ok(Written { document: document.into(), tensors })
}

#[derive(Serialize)]
struct Document<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    outputs: Outputs<'a>,
}

/// Outputs as a list of JSON, all of them as text: how they are read in a table or a file.
#[derive(Debug, Clone, Copy)]
pub struct Readable<'a>(pub &'a [Tensor]);

impl Serialize for Readable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Outputs { tensors: self.0, is_binary: &|_| false }.serialize(serializer)
    }
}

struct Outputs<'a> {
    tensors: &'a [Tensor],
    is_binary: &'a dyn Fn(usize) -> bool,
}

impl Serialize for Outputs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.tensors.len()))?;
        for (place, tensor) in self.tensors.iter().enumerate() {
            list.serialize_element(&Output { tensor, is_binary: (self.is_binary)(place) })?;
        }
        list.end()
    }
}

struct Output<'a> {
    tensor: &'a Tensor,
    is_binary: bool,
}

impl Serialize for Output<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", self.tensor.name())?;
        map.serialize_entry("datatype", self.tensor.data_type().as_str())?;
        map.serialize_entry("shape", self.tensor.shape())?;
        if self.is_binary {
            map.serialize_entry("parameters", &Parameter(SIZE, self.tensor.bytes().len()))?;
            return map.end();
        }
        let is_text = self.tensor.data_type() != DataType::Bytes
            || BytesElements::new(self.tensor.bytes()).all(|e| e.is_ok_and(|bytes| str::from_utf8(bytes).is_ok()));
        if !is_text {
            map.serialize_entry("parameters", &Parameter(CONTENT_TYPE, BASE64))?;
        }
        map.serialize_entry("data", &Data { tensor: self.tensor, is_text })?;
        map.end()
    }
}

/// The one parameter of a tensor.
struct Parameter<T>(&'static str, T);

impl<T: Serialize> Serialize for Parameter<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &self.1)?;
        map.end()
    }
}

struct Data<'a> {
    tensor: &'a Tensor,
    is_text: bool,
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = &self.tensor.bytes()[..];
        match self.tensor.data_type() {
            DataType::Bool => serializer.collect_seq(raw.iter().map(|byte| *byte == 1)),
            DataType::Int8 => numbers(serializer, raw, i8::from_le_bytes),
            DataType::Int16 => numbers(serializer, raw, i16::from_le_bytes),
            DataType::Int32 => numbers(serializer, raw, i32::from_le_bytes),
            DataType::Int64 => numbers(serializer, raw, i64::from_le_bytes),
            DataType::Uint8 => numbers(serializer, raw, u8::from_le_bytes),
            DataType::Uint16 => numbers(serializer, raw, u16::from_le_bytes),
            DataType::Uint32 => numbers(serializer, raw, u32::from_le_bytes),
            DataType::Uint64 => numbers(serializer, raw, u64::from_le_bytes),
            DataType::Fp16 => numbers(serializer, raw, |bytes| half::to_f64(u16::from_le_bytes(bytes))),
            DataType::Bf16 => numbers(serializer, raw, |bytes| half::bf16_to_f32(u16::from_le_bytes(bytes))),
            // serde_json writes what is not finite as null.
            DataType::Fp32 => numbers(serializer, raw, f32::from_le_bytes),
            DataType::Fp64 => numbers(serializer, raw, f64::from_le_bytes),
            // No element is cut off: the tensor was checked when it was made.
            DataType::Bytes if self.is_text => serializer
                .collect_seq(BytesElements::new(raw).flatten().map(|bytes| str::from_utf8(bytes).unwrap_or_default())),
            DataType::Bytes => {
                serializer.collect_seq(BytesElements::new(raw).flatten().map(|bytes| STANDARD.encode(bytes)))
            }
        }
    }
}

fn numbers<S: Serializer, T: Serialize, const N: usize>(
    serializer: S,
    raw: &[u8],
    read: fn([u8; N]) -> T,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(raw.as_chunks::<N>().0.iter().map(|bytes| read(*bytes)))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{envelope::Envelope, request},
        *,
    };
    use crate::signature::{Rules, tests::signature};
    use proptest::prelude::*;
    use serde_json::{Value, json, value::RawValue};
    use slipway_proto::oip::{first_non_finite, join_bytes_elements};

    fn answer(tensors: Vec<Tensor>) -> Response {
        Response { model_name: "m".into(), model_version: "2-1".into(), id: "7".into(), outputs: tensors }
    }

    fn written(tensor: Tensor) -> Value {
        serde_json::from_slice(&write(&answer(vec![tensor]), &[]).unwrap().document).unwrap()
    }

    #[test]
    fn an_answer_is_the_document_of_the_protocol() {
        assert_eq!(
            written(Tensor::from_f32("y", vec![1, 2], &[0.1, f32::NAN]).unwrap()),
            json!({
                "model_name": "m", "model_version": "2-1", "id": "7",
                "outputs": [{ "name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.1, null] }]
            })
        );
    }

    #[test]
    fn tensors_wanted_as_bytes_follow_the_document_uncopied() {
        let (y, z) =
            (Tensor::from_f32("y", vec![2], &[0.1, 2.0]).unwrap(), Tensor::from_i64("z", vec![1], &[7]).unwrap());
        let written = write(&answer(vec![y.clone(), z]), &[true]).unwrap();
        assert_eq!(written.tensors, [y.bytes().clone()]);
        assert_eq!(written.tensors[0].as_ptr(), y.bytes().as_ptr());
        assert_eq!(written.length(), written.document.len() + 8);
        let document: Value = serde_json::from_slice(&written.document).unwrap();
        assert_eq!(
            document["outputs"],
            json!([
                { "name": "y", "datatype": "FP32", "shape": [2], "parameters": { "binary_data_size": 8 } },
                { "name": "z", "datatype": "INT64", "shape": [1], "data": [7] }
            ])
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_written_in_base64_and_say_so() {
        let tensor = |elements: &[&[u8]]| {
            let raw = join_bytes_elements(elements.iter().copied()).unwrap();
            Tensor::new("s", DataType::Bytes, vec![elements.len()], Bytes::from(raw)).unwrap()
        };
        let text = written(tensor(&[b"a", "ä".as_bytes()]));
        assert_eq!(text["outputs"][0]["data"], json!(["a", "ä"]));
        assert_eq!(text["outputs"][0].get("parameters"), None);
        let bytes = written(tensor(&[b"a", &[0xff]]));
        assert_eq!(bytes["outputs"][0]["data"], json!(["YQ==", "/w=="]));
        assert_eq!(bytes["outputs"][0]["parameters"], json!({ "content_type": "base64" }));
    }

    #[derive(serde::Deserialize)]
    struct Document<'a> {
        #[serde(borrow)]
        outputs: [WrittenOutput<'a>; 1],
    }

    #[derive(serde::Deserialize)]
    struct WrittenOutput<'a> {
        #[serde(borrow)]
        data: Vec<&'a RawValue>,
        #[serde(default, borrow)]
        parameters: Option<&'a RawValue>,
    }

    fn any_tensor() -> impl Strategy<Value = (DataType, Vec<usize>, Vec<u8>)> {
        let shape = proptest::collection::vec(1_usize..4, 0..4);
        (proptest::sample::select(DataType::ALL.to_vec()), shape).prop_flat_map(|(data_type, shape)| {
            let count = shape.iter().product::<usize>();
            let bytes = match data_type {
                DataType::Bool => proptest::collection::vec(0_u8..2, count).boxed(),
                DataType::Bytes => {
                    let element = proptest::collection::vec(any::<u8>(), 0..6);
                    let join =
                        |elements: Vec<Vec<u8>>| join_bytes_elements(elements.iter().map(Vec::as_slice)).unwrap();
                    proptest::collection::vec(element, count).prop_map(join).boxed()
                }
                _ => {
                    let size = count * data_type.element_size().unwrap();
                    let finite = move |raw: &Vec<u8>| first_non_finite(data_type, raw).is_none();
                    proptest::collection::vec(any::<u8>(), size).prop_filter("finite", finite).boxed()
                }
            };
            (Just(data_type), Just(shape), bytes)
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_bit_for_bit((data_type, shape, raw) in any_tensor(), nested in any::<bool>()) {
            let tensor = Tensor::new("t", data_type, shape.clone(), Bytes::from(raw)).unwrap();
            let document = write(&answer(vec![tensor.clone()]), &[]).unwrap().document;
            let Document { outputs: [output] } = serde_json::from_slice(&document).unwrap();
            // The numbers are kept as text all the way: a reader in between would round them.
            let mut elements: Vec<String> = output.data.iter().map(|element| element.get().to_owned()).collect();
            if nested {
                for size in shape.iter().skip(1).rev() {
                    elements = elements.chunks(*size).map(|chunk| format!("[{}]", chunk.join(","))).collect();
                }
            }
            let parameters = output.parameters.map(|p| format!(r#""parameters":{},"#, p.get())).unwrap_or_default();
            let body = format!(
                r#"{{"inputs":[{{"name":"t","datatype":"{data_type}",{parameters}"shape":{shape:?},"data":[{}]}}]}}"#,
                elements.join(",")
            );
            let dimensions: Vec<i64> = shape.iter().map(|size| i64::try_from(*size).unwrap()).collect();
            let signature = signature(&[("t", data_type, &dimensions)], &[]);
            let envelope = Envelope::read(body.as_bytes()).unwrap();
            let request = request::read(envelope, Bytes::new(), &signature, Rules::SIGNATURE_ONLY).unwrap();
            prop_assert_eq!(&request.inputs[0], &tensor);
        }
    }
}
