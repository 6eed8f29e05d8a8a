//! vLLM: large language models, from a folder of weights, configuration and tokenizer.

use super::{Question, Weighed, speaks_otherwise};
use slipway_kernel::ModelFormat;

/// Weighs it.
#[must_use]
pub fn weigh(question: &Question<'_>) -> Weighed {
    let native = question.model.format == ModelFormat::Safetensors;
    let fit = if native { 0.7 } else { 0.0 };
    let mut weighed = Weighed {
        fit,
        effort: 0.3,
        features: 0.8,
        reasons: vec![
            format!(
                "fit {fit:.2} × 0.50: safetensors of a language model are native to it, together with config.json and a tokenizer"
            ),
            "effort 0.30 × 0.30: a large image, GPUs to feed it".to_owned(),
            "features 0.80 × 0.20: continuous batching and paged attention; an API for text only".to_owned(),
        ],
        ..Weighed::default()
    };
    if native {
        weighed.exclude(
            "artifact",
            "it needs a folder with config.json and a tokenizer, and an artifact is one file in this version; export the model to ONNX",
        );
    } else {
        let format = question.model.format;
        weighed.exclude("format", format!("it runs language models in safetensors, and this is {format}"));
    }
    if question.machine.gpus.is_empty() {
        weighed.exclude("gpu", "it is of use on GPUs only, and the target has none");
    }
    speaks_otherwise(&mut weighed);
    weighed
}
