//! vLLM: large language models, from a folder of weights, configuration and tokenizer.

use super::{Question, Weighed, speaks_otherwise};
use slipway_kernel::ModelFormat;

/// Weighs it.
#[must_use]
pub fn weigh(question: &Question<'_>) -> Weighed {
    let (fit, why) = match question.model.format {
        ModelFormat::Safetensors => (
            0.7,
            "safetensors of a language model are native to it, together with config.json and a tokenizer".to_owned(),
        ),
        ModelFormat::Gguf => {
            let architecture = &question.model.architecture;
            let which = if architecture.is_empty() { String::new() } else { format!(" ({architecture})") };
            (0.5, format!("it reads GGUF{which}, slower than safetensors, together with a tokenizer"))
        }
        format => (0.0, format!("language models are all it runs, and this is {format}")),
    };
    let mut weighed = Weighed {
        fit,
        effort: 0.3,
        features: 0.8,
        reasons: vec![
            format!("fit {fit:.2} × 0.50: {why}"),
            "effort 0.30 × 0.30: a large image, GPUs to feed it".to_owned(),
            "features 0.80 × 0.20: continuous batching and paged attention; an API for text only".to_owned(),
        ],
        ..Weighed::default()
    };
    match question.model.format {
        ModelFormat::Safetensors | ModelFormat::Gguf => weighed.exclude(
            "artifact",
            "it needs a folder with config.json and a tokenizer, and an artifact is one file in this version; export the model to ONNX",
        ),
        format => weighed.exclude("format", format!("it runs language models in safetensors or GGUF, and this is {format}")),
    }
    if question.machine.gpus.is_empty() {
        weighed.exclude("gpu", "it is of use on GPUs only, and the target has none");
    }
    speaks_otherwise(&mut weighed);
    weighed
}
