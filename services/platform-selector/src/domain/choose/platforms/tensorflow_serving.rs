//! TensorFlow Serving: SavedModel, with an API of its own.

use super::{Question, Weighed, speaks_otherwise};
use slipway_kernel::ModelFormat;

/// Weighs it.
#[must_use]
pub fn weigh(question: &Question<'_>) -> Weighed {
    let native = question.model.format == ModelFormat::SavedModel;
    let fit = if native { 1.0 } else { 0.0 };
    let mut weighed = Weighed {
        fit,
        effort: 0.4,
        features: 0.5,
        reasons: vec![
            format!("fit {fit:.2} × 0.50: SavedModel is all it runs"),
            "effort 0.40 × 0.30: one image and a versioned folder; its API must be translated".to_owned(),
            "features 0.50 × 0.20: batching and hot versions; no Open Inference Protocol".to_owned(),
        ],
        ..Weighed::default()
    };
    if !native {
        let format = question.model.format;
        weighed.exclude(
            "format",
            format!("it runs SavedModel only, and this is {format}; export with tf.saved_model.save"),
        );
    }
    speaks_otherwise(&mut weighed);
    weighed
}
