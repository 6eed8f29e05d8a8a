//! The binary tensor extension: a document followed by the bytes of tensors, and a body that is nothing but one tensor.
//!
//! `Inference-Header-Content-Length` says how many bytes of the body are the document. Each input that has the parameter
//! `binary_data_size` takes that many of the bytes behind it, in the order of the document. A length of 0 means that there is
//! no document: the body is the model's only input, in one row.

use crate::{
    request::{Assembly, Parameters, Request, Source},
    signature::{Declared, Rules, Signature, TensorSpec},
};
use bytes::{Bytes, BytesMut};
use slipway_kernel::{Refusal, Refusals};
use slipway_proto::{
    inference::{InferParameter, infer_parameter::ParameterChoice},
    oip::{DataType, element_count},
};

/// The header that parts document and bytes, in lower case.
pub const HEADER: &str = "inference-header-content-length";

/// The parameter that says how many bytes of a tensor follow the document.
pub(crate) const SIZE: &str = "binary_data_size";
/// The parameter of a wanted output that asks for its bytes.
pub(crate) const WANTED: &str = "binary_data";
/// The parameter of a request that asks for the bytes of all outputs that do not say otherwise.
pub(crate) const ALL_WANTED: &str = "binary_data_output";

/// A body in its two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The document; empty when the body is one tensor.
    pub document: Bytes,
    /// What follows it.
    pub tensors: Bytes,
    /// The body is one tensor and nothing else. An empty body without the header is no tensor but a missing document.
    pub is_tensor: bool,
}

impl Parts {
    /// Parts a body at the length that the header says. Nothing is copied.
    ///
    /// # Errors
    /// When the header is no length, or longer than the body.
    pub fn of(body: Bytes, header: &[u8]) -> Result<Self, Refusal> {
        let refuse = |allowed: String| {
            let found: String = String::from_utf8_lossy(header).chars().take(40).collect();
            Refusal::new(format!("header.{HEADER}"), found, allowed)
        };
        let digits = !header.is_empty() && header.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(header).ok().filter(|_| digits).and_then(|text| text.parse::<usize>().ok());
        let most = body.len();
        let length = length.filter(|length| *length <= most);
        let length = length.ok_or_else(|| refuse(format!("a number of bytes up to {most}, the length of the body")))?;
        let mut tensors = body;
        let document = tensors.split_to(length);
        Ok(Self { document, tensors, is_tensor: length == 0 })
    }
}

/// The bytes behind a document, taken tensor by tensor.
#[derive(Debug)]
pub(crate) struct Tail {
    bytes: Bytes,
    whole: usize,
}

impl Tail {
    pub(crate) fn new(bytes: Bytes) -> Self {
        let whole = bytes.len();
        Self { bytes, whole }
    }

    /// The next tensor's bytes, when its parameters say that it has any here.
    pub(crate) fn take(&mut self, parameters: &Parameters, index: usize) -> Result<Option<Bytes>, Refusals> {
        let Some(InferParameter { parameter_choice }) = parameters.get(SIZE) else { return Ok(None) };
        let size = match parameter_choice {
            Some(ParameterChoice::Int64Param(size)) => usize::try_from(*size).ok(),
            _ => None,
        };
        let left = self.bytes.len();
        match size.filter(|size| *size <= left) {
            Some(size) => Ok(Some(self.bytes.split_to(size))),
            None => {
                let found = match parameter_choice {
                    Some(ParameterChoice::Int64Param(size)) => size.to_string(),
                    _ => "no whole number".to_owned(),
                };
                let path = format!("inputs[{index}].parameters.{SIZE}");
                let allowed = format!("a number of bytes up to {left}, what is left behind the document");
                Err(Refusals(vec![Refusal::new(path, found, allowed)]))
            }
        }
    }

    /// Refuses bytes that belong to no tensor.
    pub(crate) fn finish(self) -> Result<(), Refusals> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let allowed = format!("{} bytes behind the document, as the inputs say", self.whole - self.bytes.len());
        Err(Refusals(vec![Refusal::new("body", format!("{} bytes", self.whole), allowed)]))
    }
}

/// A body that is the model's only input and nothing else; all outputs are wanted as bytes.
///
/// # Errors
/// When the model has several inputs, or a shape that the length does not decide.
pub fn raw(body: Bytes, signature: &Signature, rules: Rules) -> Result<Request, Refusals> {
    let refuse = |refusal| Refusals(vec![refusal]);
    let [input] = &signature.inputs[..] else {
        let allowed = format!("a document: the model has {} inputs", signature.inputs.len());
        return Err(refuse(Refusal::new(format!("header.{HEADER}"), 0, allowed)));
    };
    // A text comes as it is, without the length before it.
    let body = if input.data_type == DataType::Bytes { one_element(&body).map_err(refuse)? } else { body };
    let shape = shape_of(input, signature.batched, body.len()).map_err(refuse)?;
    let declared = Declared { name: &input.name, datatype: input.data_type.as_str(), shape: &shape };
    let fit = signature.fit(&[declared], &[], rules)?;
    let mut assembly = Assembly::new(signature, rules);
    assembly.put(&fit, 0, body, Source::Data)?;
    assembly.finish(String::new(), Parameters::new(), fit, |_| true)
}

