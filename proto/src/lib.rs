//! The wire format of Slipway: every `.proto` file of this folder, as generated types and as descriptors.
//!
//! - [`inference`]: the Open Inference Protocol v2 over gRPC, compatible with public clients.
//! - [`slipway`]: what Slipway itself puts on the wire.
//! - [`io`]: the protobuf format of CloudEvents.
//! - [`json`]: protobuf bytes to JSON and back, for any message, by reflection over [`DESCRIPTORS`].
//! - [`oip`]: tensors, their types, and the exact checks between bytes, typed contents and shapes.
//! - [`codec`]: what the gRPC services read with; a bound on what a message may become in memory.
//! - [`custom_resource`]: the document as a custom resource of Kubernetes.
//! - [`failure`]: the one vocabulary in which HTTP, gRPC and the queues say what went wrong.
//!
//! Nothing here does I/O, and nothing here knows what a deployment is allowed to do.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

use std::sync::LazyLock;

use prost::Message as _;
use prost_reflect::DescriptorPool;
pub use prost_types::FileDescriptorSet;

pub mod codec;
pub mod custom_resource;
pub mod failure;
pub mod json;
pub mod lifecycle;
pub mod oip;

#[allow(missing_docs, unreachable_pub, rustdoc::all, clippy::all, clippy::pedantic, reason = "generated")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/packages.rs"));
}
pub use generated::{inference, io, slipway};

/// The encoded `FileDescriptorSet` of every `.proto` file here and of what they import.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The files of the public protocol alone, for who describes a public door: what Slipway says to itself is nobody else's.
#[must_use]
pub fn public_descriptors() -> FileDescriptorSet {
    let mut set = FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap_or_default();
    set.file.retain(|file| file.package() == PUBLIC_PACKAGE);
    set
}

/// The package of the Open Inference Protocol.
const PUBLIC_PACKAGE: &str = "inference";

/// The descriptors of every message, for reflection.
#[expect(clippy::expect_used, reason = "the bytes are made by this crate's own build; a test decodes them")]
pub static DESCRIPTORS: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTOR_SET).expect("embedded descriptors decode"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_descriptors_hold_every_package() {
        for name in [
            "inference.ModelInferRequest",
            "slipway.inference.v1.InferenceRequest",
            "slipway.inference.v1.InferenceResult",
            "io.cloudevents.v1.CloudEvent",
            "google.protobuf.Timestamp",
        ] {
            assert!(DESCRIPTORS.get_message_by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn the_public_descriptors_hold_the_public_protocol_whole_and_nothing_of_ours() {
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_set(public_descriptors()).unwrap();
        assert!(pool.get_service_by_name("inference.GRPCInferenceService").is_some());
        assert!(pool.files().all(|file| file.package_name() == "inference"));
        assert!(pool.services().len() == 1 && pool.files().len() == 4);
    }

    /// The public protocol's numbers. A client that was never told of Slipway depends on each of them.
    #[test]
    fn field_numbers_are_those_of_the_public_protocols() {
        let expected = [
            (
                "inference.ModelInferRequest",
                "model_name=1 model_version=2 id=3 parameters=4 inputs=5 outputs=6 raw_input_contents=7",
            ),
            ("inference.ModelInferRequest.InferInputTensor", "name=1 datatype=2 shape=3 parameters=4 contents=5"),
            ("inference.ModelInferRequest.InferRequestedOutputTensor", "name=1 parameters=2"),
            (
                "inference.ModelInferResponse",
                "model_name=1 model_version=2 id=3 parameters=4 outputs=5 raw_output_contents=6",
            ),
            ("inference.ModelInferResponse.InferOutputTensor", "name=1 datatype=2 shape=3 parameters=4 contents=5"),
            ("inference.InferParameter", "bool_param=1 int64_param=2 string_param=3 double_param=4 uint64_param=5"),
            (
                "inference.InferTensorContents",
                "bool_contents=1 int_contents=2 int64_contents=3 uint_contents=4 uint64_contents=5 \
                 fp32_contents=6 fp64_contents=7 bytes_contents=8",
            ),
            ("inference.ServerMetadataResponse", "name=1 version=2 extensions=3"),
            ("inference.ModelMetadataResponse", "name=1 versions=2 platform=3 inputs=4 outputs=5"),
            ("inference.ModelMetadataResponse.TensorMetadata", "name=1 datatype=2 shape=3"),
            ("inference.ModelStreamInferResponse", "error_message=1 infer_response=2"),
            ("inference.StatisticDuration", "count=1 ns=2"),
            (
                "inference.InferStatistics",
                "success=1 fail=2 queue=3 compute_input=4 compute_infer=5 compute_output=6 cache_hit=7 cache_miss=8",
            ),
            ("inference.InferBatchStatistics", "batch_size=1 compute_input=2 compute_infer=3 compute_output=4"),
            (
                "inference.ModelStatistics",
                "name=1 version=2 last_inference=3 inference_count=4 execution_count=5 inference_stats=6 batch_stats=7",
            ),
            ("inference.ModelStatisticsResponse", "model_stats=1"),
            ("inference.RepositoryIndexRequest", "repository_name=1 ready=2"),
            ("inference.RepositoryIndexResponse.ModelIndex", "name=1 version=2 state=3 reason=4"),
            ("inference.ModelConfigResponse", "config=1"),
            (
                "inference.ModelConfig",
                "name=1 platform=2 max_batch_size=4 input=5 output=6 instance_group=7 dynamic_batching=11 backend=17 \
                 model_transaction_policy=19",
            ),
            ("inference.ModelInput", "name=1 data_type=2 dims=4"),
            ("inference.ModelOutput", "name=1 data_type=2 dims=3"),
            ("inference.ModelInstanceGroup", "name=1 count=2 kind=4"),
            ("inference.ModelDynamicBatching", "preferred_batch_size=1 max_queue_delay_microseconds=2"),
            (
                "io.cloudevents.v1.CloudEvent",
                "id=1 source=2 spec_version=3 type=4 attributes=5 binary_data=6 text_data=7 proto_data=8",
            ),
            (
                "io.cloudevents.v1.CloudEvent.CloudEventAttributeValue",
                "ce_boolean=1 ce_integer=2 ce_string=3 ce_bytes=4 ce_uri=5 ce_uri_ref=6 ce_timestamp=7",
            ),
        ];
        for (message, fields) in expected {
            let descriptor = DESCRIPTORS.get_message_by_name(message).expect(message);
            let mut found: Vec<_> = descriptor.fields().collect();
            found.sort_by_key(prost_reflect::FieldDescriptor::number);
            let found: Vec<_> = found.iter().map(|field| format!("{}={}", field.name(), field.number())).collect();
            assert_eq!(found.join(" "), fields, "{message}");
        }
    }
}
