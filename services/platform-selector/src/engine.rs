//! What the engine of Slipway's own worker can compute, asked of the engine itself.

use crate::domain::choose::Engine;
use std::sync::LazyLock;

/// The domains tract has operators of. Its register holds bare names, so an operator of another domain would be taken for
/// its namesake.
const DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

static TRACT: LazyLock<Engine> = LazyLock::new(|| Engine {
    name: "tract".to_owned(),
    operators: tract_onnx::onnx().op_register.0.keys().cloned().collect(),
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
        for known in ["Gemm", "MatMul", "Conv", "Softmax", "Relu", "TreeEnsembleClassifier", "MultiHeadAttention"] {
            assert!(operators.contains(known), "{known}");
        }
        for missing in ["Scaler", "ZipMap", "LabelEncoder", "Unique", "Loop"] {
            assert!(!operators.contains(missing), "{missing}");
        }
    }
}
