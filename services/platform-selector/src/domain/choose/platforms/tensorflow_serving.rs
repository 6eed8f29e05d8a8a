//! TensorFlow Serving: SavedModel, with an API of its own that the worker beside it speaks.

use super::{Question, Weighed, carried, needs_an_image};
use slipway_kernel::{ModelFormat, spec::Platform};

/// Weighs it.
#[must_use]
pub fn weigh(question: &Question<'_>) -> Weighed {
    let native = question.model.format == ModelFormat::SavedModel;
    let fit = if native { 1.0 } else { 0.0 };
    let mut weighed = Weighed {
        fit,
        effort: 0.4,
        features: 0.4,
        reasons: vec![
            format!("fit {fit:.2} × 0.50: SavedModel is all it runs"),
            "effort 0.40 × 0.30: one image and a folder of versions".to_owned(),
            "features 0.40 × 0.20: the whole of TensorFlow; one model, and batches as the worker makes them".to_owned(),
        ],
        ..Weighed::default()
    };
    if native {
        carried(question, &mut weighed);
    } else {
        let format = question.model.format;
        weighed.exclude(
            "format",
            format!("it runs SavedModel only, and this is {format}; export with tf.saved_model.save"),
        );
    }
    needs_an_image(Platform::TensorflowServing, question, &mut weighed);
    weighed
}
