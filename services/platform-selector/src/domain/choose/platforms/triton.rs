//! NVIDIA Triton Inference Server: nearly every format, best with GPUs.

use super::{Question, Weighed, carried, needs_an_image};
use slipway_kernel::{ModelFormat, spec::Platform};

/// Weighs it.
#[must_use]
pub fn weigh(question: &Question<'_>) -> Weighed {
    let has_gpu = !question.machine.gpus.is_empty();
    let (fit, why) = match question.model.format {
        ModelFormat::TensorrtPlan => (1.0, "TensorRT engines are native to it"),
        ModelFormat::Onnx => (0.9, "ONNX runs on its ONNX Runtime backend"),
        ModelFormat::Torchscript => (0.8, "TorchScript runs on its PyTorch backend"),
        ModelFormat::SavedModel => (0.6, "SavedModel runs on its TensorFlow backend, which newer releases leave out"),
        ModelFormat::Safetensors | ModelFormat::Gguf => (0.0, "weights without a graph are nothing it runs"),
        ModelFormat::Other => (0.0, "nothing is known of it"),
    };
    let mut weighed = Weighed {
        fit,
        effort: 0.3,
        features: if has_gpu { 1.0 } else { 0.8 },
        reasons: vec![
            format!("fit {fit:.2} × 0.50: {why}"),
            "effort 0.30 × 0.30: an image of many gigabytes and a model repository to lay out".to_owned(),
            format!(
                "features {} × 0.20: Open Inference Protocol, dynamic batching, several models on one GPU",
                if has_gpu { "1.00" } else { "0.80" }
            ),
        ],
        ..Weighed::default()
    };
    match question.model.format {
        ModelFormat::Safetensors | ModelFormat::Gguf => {
            weighed.exclude("format", "these are weights without a graph; export the model to ONNX");
        }
        ModelFormat::TensorrtPlan if !has_gpu => {
            weighed.exclude(
                "gpu",
                "a TensorRT engine runs on a GPU, and the target has none; deploy the ONNX file it was built from",
            );
        }
        ModelFormat::Other => {
            weighed.exclude("format", "it is asked for as `other`, which a container of one's own alone can know");
        }
        ModelFormat::Onnx | ModelFormat::SavedModel => carried(question, &mut weighed),
        ModelFormat::Torchscript | ModelFormat::TensorrtPlan => {
            carried(question, &mut weighed);
            unsaid(question, &mut weighed);
        }
    }
    needs_an_image(Platform::Triton, question, &mut weighed);
    weighed
}

/// Of these formats Slipway reads no output, and checks nothing before it runs unless the document says what there is.
fn unsaid(question: &Question<'_>, weighed: &mut Weighed) {
    let model = question.model;
    if model.outputs.is_empty() {
        let format = model.format;
        weighed.exclude(
            "signature",
            format!(
                "what the model gives is not read from {format}, so nothing could be checked before it runs; say it in spec.model.signature"
            ),
        );
        return;
    }
    if model.format != ModelFormat::Torchscript {
        return;
    }
    // Triton has to be told what it is, in its own words.
    if model.inputs.iter().chain(&model.outputs).any(|tensor| tensor.shape.is_empty()) {
        weighed.exclude("signature", "it wants every tensor of TorchScript to have a dimension: give it one of size 1");
    }
    let is_number = |n: &str| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit());
    let is_numbered = |name: &str| name.rsplit_once("__").is_some_and(|(_, n)| is_number(n));
    if !model.outputs.iter().all(|output| is_numbered(&output.name)) {
        weighed.exclude(
            "signature",
            "its PyTorch backend tells outputs apart by their numbers: call them `NAME__0`, `NAME__1`… in spec.model.signature",
        );
    }
}
