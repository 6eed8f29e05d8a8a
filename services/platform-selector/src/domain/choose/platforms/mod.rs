//! The platforms, one file each: whether it can serve the model on this target, why not, and how well.

pub mod slipway;
pub mod tensorflow_serving;
pub mod torchserve;
pub mod triton;
pub mod vllm;

use super::{Question, Weighed};
use slipway_kernel::spec::Platform;

/// Weighs a platform.
pub type Weigh = fn(&Question<'_>) -> Weighed;

/// Every platform, in the order that breaks ties.
pub const ALL: [(Platform, Weigh); 5] = [
    (Platform::Slipway, slipway::weigh),
    (Platform::Triton, triton::weigh),
    (Platform::TensorflowServing, tensorflow_serving::weigh),
    (Platform::Torchserve, torchserve::weigh),
    (Platform::Vllm, vllm::weigh),
];

/// The name of a platform in facts.
#[must_use]
pub const fn name(platform: Platform) -> &'static str {
    match platform {
        Platform::Auto => "auto",
        Platform::Slipway => "slipway",
        Platform::Triton => "triton",
        Platform::TensorflowServing => "tensorflow-serving",
        Platform::Torchserve => "torchserve",
        Platform::Vllm => "vllm",
    }
}

/// On this machine only Slipway's own worker is a process; the others are containers.
fn needs_containers(question: &Question<'_>, weighed: &mut Weighed) {
    if question.target == "local" {
        weighed.exclude(
            "target",
            "it runs in a container, and the local target runs Slipway's own worker only; use spec.infrastructure.target `kubernetes`",
        );
    }
}
