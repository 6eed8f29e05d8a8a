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
        ModelFormat::TensorrtPlan => weighed.exclude(
            "signature",
            "what a TensorRT engine takes and gives is known to TensorRT alone, so nothing could be checked before it runs; deploy the ONNX file it was built from",
        ),
        // Of TorchScript, these are the types that the file does not keep.
        ModelFormat::Onnx | ModelFormat::SavedModel | ModelFormat::Torchscript => carried(question, &mut weighed),
    }
    needs_an_image(Platform::Triton, question, &mut weighed);
    weighed
}
