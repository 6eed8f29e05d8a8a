//! Operators of the domain `ai.onnx.ml` of our own: what tract lacks, computes wrongly or computes slowly.
//!
//! scikit-learn, XGBoost and LightGBM export to these. Results are those of ONNX Runtime, against which the tests compare.
//! Attributes come from foreign files: each is checked when the file is read, and the complaint names it.

mod array_feature_extractor;
mod attributes;
mod binarizer;
mod feature_vectorizer;
mod imputer;
mod label_encoder;
mod linear_classifier;
mod linear_regressor;
mod normalizer;
mod one_hot_encoder;
mod operator;
mod post_transform;
mod scaler;
mod trees;
mod zip_map;

#[cfg(test)]
mod tests;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;

pub(super) use zip_map::declare;

use operator::Built;
use trees::{tree_ensemble, tree_ensemble_classifier, tree_ensemble_regressor};

/// The domain of these operators.
pub(super) const DOMAIN: &str = "ai.onnx.ml";

/// Those of the domain for which tract's own are right.
const OF_TRACT: [&str; 1] = ["CategoryMapper"];

type Parse = fn(&ParsingContext, &NodeProto) -> Built;

const OURS: [(&str, Parse); 14] = [
    (array_feature_extractor::NAME, array_feature_extractor::parse),
    (binarizer::NAME, binarizer::parse),
    (feature_vectorizer::NAME, feature_vectorizer::parse),
    (imputer::NAME, imputer::parse),
    (label_encoder::NAME, label_encoder::parse),
    (linear_classifier::NAME, linear_classifier::parse),
    (linear_regressor::NAME, linear_regressor::parse),
    (normalizer::NAME, normalizer::parse),
    (one_hot_encoder::NAME, one_hot_encoder::parse),
    (scaler::NAME, scaler::parse),
    (tree_ensemble::NAME, tree_ensemble::parse),
    (tree_ensemble_classifier::NAME, tree_ensemble_classifier::parse),
    (tree_ensemble_regressor::NAME, tree_ensemble_regressor::parse),
    (zip_map::NAME, zip_map::parse),
];

/// tract's reader of ONNX files, with these operators for its own.
pub(super) fn onnx() -> Onnx {
    let mut onnx = tract_onnx::onnx();
    for (name, parse) in OURS {
        onnx.op_register.insert(name, parse);
    }
    onnx
}

/// Whether the name is that of an operator of [`DOMAIN`] that can be computed.
pub(super) fn has(name: &str) -> bool {
    OF_TRACT.contains(&name) || OURS.iter().any(|(ours, _)| *ours == name)
}
