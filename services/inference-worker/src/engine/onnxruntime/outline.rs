//! An ONNX file without its data: what must be looked at before ONNX Runtime sees it.
//!
//! A file may name other files to read tensors from. ONNX Runtime would open them; a model is one file, known by its digest.

use prost::Message;

use crate::engine::EngineError;

/// Field numbers are those of `onnx.proto3`; fields that are not named here, the data above all, are skipped and not kept.
#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    operator_sets: Vec<Nothing>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<Function>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializers: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    inputs: Vec<Value>,
    #[prost(message, repeated, tag = "15")]
    sparse_initializers: Vec<SparseTensor>,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(message, repeated, tag = "7")]
    nodes: Vec<Node>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(message, optional, tag = "5")]
    tensor: Option<Tensor>,
    #[prost(message, optional, tag = "6")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<Graph>,
    #[prost(message, optional, tag = "22")]
    sparse_tensor: Option<SparseTensor>,
    #[prost(message, repeated, tag = "23")]
    sparse_tensors: Vec<SparseTensor>,
}

#[derive(Clone, PartialEq, Message)]
struct SparseTensor {
    #[prost(message, optional, tag = "1")]
    values: Option<Tensor>,
    #[prost(message, optional, tag = "2")]
    indices: Option<Tensor>,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(string, tag = "8")]
    name: String,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<Nothing>,
    #[prost(int32, tag = "14")]
    data_location: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Message)]
struct Kind {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorKind>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorKind {
    #[prost(message, optional, tag = "2")]
    shape: Option<Nothing>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Nothing {}

/// Refuses a file that is cut short, keeps data elsewhere, or does not say of what rank an input is.
pub(super) fn check(artifact: &[u8]) -> Result<(), EngineError> {
    let file = File::decode(artifact).map_err(|error| EngineError::Unreadable(format!("not an ONNX file: {error}")))?;
    let graph = file.graph.as_ref().filter(|graph| !graph.nodes.is_empty() && !file.operator_sets.is_empty());
    // The operator set comes after the graph in most files, so that it is missing also tells of a file cut short.
    let Some(graph) = graph else {
        return Err(EngineError::Unreadable(
            "not a whole ONNX file: the graph, its nodes or its operator set is missing".to_owned(),
        ));
    };
    let nodes = file.functions.iter().flat_map(|function| &function.nodes);
    if let Some(tensor) = external(graph).or_else(|| nodes.flat_map(|node| &node.attributes).find_map(in_attribute)) {
        return Err(EngineError::ExternalData(tensor.to_owned()));
    }
    let shapeless = |input: &&Value| {
        input.kind.as_ref().and_then(|kind| kind.tensor.as_ref()).is_some_and(|tensor| tensor.shape.is_none())
    };
    match graph.inputs.iter().find(shapeless) {
        Some(input) => {
            Err(EngineError::UnsupportedType { tensor: input.name.clone(), reason: "it declares no shape".to_owned() })
        }
        None => Ok(()),
    }
}

/// Name of the first tensor that is kept elsewhere.
fn external(graph: &Graph) -> Option<&str> {
    let sparse = graph.sparse_initializers.iter().flat_map(SparseTensor::tensors);
    graph
        .initializers
        .iter()
        .chain(sparse)
        .find_map(Tensor::external)
        .or_else(|| graph.nodes.iter().flat_map(|node| &node.attributes).find_map(in_attribute))
}

fn in_attribute(attribute: &Attribute) -> Option<&str> {
    let sparse = attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors).flat_map(SparseTensor::tensors);
    attribute
        .tensor
        .iter()
        .chain(&attribute.tensors)
        .chain(sparse)
        .find_map(Tensor::external)
        .or_else(|| attribute.graph.iter().chain(&attribute.graphs).find_map(external))
}

impl SparseTensor {
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.values.iter().chain(&self.indices)
    }
}

impl Tensor {
    fn external(&self) -> Option<&str> {
        /// `TensorProto.DataLocation.EXTERNAL`.
        const EXTERNAL: i32 = 1;
        (self.data_location == EXTERNAL || !self.external_data.is_empty()).then_some(self.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tract::fixtures;
    use tract_onnx::pb::tensor_proto::DataLocation;
    use tract_onnx::pb::{AttributeProto, GraphProto, type_proto};

    #[test]
    fn a_tensor_kept_in_another_file_is_found_wherever_it_is() {
        let mut proto = fixtures::scale();
        assert_eq!(check(&fixtures::bytes(&proto)), Ok(()));
        let mut weight = fixtures::floats("far", &[1], &[1.0]);
        weight.data_location = Some(DataLocation::External as i32);
        let inner = GraphProto { initializer: vec![weight.clone()], ..GraphProto::default() };
        let mut branch = fixtures::node("If", &["x"], &["z"]);
        branch.attribute.push(AttributeProto { g: Some(inner), ..AttributeProto::default() });
        proto.graph.as_mut().unwrap().node.push(branch);
        assert_eq!(check(&fixtures::bytes(&proto)), Err(EngineError::ExternalData("far".to_owned())));
        let mut proto = fixtures::scale();
        proto.graph.as_mut().unwrap().initializer.push(weight);
        assert_eq!(check(&fixtures::bytes(&proto)), Err(EngineError::ExternalData("far".to_owned())));
    }

    #[test]
    fn an_input_without_a_rank_is_refused() {
        let mut proto = fixtures::scale();
        let kind = proto.graph.as_mut().unwrap().input[0].r#type.as_mut().unwrap();
        let Some(type_proto::Value::TensorType(tensor)) = kind.value.as_mut() else { panic!("a tensor") };
        tensor.shape = None;
        let error = check(&fixtures::bytes(&proto)).unwrap_err();
        assert_eq!(error.to_string(), "`x` is of an unsupported type: it declares no shape");
    }
}
