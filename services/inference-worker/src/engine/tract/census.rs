//! Which operators a file uses, and whether tract can be trusted with them.
//!
//! A wrong answer without an error is the worst that an engine can do, so what is known to come out wrong is refused like
//! what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

use super::ml;
use crate::engine::EngineError;

/// The operators that tract and we have. The register knows names only, no domains.
static KNOWN: LazyLock<BTreeSet<String>> = LazyLock::new(|| ml::onnx().op_register.0.keys().cloned().collect());

/// Domains of which tract has operators. One of another domain is another operator, whatever its name.
const DOMAINS: [&str; 3] = ["", "ai.onnx", "com.microsoft"];

fn known(domain: &str, name: &str) -> bool {
    match domain {
        ml::DOMAIN => ml::has(name),
        _ => DOMAINS.contains(&domain) && KNOWN.contains(name) && !ml::has(name),
    }
}

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
        .filter(|((domain, name), _)| !known(domain, name))
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
    }
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
            graph.node.push(node("ai.onnx.ml", "SVMRegressor", "x", "a"));
            graph.node.push(node("", "Unique", "x", "b"));
            graph.node.push(node("", "Unique", "x", "c"));
        });
        assert_eq!(
            message,
            "the engine lacks the operators: Unique (used 2 times), ai.onnx.ml.SVMRegressor (used 1 times)"
        );
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
    }

    #[test]
    fn an_operator_is_known_by_its_domain_and_name() {
        for (domain, name) in
            [("ai.onnx.ml", "TreeEnsembleClassifier"), ("ai.onnx.ml", "ZipMap"), ("com.microsoft", "FastGelu")]
        {
            let mut proto = fixtures::scale();
            proto.graph.as_mut().unwrap().node.push(node(domain, name, "x", "t"));
            assert_eq!(check(&proto), Ok(()), "{domain}.{name}");
        }
        let message = refused(|graph| {
            graph.node.push(node("ai.onnx.ml", "SVMClassifier", "x", "a"));
            graph.node.push(node("ai.onnx.ml", "Conv", "x", "b"));
            graph.node.push(node("", "Scaler", "x", "c"));
            graph.node.push(node("my.own", "Conv", "x", "d"));
        });
        for name in ["ai.onnx.ml.SVMClassifier", "ai.onnx.ml.Conv", " Scaler", "my.own.Conv"] {
            assert!(message.contains(name), "{name}: {message}");
        }
    }
}
