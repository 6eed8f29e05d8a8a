//! The platforms, one file each: whether it can serve the model on this target, why not, and how well.

pub mod container;
pub mod slipway;
pub mod tensorflow_serving;
pub mod torchserve;
pub mod triton;
pub mod vllm;

use super::{Question, Weighed};
use slipway_kernel::{ModelFormat, spec::Platform};

/// Weighs a platform.
pub type Weigh = fn(&Question<'_>) -> Weighed;

/// Every platform, in the order that breaks ties.
pub const ALL: [(Platform, Weigh); 6] = [
    (Platform::Slipway, slipway::weigh),
    (Platform::Triton, triton::weigh),
    (Platform::TensorflowServing, tensorflow_serving::weigh),
    (Platform::Torchserve, torchserve::weigh),
    (Platform::Vllm, vllm::weigh),
    (Platform::Container, container::weigh),
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
        Platform::Container => "container",
    }
}

/// The platform of that name.
#[must_use]
pub fn of_name(text: &str) -> Option<Platform> {
    ALL.into_iter().map(|(platform, _)| platform).find(|platform| name(*platform) == text)
}

/// On this machine only Slipway's own worker is a process; the others are containers beside it, of images that somebody has to name.
fn needs_an_image(platform: Platform, question: &Question<'_>, weighed: &mut Weighed) {
    if question.target == "local" {
        weighed.exclude(
            "target",
            "it runs in a container, and the local target runs Slipway's own worker only; use spec.infrastructure.target `kubernetes`",
        );
    } else if question.images.of(platform, question.spec).is_none() {
        let key = format!("platforms.{}.image", name(platform).replace('-', "_"));
        weighed.exclude("image", format!("this installation names no image of it ({key} of the platform-selector)"));
    }
}

/// Most inputs and outputs named in one reason.
const NAMED: usize = 12;

/// What a model takes and gives must be tensors of known type and rank, whoever computes them.
fn carried(question: &Question<'_>, weighed: &mut Weighed) {
    let untyped = &question.model.cautions.untyped;
    if untyped.is_empty() {
        return;
    }
    let more = untyped.len().saturating_sub(NAMED);
    let named: Vec<String> = untyped[..untyped.len() - more].iter().map(ToString::to_string).collect();
    let named = named.join(", ");
    let advice = match question.model.format {
        ModelFormat::Onnx => "export with options={'zipmap': False} or declare types and shapes",
        ModelFormat::SavedModel => {
            "save it with a signature of dense tensors that declares types and shapes (tf.TensorSpec), or say shapes in spec.model.signature"
        }
        _ => "say them in spec.model.signature, or export it to ONNX, which keeps them",
    };
    weighed.exclude(
        "tensors",
        format!("the Open Inference Protocol carries tensors of known type and rank: {named}; {advice}"),
    );
}

/// A worker talks to the server beside it over the Open Inference Protocol.
fn speaks_otherwise(weighed: &mut Weighed) {
    weighed.exclude(
        "protocol",
        "a worker asks the model server beside it over the Open Inference Protocol, which this one does not speak as it is installed",
    );
}
