//! TorchServe: TorchScript; its project was archived in 2025.

use super::{Question, Weighed, speaks_otherwise};
use slipway_kernel::ModelFormat;

/// Weighs it.
#[must_use]
pub fn weigh(question: &Question<'_>) -> Weighed {
    let native = question.model.format == ModelFormat::Torchscript;
    let fit = if native { 0.8 } else { 0.0 };
    let mut weighed = Weighed {
        fit,
        effort: 0.2,
        features: 0.4,
        reasons: vec![
            format!("fit {fit:.2} × 0.50: TorchScript is native to it, in an archive with a handler"),
            "effort 0.20 × 0.30: the model must be packed with torch-model-archiver, and the project is no longer maintained".to_owned(),
            "features 0.40 × 0.20: batching; Open Inference Protocol by an option".to_owned(),
        ],
        ..Weighed::default()
    };
    if !native {
        let format = question.model.format;
        weighed.exclude(
            "format",
            format!("it runs TorchScript only, and this is {format}; save with torch.jit.script or torch.jit.trace"),
        );
    }
    speaks_otherwise(&mut weighed);
    weighed
}
