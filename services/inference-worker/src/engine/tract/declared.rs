//! The signature that an ONNX file declares.

use std::collections::BTreeSet;

use slipway_proto::oip::DataType;
use tract_onnx::pb::tensor_proto::DataType as OnnxType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::{ModelProto, ValueInfoProto, type_proto};

use crate::engine::EngineError;
use crate::signature::{Signature, TensorSpec};

/// Reads inputs (without those that are constants of the file) and outputs.
pub(super) fn signature(proto: &ModelProto) -> Result<Signature, EngineError> {
    let graph = proto.graph.as_ref().ok_or_else(|| EngineError::Unreadable("there is no graph".to_owned()))?;
    let constants: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs = graph
        .input
        .iter()
        .filter(|input| !constants.contains(input.name.as_str()))
        .map(tensor)
        .collect::<Result<Vec<_>, _>>()?;
    let outputs = graph.output.iter().map(tensor).collect::<Result<Vec<_>, _>>()?;
    if outputs.is_empty() {
        return Err(EngineError::Unreadable("it has no output".to_owned()));
    }
    Ok(Signature::new(inputs, outputs))
}

fn tensor(info: &ValueInfoProto) -> Result<TensorSpec, EngineError> {
    let unsupported =
        |reason: &str| EngineError::UnsupportedType { tensor: info.name.clone(), reason: reason.to_owned() };
    let Some(type_proto::Value::TensorType(declared)) =
        info.r#type.as_ref().and_then(|declared| declared.value.as_ref())
    else {
        return Err(unsupported("it is declared as something else than a tensor"));
    };
    let onnx_type = OnnxType::try_from(declared.elem_type)
        .map_err(|_| unsupported(&format!("element type {}", declared.elem_type)))?;
    let data_type = data_type(onnx_type).ok_or_else(|| unsupported(&format!("element type {onnx_type:?}")))?;
    let shape = declared
        .shape
        .as_ref()
        .ok_or_else(|| unsupported("it declares no shape"))?
        .dim
        .iter()
        .map(|dimension| match dimension.value {
            Some(Dimension::DimValue(size)) if size >= 0 => size,
            _ => -1,
        })
        .collect();
    Ok(TensorSpec { name: info.name.clone(), data_type, shape })
}

const fn data_type(onnx: OnnxType) -> Option<DataType> {
    Some(match onnx {
        OnnxType::Bool => DataType::Bool,
        OnnxType::Int8 => DataType::Int8,
        OnnxType::Int16 => DataType::Int16,
        OnnxType::Int32 => DataType::Int32,
        OnnxType::Int64 => DataType::Int64,
        OnnxType::Uint8 => DataType::Uint8,
        OnnxType::Uint16 => DataType::Uint16,
        OnnxType::Uint32 => DataType::Uint32,
        OnnxType::Uint64 => DataType::Uint64,
        OnnxType::Float16 => DataType::Fp16,
        OnnxType::Float => DataType::Fp32,
        OnnxType::Double => DataType::Fp64,
        OnnxType::String => DataType::Bytes,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tract::fixtures;

    #[test]
    fn names_types_and_free_dimensions_are_read_and_constants_are_no_inputs() {
        let mut proto = fixtures::scale();
        let graph = proto.graph.as_mut().unwrap();
        graph.input.push(fixtures::value("w", OnnxType::Float, &[Some(4)]));
        let signature = signature(&proto).unwrap();
        assert_eq!(signature.inputs.len(), 1);
        assert_eq!(signature.inputs[0].name, "x");
        assert_eq!(signature.inputs[0].data_type, DataType::Fp32);
        assert_eq!(signature.inputs[0].shape, [-1, 4]);
        assert!(signature.batched);
    }

    #[test]
    fn an_output_without_a_tensor_type_is_refused_by_name() {
        let mut proto = fixtures::scale();
        proto.graph.as_mut().unwrap().output[0].r#type = None;
        let error = signature(&proto).unwrap_err().to_string();
        assert!(error.contains("`y`"), "{error}");
    }

    #[test]
    fn a_type_that_slipway_does_not_carry_is_refused_by_name() {
        let mut proto = fixtures::scale();
        proto.graph.as_mut().unwrap().input[0] = fixtures::value("x", OnnxType::Complex64, &[None, Some(4)]);
        let error = signature(&proto).unwrap_err().to_string();
        assert_eq!(error, "`x` is of an unsupported type: element type Complex64");
    }
}
