//! Tiny ONNX files for tests, written as protobuf.

use prost::Message as _;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, type_proto,
};

pub(crate) fn bytes(proto: &ModelProto) -> Vec<u8> {
    proto.encode_to_vec()
}

/// A named input or output; `None` is a free dimension, the first one named `N`.
pub(crate) fn value(name: &str, data_type: DataType, shape: &[Option<i64>]) -> ValueInfoProto {
    let dim = shape
        .iter()
        .enumerate()
        .map(|(axis, size)| Dimension {
            value: Some(match size {
                Some(size) => dimension::Value::DimValue(*size),
                None if axis == 0 => dimension::Value::DimParam("N".into()),
                None => dimension::Value::DimParam(format!("D{axis}")),
            }),
            ..Dimension::default()
        })
        .collect();
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: data_type as i32,
                shape: Some(TensorShapeProto { dim }),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

pub(crate) fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    NodeProto { op_type: operator.into(), input: owned(inputs), output: owned(outputs), ..NodeProto::default() }
}

pub(crate) fn integer(mut node: NodeProto, name: &str, value: i64) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i: value,
        ..AttributeProto::default()
    });
    node
}

pub(crate) fn floats(name: &str, shape: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: shape.to_vec(),
        data_type: DataType::Float as i32,
        float_data: values.to_vec(),
        ..TensorProto::default()
    }
}

pub(crate) fn model(
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    constants: Vec<TensorProto>,
    nodes: Vec<NodeProto>,
) -> ModelProto {
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        graph: Some(GraphProto {
            name: "g".into(),
            input: inputs,
            output: outputs,
            initializer: constants,
            node: nodes,
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

/// y\[N,4] = x\[N,4] * w, with w = 1, 2, 3, 4.
pub(crate) fn scale() -> ModelProto {
    model(
        vec![value("x", DataType::Float, &[None, Some(4)])],
        vec![value("y", DataType::Float, &[None, Some(4)])],
        vec![floats("w", &[4], &[1.0, 2.0, 3.0, 4.0])],
        vec![node("Mul", &["x", "w"], &["y"])],
    )
}

/// A classifier of the shape that scikit-learn exports: label int64\[N], probabilities float32\[N,3].
pub(crate) fn classifier() -> ModelProto {
    #[rustfmt::skip]
    let weights = [
        1.0, 0.0, 0.0,
        0.0, 1.0, 0.0,
        0.0, 0.0, 1.0,
        0.5, 0.5, 0.5,
    ];
    model(
        vec![value("X", DataType::Float, &[None, Some(4)])],
        vec![value("label", DataType::Int64, &[None]), value("probabilities", DataType::Float, &[None, Some(3)])],
        vec![floats("w", &[4, 3], &weights)],
        vec![
            node("MatMul", &["X", "w"], &["scores"]),
            integer(node("Softmax", &["scores"], &["probabilities"]), "axis", 1),
            integer(integer(node("ArgMax", &["probabilities"], &["label"]), "axis", 1), "keepdims", 0),
        ],
    )
}

/// y\[N,4] = x / (sum of all x): every row depends on all.
pub(crate) fn mixing() -> ModelProto {
    model(
        vec![value("x", DataType::Float, &[None, Some(4)])],
        vec![value("y", DataType::Float, &[None, Some(4)])],
        vec![],
        vec![integer(node("ReduceSum", &["x"], &["sum"]), "keepdims", 1), node("Div", &["x", "sum"], &["y"])],
    )
}

/// y\[N,1,1,1]: step n is tanh(x\[n] + y\[n-1]), from zero.
pub(crate) fn recurrent() -> ModelProto {
    model(
        vec![value("x", DataType::Float, &[None, Some(1), Some(1)])],
        vec![value("y", DataType::Float, &[None, Some(1), Some(1), Some(1)])],
        vec![floats("w", &[1, 1, 1], &[1.0]), floats("r", &[1, 1, 1], &[1.0])],
        vec![integer(node("RNN", &["x", "w", "r"], &["y"]), "hidden_size", 1)],
    )
}

/// y\[2,4] = x\[2,4] * w: no batch.
pub(crate) fn fixed() -> ModelProto {
    model(
        vec![value("x", DataType::Float, &[Some(2), Some(4)])],
        vec![value("y", DataType::Float, &[Some(2), Some(4)])],
        vec![floats("w", &[4], &[1.0, 2.0, 3.0, 4.0])],
        vec![node("Mul", &["x", "w"], &["y"])],
    )
}

/// y\[N,L] = x\[N,L] + x: a free length beside the batch.
pub(crate) fn sequences() -> ModelProto {
    model(
        vec![value("x", DataType::Float, &[None, None])],
        vec![value("y", DataType::Float, &[None, None])],
        vec![],
        vec![node("Add", &["x", "x"], &["y"])],
    )
}

/// y\[N,3] = x\[N,3], of any type.
pub(crate) fn identity(data_type: DataType) -> ModelProto {
    model(
        vec![value("x", data_type, &[None, Some(3)])],
        vec![value("y", data_type, &[None, Some(3)])],
        vec![],
        vec![node("Identity", &["x"], &["y"])],
    )
}

/// What scikit-learn's converter makes of a classifier unless told otherwise: a dictionary for each row.
pub(crate) fn zip_map() -> ModelProto {
    let mut zip = node("ZipMap", &["probabilities"], &["dictionaries"]);
    zip.domain = "ai.onnx.ml".into();
    zip.attribute.push(AttributeProto {
        name: "classlabels_int64s".into(),
        r#type: AttributeType::Ints as i32,
        ints: vec![0, 1, 2],
        ..AttributeProto::default()
    });
    let mut proto = classifier();
    proto.opset_import.push(OperatorSetIdProto { domain: "ai.onnx.ml".into(), version: 1 });
    if let Some(graph) = proto.graph.as_mut() {
        graph.node.push(zip);
        graph.output = vec![ValueInfoProto { name: "dictionaries".into(), ..ValueInfoProto::default() }];
    }
    proto
}
