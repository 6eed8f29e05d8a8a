//! What the engines of Slipway's own worker can compute. tract is asked itself; ONNX Runtime, a library that need not be here, was asked once
//! (`operators.py`).

use crate::domain::{artifact::Pattern, choose::Engine};
use std::sync::LazyLock;

/// The domains tract has operators of. Its register holds bare names, so an operator of another domain would be taken for
/// its namesake.
const DOMAINS: [&str; 4] = ["", "ai.onnx.", "ai.onnx.ml.", "com.microsoft."];

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

/// What ONNX Runtime has. A newer library may have more; a model that uses it is refused until the list is written anew.
const ONNXRUNTIME: &str = include_str!("onnxruntime.txt");

static ENGINES: LazyLock<[Engine; 2]> = LazyLock::new(|| [onnxruntime(), tract()]);

/// Every engine that a worker may have, in the order in which it tries them.
#[must_use]
pub fn own_engines() -> &'static [Engine] {
    &*ENGINES
}

fn onnxruntime() -> Engine {
    let operators = ONNXRUNTIME.lines().filter(|line| !line.starts_with('#'));
    // The default domain has two names.
    let named = |name: &str| [Some(name.to_owned()), (!name.contains('.')).then(|| format!("ai.onnx.{name}"))];
    Engine {
        name: "onnxruntime".to_owned(),
        built_in: false,
        operators: operators.flat_map(named).flatten().collect(),
        wrong: [].into(),
    }
}

fn tract() -> Engine {
    let operators = tract_onnx::onnx().op_register.0.into_keys().chain(OF_THE_WORKER.map(str::to_owned));
    Engine {
        name: "tract".to_owned(),
        built_in: true,
        operators: operators.flat_map(|name| DOMAINS.map(|domain| format!("{domain}{name}"))).collect(),
        wrong: [Pattern::QuantizedSoftmax].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(name: &str) -> &'static Engine {
        own_engines().iter().find(|engine| engine.name == name).unwrap()
    }

    #[test]
    fn tract_knows_the_common_operators_and_lacks_what_it_is_known_to_lack() {
        let operators = &engine("tract").operators;
        for known in [
            "Gemm",
            "ai.onnx.MatMul",
            "Conv",
            "Softmax",
            "ai.onnx.ml.TreeEnsembleClassifier",
            "ai.onnx.ml.Scaler",
            "ai.onnx.ml.ZipMap",
            "com.microsoft.MultiHeadAttention",
        ] {
            assert!(operators.contains(known), "{known}");
        }
        for missing in ["ai.onnx.ml.SVMClassifier", "Unique", "Loop", "example.Gemm"] {
            assert!(!operators.contains(missing), "{missing}");
        }
    }

    #[test]
    fn onnx_runtime_knows_nearly_all_and_lacks_what_is_no_tensor_or_nobodys() {
        let operators = &engine("onnxruntime").operators;
        for known in [
            "Gemm",
            "ai.onnx.Gemm",
            "Constant",
            "Unique",
            "Loop",
            "HardSwish",
            "ai.onnx.ml.SVMClassifier",
            "com.microsoft.FusedMatMul",
        ] {
            assert!(operators.contains(known), "{known}");
        }
        for missing in ["ai.onnx.ml.ZipMap", "ai.onnx.ai.onnx.ml.Scaler", "example.Gemm", ""] {
            assert!(!operators.contains(missing), "{missing}");
        }
    }
}
