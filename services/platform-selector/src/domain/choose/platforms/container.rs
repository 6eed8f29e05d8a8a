//! A container of one's own: whatever its maker says that it serves.

use super::{Question, Weighed, carried};
use slipway_kernel::spec::Platform;

/// Weighs it.
#[must_use]
pub fn weigh(question: &Question<'_>) -> Weighed {
    let mut weighed = Weighed {
        fit: 1.0,
        effort: 0.4,
        features: 0.5,
        reasons: vec![
            "fit 1.00 × 0.50: whoever made it says that it serves this model".to_owned(),
            "effort 0.40 × 0.30: an image to build and to keep".to_owned(),
            "features 0.50 × 0.20: what comes before and after the model can be in it; batching, queues and the rest are the worker's".to_owned(),
        ],
        ..Weighed::default()
    };
    if question.target == "local" {
        weighed.exclude(
            "target",
            "the local target runs Slipway's own worker only; use spec.infrastructure.target `kubernetes`",
        );
    }
    if question.images.of(Platform::Container, question.spec).is_none() {
        weighed.exclude("image", "the spec names none (spec.serving.container.image)");
    }
    carried(question, &mut weighed);
    if weighed.vetoes.is_empty() && question.model.outputs.is_empty() {
        weighed.exclude(
            "signature",
            "what the model takes and gives is not read from its file, so nothing could be checked before it runs; say it in spec.model.signature",
        );
    }
    weighed
}
