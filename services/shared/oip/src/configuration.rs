//! How a model is served, as message and document.

use crate::signature::{Signature, TensorSpec};
use serde_json::{Value, json};
use slipway_proto::{
    inference::{
        self, ModelConfig, ModelConfigResponse, ModelDynamicBatching, ModelInput, ModelInstanceGroup, ModelOutput,
        ModelTransactionPolicy, model_instance_group::Kind,
    },
    oip::DataType,
};

/// How requests share runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// Most rows in a run.
    pub max_rows: usize,
    /// How long the first request waits for others, in microseconds.
    pub max_delay_us: u64,
}

/// How a model of this name, platform and signature is served by so many threads; `sharing` where requests share runs.
#[must_use]
pub fn message(
    name: &str,
    platform: &str,
    signature: &Signature,
    threads: usize,
    sharing: Option<Sharing>,
) -> ModelConfig {
    // With a batch, the first dimension is it and is not told again.
    let dims = |spec: &TensorSpec| spec.shape.iter().skip(usize::from(sharing.is_some())).copied().collect();
    let number = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
    let input = |spec: &TensorSpec| ModelInput {
        name: spec.name.clone(),
        data_type: data_type(spec.data_type).into(),
        dims: dims(spec),
    };
    let output = |spec: &TensorSpec| ModelOutput {
        name: spec.name.clone(),
        data_type: data_type(spec.data_type).into(),
        dims: dims(spec),
    };
    ModelConfig {
        name: name.to_owned(),
        platform: platform.to_owned(),
        max_batch_size: number(sharing.map_or(0, |sharing| sharing.max_rows)),
        input: signature.inputs.iter().map(input).collect(),
        output: signature.outputs.iter().map(output).collect(),
        instance_group: vec![ModelInstanceGroup {
            name: name.to_owned(),
            count: number(threads),
            kind: Kind::Cpu.into(),
        }],
        dynamic_batching: sharing.map(|sharing| ModelDynamicBatching {
            preferred_batch_size: vec![number(sharing.max_rows)],
            max_queue_delay_microseconds: sharing.max_delay_us,
        }),
        // `onnx_tract` is a format on an engine.
        backend: platform.split_once('_').map_or(platform, |(_, engine)| engine).to_owned(),
        model_transaction_policy: Some(ModelTransactionPolicy { decoupled: false }),
    }
}

/// The same as a document.
#[must_use]
pub fn document(response: &ModelConfigResponse) -> Value {
    let config = response.config.clone().unwrap_or_default();
    let tensor = |name: &str, data_type: i32, dims: &[i64]| {
        let data_type = inference::DataType::try_from(data_type).unwrap_or(inference::DataType::TypeInvalid);
        json!({ "name": name, "data_type": data_type.as_str_name(), "dims": dims })
    };
    let inputs: Vec<Value> = config.input.iter().map(|port| tensor(&port.name, port.data_type, &port.dims)).collect();
    let outputs: Vec<Value> = config.output.iter().map(|port| tensor(&port.name, port.data_type, &port.dims)).collect();
    let group = |group: &ModelInstanceGroup| json!({ "name": group.name, "kind": Kind::try_from(group.kind).unwrap_or_default().as_str_name(), "count": group.count });
    let groups: Vec<Value> = config.instance_group.iter().map(group).collect();
    let policy = config.model_transaction_policy.unwrap_or_default();
    let mut document = json!({
        "name": config.name,
        "platform": config.platform,
        "backend": config.backend,
        "max_batch_size": config.max_batch_size,
        "input": inputs,
        "output": outputs,
        "instance_group": groups,
        "model_transaction_policy": { "decoupled": policy.decoupled },
    });
    if let (Some(batching), Some(fields)) = (config.dynamic_batching, document.as_object_mut()) {
        let batching = json!({
            "preferred_batch_size": batching.preferred_batch_size,
            "max_queue_delay_microseconds": batching.max_queue_delay_microseconds,
        });
        fields.insert("dynamic_batching".to_owned(), batching);
    }
    document
}

const fn data_type(data_type: DataType) -> inference::DataType {
    match data_type {
        DataType::Bool => inference::DataType::TypeBool,
        DataType::Uint8 => inference::DataType::TypeUint8,
        DataType::Uint16 => inference::DataType::TypeUint16,
        DataType::Uint32 => inference::DataType::TypeUint32,
        DataType::Uint64 => inference::DataType::TypeUint64,
        DataType::Int8 => inference::DataType::TypeInt8,
        DataType::Int16 => inference::DataType::TypeInt16,
        DataType::Int32 => inference::DataType::TypeInt32,
        DataType::Int64 => inference::DataType::TypeInt64,
        DataType::Fp16 => inference::DataType::TypeFp16,
        DataType::Bf16 => inference::DataType::TypeBf16,
        DataType::Fp32 => inference::DataType::TypeFp32,
        DataType::Fp64 => inference::DataType::TypeFp64,
        DataType::Bytes => inference::DataType::TypeString,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::tests::signature;

    #[test]
    fn the_batch_is_told_once_where_there_is_one_and_stays_a_dimension_where_there_is_none() {
        let signature = signature(&[("x", DataType::Fp32, &[-1, 4])], &[("y", DataType::Bytes, &[-1])]);
        let sharing = Sharing { max_rows: 8, max_delay_us: 2_000 };
        let config = message("digits", "onnx_tract", &signature, 2, Some(sharing));
        let document = document(&ModelConfigResponse { config: Some(config) });
        assert_eq!(
            document,
            json!({
                "name": "digits", "platform": "onnx_tract", "backend": "tract", "max_batch_size": 8,
                "input": [{ "name": "x", "data_type": "TYPE_FP32", "dims": [4] }],
                "output": [{ "name": "y", "data_type": "TYPE_STRING", "dims": [] }],
                "instance_group": [{ "name": "digits", "kind": "KIND_CPU", "count": 2 }],
                "model_transaction_policy": { "decoupled": false },
                "dynamic_batching": { "preferred_batch_size": [8], "max_queue_delay_microseconds": 2000 }
            })
        );
        let alone = message("digits", "onnx_tract", &signature, 2, None);
        assert_eq!((alone.max_batch_size, &alone.input[0].dims[..], alone.dynamic_batching), (0, &[-1, 4][..], None));
    }
}
