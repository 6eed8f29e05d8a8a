//! Which operators a file uses, and whether tract can be trusted with them.
//!
//! A wrong answer without an error is the worst that an engine can do, so what is known to come out wrong is refused like
//! what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

use crate::engine::EngineError;

/// The operators that tract has. Its register knows names only, no domains.
static KNOWN: LazyLock<BTreeSet<String>> = LazyLock::new(|| tract_onnx::onnx().op_register.0.keys().cloned().collect());

/// Refuses a file that keeps data elsewhere, or whose operators tract lacks or computes wrongly.
pub(super) fn check(proto: &ModelProto) -> Result<(), EngineError> {
    let mut census = Census::default();
    if let Some(graph) = &proto.graph {
        census.graph(graph);
    }
    // A function defined in the file is called by a node of its name, which tract does not have either.
    if let Some(tensor) = census.external {
        return Err(EngineError::ExternalData(tensor));
    }
    let missing: Vec<String> = census
        .operators
        .iter()
        .filter(|((_, name), _)| !KNOWN.contains(name))
        .map(|((domain, name), count)| match domain.as_str() {
            "" | "ai.onnx" => format!("{name} (used {count} times)"),
            _ => format!("{domain}.{name} (used {count} times)"),
        })
        .collect();
    if !missing.is_empty() {
        return Err(EngineError::MissingOperators(missing));
    }
    if !census.wrong.is_empty() {
        return Err(EngineError::WrongResults(census.wrong.into_iter().collect()));
    }
    Ok(())
}

#[derive(Default)]
struct Census {
    operators: BTreeMap<(String, String), usize>,
    external: Option<String>,
    wrong: BTreeSet<String>,
}

impl Census {
    fn graph(&mut self, graph: &GraphProto) {
        for tensor in &graph.initializer {
            self.tensor(tensor);
        }
        for node in &graph.node {
            *self.operators.entry((node.domain.clone(), node.op_type.clone())).or_default() += 1;
            for attribute in &node.attribute {
                self.attribute(attribute);
            }
            self.known_faults(graph, node);
        }
    }

    fn attribute(&mut self, attribute: &AttributeProto) {
        for graph in attribute.g.iter().chain(&attribute.graphs) {
            self.graph(graph);
        }
        for tensor in attribute.t.iter().chain(&attribute.tensors) {
            self.tensor(tensor);
        }
    }

    fn tensor(&mut self, tensor: &TensorProto) {
        let external = tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty();
        if external {
            self.external.get_or_insert_with(|| tensor.name.clone());
        }
    }

    /// Faults found by comparing tract 0.23.9 with ONNX Runtime.
    fn known_faults(&mut self, graph: &GraphProto, node: &NodeProto) {
        let made_by = |operator: &str, name: &String| {
            graph.node.iter().any(|other| other.op_type == operator && other.output.contains(name))
        };
        let quantised_softmax =
            node.op_type == "Softmax" && node.input.iter().any(|name| made_by("DequantizeLinear", name));
        let softmax_quantised =
            node.op_type == "QuantizeLinear" && node.input.first().is_some_and(|name| made_by("Softmax", name));
        if quantised_softmax || softmax_quantised {
            self.wrong.insert(
                "a quantised Softmax gives 1 for every class; leave Softmax out of the quantisation".to_owned(),
            );
        }
        if node.op_type == "TreeEnsembleClassifier" && classes(node).is_some_and(|classes| classes <= 2) {
            self.wrong.insert(
                "a TreeEnsembleClassifier of two classes gives wrong labels; export it as a neural network or use another model"
                    .to_owned(),
            );
        }
    }
}

fn classes(node: &NodeProto) -> Option<usize> {
    let length = |name: &str, of: fn(&AttributeProto) -> usize| {
        node.attribute.iter().find(|attribute| attribute.name == name).map(of).filter(|&length| length > 0)
    };
    length("classlabels_int64s", |attribute| attribute.ints.len())
        .or_else(|| length("classlabels_strings", |attribute| attribute.strings.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tract::fixtures;

    fn refused(change: impl FnOnce(&mut GraphProto)) -> String {
        let mut proto = fixtures::scale();
        change(proto.graph.as_mut().unwrap());
        check(&proto).unwrap_err().to_string()
    }

    fn node(domain: &str, operator: &str, input: &str, output: &str) -> NodeProto {
        NodeProto {
            domain: domain.into(),
            op_type: operator.into(),
            input: vec![input.into()],
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    #[test]
    fn missing_operators_are_all_named_with_their_domain() {
        let message = refused(|graph| {
            graph.node.push(node("ai.onnx.ml", "Scaler", "x", "a"));
            graph.node.push(node("", "Unique", "x", "b"));
            graph.node.push(node("", "Unique", "x", "c"));
        });
        assert_eq!(message, "the engine lacks the operators: Unique (used 2 times), ai.onnx.ml.Scaler (used 1 times)");
    }

    #[test]
    fn operators_inside_branches_count_too() {
        let message = refused(|graph| {
            let mut branch = node("", "If", "x", "a");
            branch.attribute.push(AttributeProto {
                g: Some(GraphProto { node: vec![node("", "Unique", "x", "b")], ..GraphProto::default() }),
                ..AttributeProto::default()
            });
            graph.node.push(branch);
        });
        assert!(message.contains("Unique"), "{message}");
    }

    #[test]
    fn tensors_kept_in_other_files_are_refused() {
        let message = refused(|graph| {
            graph.initializer[0].data_location = Some(DataLocation::External as i32);
        });
        assert!(message.contains("`w` is kept in another file"), "{message}");
    }

    #[test]
    fn what_is_known_to_come_out_wrong_is_refused() {
        let message = refused(|graph| {
            graph.node.push(node("", "Softmax", "y", "s"));
            graph.node.push(node("", "QuantizeLinear", "s", "q"));
        });
        assert!(message.contains("quantised Softmax"), "{message}");
        let trees = |labels: usize| {
            let mut trees = node("ai.onnx.ml", "TreeEnsembleClassifier", "x", "t");
            trees.attribute.push(AttributeProto {
                name: "classlabels_int64s".into(),
                ints: vec![0; labels],
                ..AttributeProto::default()
            });
            trees
        };
        let message = refused(|graph| graph.node.push(trees(2)));
        assert!(message.contains("wrong labels"), "{message}");
        let mut proto = fixtures::scale();
        proto.graph.as_mut().unwrap().node.push(trees(10));
        assert_eq!(check(&proto), Ok(()));
    }
}
