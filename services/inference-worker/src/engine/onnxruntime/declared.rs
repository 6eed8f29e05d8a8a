//! The signature as a session tells it.

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};
use slipway_proto::oip::DataType;

use crate::engine::EngineError;
use crate::signature::{Signature, TensorSpec};

/// Inputs and outputs of a session; constants of the file are no inputs.
pub(super) fn signature(session: &Session) -> Result<Signature, EngineError> {
    let specs = |outlets: &[Outlet]| outlets.iter().map(spec).collect::<Result<Vec<_>, _>>();
    Ok(Signature::new(specs(session.inputs())?, specs(session.outputs())?))
}

fn spec(outlet: &Outlet) -> Result<TensorSpec, EngineError> {
    let unsupported = |reason: String| EngineError::UnsupportedType { tensor: outlet.name().to_owned(), reason };
    match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => Ok(TensorSpec {
            name: outlet.name().to_owned(),
            data_type: data_type(*ty).ok_or_else(|| unsupported(format!("element type {ty}")))?,
            shape: shape.iter().map(|&size| size.max(-1)).collect(),
        }),
        ValueType::Sequence(inner) if inner.is_map() => Err(unsupported(
            "it is a list of dictionaries, one for each row; export the model with zipmap=False to get a tensor"
                .to_owned(),
        )),
        other => Err(unsupported(format!("it is no tensor but {other}"))),
    }
}

const fn data_type(onnx: TensorElementType) -> Option<DataType> {
    Some(match onnx {
        TensorElementType::Bool => DataType::Bool,
        TensorElementType::Int8 => DataType::Int8,
        TensorElementType::Int16 => DataType::Int16,
        TensorElementType::Int32 => DataType::Int32,
        TensorElementType::Int64 => DataType::Int64,
        TensorElementType::Uint8 => DataType::Uint8,
        TensorElementType::Uint16 => DataType::Uint16,
        TensorElementType::Uint32 => DataType::Uint32,
        TensorElementType::Uint64 => DataType::Uint64,
        TensorElementType::Float16 => DataType::Fp16,
        TensorElementType::Bfloat16 => DataType::Bf16,
        TensorElementType::Float32 => DataType::Fp32,
        TensorElementType::Float64 => DataType::Fp64,
        TensorElementType::String => DataType::Bytes,
        _ => return None,
    })
}
