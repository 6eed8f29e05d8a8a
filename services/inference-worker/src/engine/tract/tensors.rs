//! Our tensors to tract's and back.

use bytes::Bytes;
use slipway_proto::oip::{DataType, Tensor, join_bytes_elements};
use tract_onnx::prelude::tract_ndarray::ArrayD;
use tract_onnx::prelude::{DatumType, IntoTValue as _, TValue, Tensor as TractTensor, TractResult};

use crate::engine::{EngineError, Stack, copies};

/// tract's name of a type.
pub(super) const fn datum_type(data_type: DataType) -> DatumType {
    match data_type {
        DataType::Bool => DatumType::Bool,
        DataType::Int8 => DatumType::I8,
        DataType::Int16 => DatumType::I16,
        DataType::Int32 => DatumType::I32,
        DataType::Int64 => DatumType::I64,
        DataType::Uint8 => DatumType::U8,
        DataType::Uint16 => DatumType::U16,
        DataType::Uint32 => DatumType::U32,
        DataType::Uint64 => DatumType::U64,
        DataType::Fp16 => DatumType::F16,
        // tract has no bfloat16; a blob is a type that no model plans with, and files that declare it are refused before.
        DataType::Bf16 => DatumType::Blob,
        DataType::Fp32 => DatumType::F32,
        DataType::Fp64 => DatumType::F64,
        DataType::Bytes => DatumType::String,
    }
}

/// A tract tensor of all the rows. This is the one copy of an input. The buffer is a new one for every run: tract computes in
/// place in what it is given, and a buffer that we held on to would only be copied there.
pub(super) fn to_tract(input: &Stack<'_>) -> Result<TValue, EngineError> {
    let failed = |error: &dyn std::fmt::Display| EngineError::Run(format!("input `{}`: {error}", input.name()));
    if input.data_type() == DataType::Bytes {
        let strings = input
            .strings()
            .map(|element| {
                let element = element.map_err(|problem| failed(&problem))?;
                std::str::from_utf8(element).map(str::to_owned).map_err(|error| failed(&error))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let array = ArrayD::from_shape_vec(input.shape(), strings).map_err(|error| failed(&error))?;
        return Ok(TractTensor::from(array).into_tvalue());
    }
    let mut made =
        TractTensor::zero_dt(datum_type(input.data_type()), input.shape()).map_err(|error| failed(&error))?;
    let mut place = made.as_bytes_mut();
    for piece in input.pieces() {
        // Little-endian on both sides: Slipway runs on x86-64 and aarch64 only, as tract's kernels do.
        let (start, rest) =
            place.split_at_mut_checked(piece.len()).ok_or_else(|| failed(&"the engine lays it out differently"))?;
        start.copy_from_slice(piece);
        place = rest;
    }
    if !place.is_empty() {
        return Err(failed(&"the engine lays it out differently"));
    }
    Ok(made.into_tvalue())
}

/// Our tensor of this name and type with the same elements, in the very memory that tract computed them in.
pub(super) fn from_tract(name: &str, data_type: DataType, value: TValue) -> Result<Tensor, EngineError> {
    let failed = |error: &dyn std::fmt::Display| EngineError::Output(format!("output `{name}`: {error}"));
    let (found, declared) = (value.datum_type().unquantized(), datum_type(data_type));
    let shape = value.shape().to_vec();
    let bytes = if data_type == DataType::Bytes && found == declared {
        let plain = value.try_as_plain_ram().map_err(|error| failed(&error))?;
        let strings = plain.as_slice::<String>().map_err(|error| failed(&error))?;
        let joined = join_bytes_elements(strings.iter().map(String::as_bytes)).map_err(|problem| failed(&problem))?;
        copies::out_of_engine(joined.len());
        Bytes::from(joined)
    } else if found == declared {
        Bytes::from_owner(Computed::new(value).map_err(|error| failed(&error))?)
    } else if found == DatumType::TDim && data_type != DataType::Bytes {
        // tract keeps sizes and indices in a type of its own where ONNX says INT64.
        let cast = value.cast_to_dt(declared).map_err(|error| failed(&error))?.into_owned();
        Bytes::from_owner(Computed::new(cast.into_tvalue()).map_err(|error| failed(&error))?)
    } else {
        // Any other difference would be a silent change of the model's numbers.
        return Err(failed(&format!("{found:?} where the model declares {declared:?}")));
    };
    Tensor::new(name, data_type, shape, bytes).map_err(|error| EngineError::Output(error.to_string()))
}

/// The same of a tensor that a GPU computed, in memory of our own: tract's keeps the device's until it is dropped, and an answer may
/// be long on its way.
#[cfg(feature = "cuda")]
pub(super) fn from_device(name: &str, data_type: DataType, value: TValue) -> Result<Tensor, EngineError> {
    let tensor = from_tract(name, data_type, value)?;
    copies::out_of_engine(tensor.bytes().len());
    let bytes = Bytes::copy_from_slice(tensor.bytes());
    Tensor::new(name, data_type, tensor.shape().to_vec(), bytes).map_err(|error| EngineError::Output(error.to_string()))
}

/// Keeps tract's tensor alive for as long as an answer is made of it.
struct Computed(TValue);

impl Computed {
    fn new(value: TValue) -> TractResult<Self> {
        // Only a tensor that lies in plain memory has bytes.
        value.try_as_plain_ram()?;
        Ok(Self(value))
    }
}

impl AsRef<[u8]> for Computed {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_tract_has_survives_the_way_to_it_and_back() {
        for data_type in DataType::ALL.into_iter().filter(|data_type| *data_type != DataType::Bf16) {
            let raw = match data_type.element_size() {
                Some(_) if data_type == DataType::Bool => vec![0, 1, 1, 0, 1, 0],
                Some(size) => (0..6 * size).map(|i| u8::try_from(i % 100).unwrap()).collect(),
                None => join_bytes_elements(["a", "", "ü", "b", "cc", "d"].map(str::as_bytes)).unwrap(),
            };
            let tensor = Tensor::new("x", data_type, vec![2, 3], raw.into()).unwrap();
            let request = [tensor];
            let there = to_tract(&Stack::new(&[&request], 0).unwrap()).unwrap();
            assert_eq!(there.datum_type(), datum_type(data_type));
            assert_eq!(from_tract("x", data_type, there).unwrap(), request[0], "{data_type}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        let raw = join_bytes_elements([&[0xff_u8][..]]).unwrap();
        let request = [Tensor::new("s", DataType::Bytes, vec![1], raw.into()).unwrap()];
        assert!(to_tract(&Stack::new(&[&request], 0).unwrap()).is_err());
    }
}
