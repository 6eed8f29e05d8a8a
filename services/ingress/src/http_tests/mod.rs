//! The door over real sockets, with workers behind real mTLS. The broker is a double, but in `mesh`, where it is real too.

mod access;
mod admission;
mod answers;
mod authority;
mod client;
mod extensions;
mod framing;
mod grpc;
mod hedging;
mod inference;
mod issuers;
mod later;
pub(crate) mod mailbox;
mod mesh;
mod over_nats;
mod recording;
mod resilience;
mod routing;
mod streams;
mod tools;
mod websocket;
mod worker;
mod world;

/// The facts of a model with these inputs and outputs.
pub(crate) fn facts(inputs: &[(&str, &str, &[i32])], outputs: &[(&str, &str, &[i32])]) -> slipway_kernel::ModelFacts {
    let specs = |list: &[(&str, &str, &[i32])]| {
        let spec = |(name, datatype, shape): &(&str, &str, &[i32])| slipway_kernel::TensorSpec {
            name: (*name).to_owned(),
            datatype: (*datatype).to_owned(),
            shape: shape.to_vec(),
        };
        list.iter().map(spec).collect()
    };
    slipway_kernel::ModelFacts {
        digest: slipway_kernel::Digest::of(b"model"),
        size_bytes: 5,
        format: slipway_kernel::ModelFormat::Onnx,
        inputs: specs(inputs),
        outputs: specs(outputs),
        operators: Vec::new(),
        parameters: 0,
        memory_estimate_bytes: 0,
        opset: 0,
        producer: String::new(),
    }
}
