//! Our tensors to ONNX Runtime's and back.

use std::fmt::Debug;

use bytes::Bytes;
use half::{bf16, f16};
use ort::session::SessionInputValue;
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor as OrtTensor, TensorRef};
use slipway_proto::oip::{DataType, Tensor, join_bytes_elements};

use crate::engine::{EngineError, Stack, copies};

/// A number as it lies in memory and on the wire.
trait Element: PrimitiveTensorElementType + Debug + Clone + 'static {
    /// Adds what the bytes mean.
    fn read(into: &mut Vec<Self>, bytes: &[u8]);
    /// The bytes of all.
    fn write(values: &[Self]) -> Vec<u8>;
}

// Little-endian on both sides, so this is a plain copy, and compiles to one; written this way it needs no trust in alignment.
macro_rules! elements {
    ($($kind:ty),*) => {$(
        impl Element for $kind {
            fn read(into: &mut Vec<Self>, bytes: &[u8]) {
                into.extend(bytes.as_chunks().0.iter().map(|bytes| Self::from_le_bytes(*bytes)));
            }
            fn write(values: &[Self]) -> Vec<u8> {
                values.iter().map(|value| value.to_le_bytes()).collect::<Vec<_>>().into_flattened()
            }
        }
    )*};
}
elements!(i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64);

impl Element for bool {
    fn read(into: &mut Vec<Self>, bytes: &[u8]) {
        into.extend(bytes.iter().map(|&byte| byte != 0));
    }
    fn write(values: &[Self]) -> Vec<u8> {
        values.iter().map(|&value| u8::from(value)).collect()
    }
}

/// Where an input lies while ONNX Runtime reads it. Kept from run to run, so that it is allocated once for the largest batch.
#[derive(Debug)]
pub(super) enum Buffer {
    Bool(Vec<bool>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Uint8(Vec<u8>),
    Uint16(Vec<u16>),
    Uint32(Vec<u32>),
    Uint64(Vec<u64>),
    Fp16(Vec<f16>),
    Bf16(Vec<bf16>),
    Fp32(Vec<f32>),
    Fp64(Vec<f64>),
    /// ONNX Runtime keeps strings in its own memory only.
    Bytes,
}

macro_rules! for_numbers {
    ($buffer:expr, $numbers:ident => $then:expr, $strings:expr) => {
        match $buffer {
            Buffer::Bool($numbers) => $then,
            Buffer::Int8($numbers) => $then,
            Buffer::Int16($numbers) => $then,
            Buffer::Int32($numbers) => $then,
            Buffer::Int64($numbers) => $then,
            Buffer::Uint8($numbers) => $then,
            Buffer::Uint16($numbers) => $then,
            Buffer::Uint32($numbers) => $then,
            Buffer::Uint64($numbers) => $then,
            Buffer::Fp16($numbers) => $then,
            Buffer::Bf16($numbers) => $then,
            Buffer::Fp32($numbers) => $then,
            Buffer::Fp64($numbers) => $then,
            Buffer::Bytes => $strings,
        }
    };
}

impl Buffer {
    pub(super) const fn of(data_type: DataType) -> Self {
        match data_type {
            DataType::Bool => Self::Bool(Vec::new()),
            DataType::Int8 => Self::Int8(Vec::new()),
            DataType::Int16 => Self::Int16(Vec::new()),
            DataType::Int32 => Self::Int32(Vec::new()),
            DataType::Int64 => Self::Int64(Vec::new()),
            DataType::Uint8 => Self::Uint8(Vec::new()),
            DataType::Uint16 => Self::Uint16(Vec::new()),
            DataType::Uint32 => Self::Uint32(Vec::new()),
            DataType::Uint64 => Self::Uint64(Vec::new()),
            DataType::Fp16 => Self::Fp16(Vec::new()),
            DataType::Bf16 => Self::Bf16(Vec::new()),
            DataType::Fp32 => Self::Fp32(Vec::new()),
            DataType::Fp64 => Self::Fp64(Vec::new()),
            DataType::Bytes => Self::Bytes,
        }
    }

    /// Copies the rows in, the one copy of an input of numbers, and shows them to ONNX Runtime where they lie.
    pub(super) fn fill<'a>(&'a mut self, input: &'a Stack<'_>) -> Result<SessionInputValue<'a>, EngineError> {
        let failed = |error: &dyn std::fmt::Display| EngineError::Run(format!("input `{}`: {error}", input.name()));
        for_numbers!(self, numbers => view(numbers, input).map_err(|error| failed(&error)), {
            let strings = input
                .strings()
                .map(|element| {
                    let element = element.map_err(|problem| failed(&problem))?;
                    std::str::from_utf8(element).map(str::to_owned).map_err(|error| failed(&error))
                })
                .collect::<Result<Vec<_>, _>>()?;
            let made = OrtTensor::from_string_array((input.shape(), strings.as_slice()));
            made.map(SessionInputValue::from).map_err(|error| failed(&error))
        })
    }
}

fn view<'a, T: Element>(numbers: &'a mut Vec<T>, input: &'a Stack<'_>) -> ort::Result<SessionInputValue<'a>> {
    numbers.clear();
    numbers.reserve(input.shape().iter().product());
    for piece in input.pieces() {
        T::read(numbers, piece);
    }
    TensorRef::from_array_view((input.shape(), numbers.as_slice())).map(SessionInputValue::from)
}

/// Our tensor of this name and type with the same elements: the one copy of an output, for ONNX Runtime's arena takes the
/// memory back.
pub(super) fn from_ort(name: &str, data_type: DataType, value: &DynValue) -> Result<Tensor, EngineError> {
    let failed = |error: &dyn std::fmt::Display| EngineError::Output(format!("output `{name}`: {error}"));
    let read = match data_type {
        DataType::Bool => numbers::<bool>(value),
        DataType::Int8 => numbers::<i8>(value),
        DataType::Int16 => numbers::<i16>(value),
        DataType::Int32 => numbers::<i32>(value),
        DataType::Int64 => numbers::<i64>(value),
        DataType::Uint8 => numbers::<u8>(value),
        DataType::Uint16 => numbers::<u16>(value),
        DataType::Uint32 => numbers::<u32>(value),
        DataType::Uint64 => numbers::<u64>(value),
        DataType::Fp16 => numbers::<f16>(value),
        DataType::Bf16 => numbers::<bf16>(value),
        DataType::Fp32 => numbers::<f32>(value),
        DataType::Fp64 => numbers::<f64>(value),
        DataType::Bytes => strings(value),
    };
    let (shape, raw) = read.map_err(|error| failed(&error))?;
    let shape = shape
        .iter()
        .map(|&size| usize::try_from(size).map_err(|error| failed(&error)))
        .collect::<Result<Vec<_>, _>>()?;
    copies::out_of_engine(raw.len());
    Tensor::new(name, data_type, shape, Bytes::from(raw)).map_err(|error| EngineError::Output(error.to_string()))
}

fn numbers<T: Element>(value: &DynValue) -> ort::Result<(&[i64], Vec<u8>)> {
    let (shape, values) = value.try_extract_tensor::<T>()?;
    Ok((shape, T::write(values)))
}

fn strings(value: &DynValue) -> ort::Result<(&[i64], Vec<u8>)> {
    let (shape, strings) = value.try_extract_strings()?;
    let raw = join_bytes_elements(strings.iter().map(String::as_bytes)).map_err(ort::Error::wrap)?;
    Ok((shape, raw))
}
