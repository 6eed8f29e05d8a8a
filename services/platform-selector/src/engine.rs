//! What the engine of Slipway's own worker can compute, asked of the engine itself.

use crate::domain::choose::Engine;
use std::sync::LazyLock;

/// The domains tract has operators of. Its register holds bare names, so an operator of another domain would be taken for
/// its namesake.
const DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

/// Operators of `ai.onnx.ml` that the worker brings itself, where tract has none (`engine/tract/ml` of the worker).
const OF_THE_WORKER: [&str; 9] = [
    "Binarizer",
    "FeatureVectorizer",
    "Imputer",
    "LabelEncoder",
    "OneHotEncoder",
    "Scaler",
    "TreeEnsemble",
    "TreeEnsembleRegressor",
    "ZipMap",
];

static TRACT: LazyLock<Engine> = LazyLock::new(|| Engine {
    name: "tract".to_owned(),
    operators: tract_onnx::onnx().op_register.0.into_keys().chain(OF_THE_WORKER.map(str::to_owned)).collect(),
    domains: DOMAINS.map(str::to_owned).into(),
});

/// The engine of Slipway's own worker.
#[must_use]
pub fn own_engine() -> &'static Engine {
    &TRACT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_register_knows_the_common_operators_and_lacks_what_it_is_known_to_lack() {
        let operators = &own_engine().operators;
        for known in
            ["Gemm", "MatMul", "Conv", "Softmax", "Relu", "TreeEnsembleClassifier", "Scaler", "MultiHeadAttention"]
        {
            assert!(operators.contains(known), "{known}");
        }
        for missing in ["SVMClassifier", "Unique", "Loop"] {
            assert!(!operators.contains(missing), "{missing}");
        }
    }
}