fn one_element(text: &Bytes) -> Result<Bytes, Refusal> {
    let length = u32::try_from(text.len())
        .map_err(|_| Refusal::new("body", format!("{} bytes", text.len()), "a text shorter than 4 GiB"))?;
    let mut element = BytesMut::with_capacity(4 + text.len());
    element.extend_from_slice(&length.to_le_bytes());
    element.extend_from_slice(text);
    Ok(element.freeze())
}

/// One row, and at most one other free size, which the length decides.
fn shape_of(input: &TensorSpec, batched: bool, length: usize) -> Result<Vec<i64>, Refusal> {
    let mut shape = input.shape.clone();
    if batched && let Some(rows) = shape.first_mut() {
        *rows = 1;
    }
    let refuse = |allowed: String| Err(Refusal::new("body", format!("{length} bytes"), allowed));
    let free: Vec<usize> = (0..shape.len()).filter(|axis| shape[*axis] < 0).collect();
    let [axis] = free[..] else {
        return if free.is_empty() {
            Ok(shape)
        } else {
            refuse(format!("a document that says which sizes {:?} has", input.shape))
        };
    };
    let known: Vec<usize> = shape.iter().filter_map(|size| usize::try_from(*size).ok()).collect();
    // The elements of a text have no size; there is one.
    let row = match input.data_type.element_size() {
        Some(size) => element_count(&known).ok().and_then(|count| count.checked_mul(size)),
        None => Some(length.max(1)),
    };
    match row.filter(|row| *row > 0 && length > 0 && length.is_multiple_of(*row)) {
        Some(row) => {
            shape[axis] = i64::try_from(length / row).unwrap_or(i64::MAX);
            Ok(shape)
        }
        None => refuse(format!("a multiple of what a {} tensor of {:?} needs", input.data_type, input.shape)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::tests::signature;
    use proptest::prelude::*;

    fn parted(body: &'static [u8], header: &str) -> Result<(Bytes, Bytes), String> {
        let parts = Parts::of(Bytes::from_static(body), header.as_bytes());
        parts.map(|parts| (parts.document, parts.tensors)).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a_body_is_parted_where_the_header_says() {
        let (document, tensors) = parted(b"{}1234", "2").unwrap();
        assert_eq!((&document[..], &tensors[..]), (&b"{}"[..], &b"1234"[..]));
        assert_eq!(parted(b"1234", "0").unwrap().0, Bytes::new());
        assert_eq!(parted(b"{}", "2").unwrap().1, Bytes::new());
        for header in ["3", "", "-1", "+2", "2 ", "0x2", "18446744073709551616", "two"] {
            let refusal = parted(b"{}", header).unwrap_err();
            assert!(refusal.contains("a number of bytes up to 2"), "{header}: {refusal}");
        }
    }

    #[test]
    fn a_body_of_one_tensor_has_the_shape_its_length_says() {
        let raw = |shape: &[i64], data_type, bytes: usize| {
            let model = signature(&[("x", data_type, shape)], &[("y", DataType::Fp32, &[-1])]);
            raw(vec![0; bytes].into(), &model, Rules::SIGNATURE_ONLY)
                .map(|request| request.inputs[0].shape().to_vec())
                .map_err(|refusals| refusals.to_string())
        };
        assert_eq!(raw(&[-1, 3], DataType::Fp32, 12).unwrap(), [1, 3]);
        assert_eq!(raw(&[-1, -1, 3], DataType::Fp32, 24).unwrap(), [1, 2, 3]);
        assert_eq!(raw(&[2, 3], DataType::Uint8, 6).unwrap(), [2, 3]);
        assert_eq!(raw(&[4, -1], DataType::Int16, 16).unwrap(), [4, 2]);
        assert_eq!(raw(&[-1, 1], DataType::Bytes, 7).unwrap(), [1, 1]);
        for (shape, bytes, says) in [
            (&[-1, 3][..], 13, "inputs[0].data: 13 bytes"),
            (&[-1, -1, 3], 25, "a multiple"),
            (&[-1, -1, 3], 0, "a multiple"),
            (&[-1, -1, -1], 12, "a document"),
            (&[-1, -1, 0], 12, "a multiple"),
            (&[-1, -1, i64::MAX], 12, "a multiple"),
        ] {
            let refusal = raw(shape, DataType::Fp32, bytes).unwrap_err();
            assert!(refusal.contains(says), "{shape:?} {bytes}: {refusal}");
        }
    }

    #[test]
    fn a_model_of_two_inputs_needs_a_document() {
        let model = signature(&[("x", DataType::Fp32, &[1]), ("z", DataType::Fp32, &[1])], &[]);
        assert!(raw(Bytes::from_static(&[0; 8]), &model, Rules::SIGNATURE_ONLY).is_err());
    }

    #[test]
    fn a_text_comes_without_its_length() {
        let model = signature(&[("s", DataType::Bytes, &[-1])], &[]);
        let request = raw(Bytes::from_static(b"hi"), &model, Rules::SIGNATURE_ONLY).unwrap();
        assert_eq!(request.inputs[0].bytes()[..], [2, 0, 0, 0, b'h', b'i']);
    }

    proptest! {
        #[test]
        fn no_body_and_no_header_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..64), header in ".{0,8}") {
            let _ = Parts::of(body.clone().into(), header.as_bytes());
            let model = signature(&[("x", DataType::Fp32, &[-1, -1, 3])], &[]);
            let _ = raw(body.into(), &model, Rules::SIGNATURE_ONLY);
        }
    }
}
