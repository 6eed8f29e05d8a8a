use super::{
    super::{
        Cautions, Pattern,
        wire::write::{bytes, number},
    },
    *,
};
use slipway_kernel::TensorSpec;

fn value(name: &str, element: u64, shape: &[Option<u64>]) -> Vec<u8> {
    let dimension = |size: &Option<u64>| bytes(1, &size.map_or_else(|| bytes(2, b"N"), |size| number(1, size)));
    let shape = bytes(2, &shape.iter().flat_map(dimension).collect::<Vec<_>>());
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &[number(1, element), shape].concat()))].concat()
}

fn node(domain: &str, operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let names = |field, names: &[&str]| names.iter().flat_map(|name| bytes(field, name.as_bytes())).collect::<Vec<_>>();
    let attributes: Vec<u8> = attributes.iter().flat_map(|attribute| bytes(5, attribute)).collect();
    [names(1, inputs), names(2, outputs), bytes(4, operator.as_bytes()), bytes(7, domain.as_bytes()), attributes]
        .concat()
}

fn weights(name: &str) -> Vec<u8> {
    [number(1, 4), number(2, 1), bytes(8, name.as_bytes()), bytes(9, &[0; 16])].concat()
}

/// The parts of a graph: `(field, content)`.
fn scale() -> Vec<(u32, Vec<u8>)> {
    vec![
        (1, node("", "Mul", &["x", "w"], &["y"], &[])),
        (5, weights("w")),
        (11, value("x", 1, &[None, Some(4)])),
        (11, value("w", 1, &[Some(4)])),
        (12, value("y", 1, &[None, Some(4)])),
    ]
}

fn file(parts: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let graph: Vec<u8> = parts.iter().flat_map(|(field, content)| bytes(*field, content)).collect();
    let set = [bytes(1, b""), number(2, 17)].concat();
    [number(1, 8), bytes(2, b"test"), bytes(3, b"1.0"), bytes(7, &graph), bytes(8, &set)].concat()
}

fn with(more: Vec<(u32, Vec<u8>)>) -> Result<Model, Invalid> {
    read(&file(&[scale(), more].concat())[..])
}

fn refused(more: Vec<(u32, Vec<u8>)>) -> String {
    with(more).unwrap_err().to_string()
}

fn tensor(name: &str) -> TensorSpec {
    TensorSpec { name: name.into(), datatype: "FP32".into(), shape: vec![-1, 4] }
}

#[test]
fn a_small_model_is_read_whole() {
    let model = with(Vec::new()).unwrap();
    assert_eq!(model.inputs, [tensor("x")], "a constant is no input");
    assert_eq!(model.outputs, [tensor("y")]);
    assert_eq!(model.operators, [OperatorCount { operator: "Mul".into(), count: 1 }]);
    assert_eq!((model.parameters, model.weight_bytes, model.opset), (4, 16, 17));
    assert_eq!(model.producer, "test 1.0");
    assert_eq!(model.memory_estimate_bytes, 32 + 16 * 16);
    assert_eq!(model.cautions, Cautions::default());
}

#[test]
fn operators_are_counted_with_their_domain_and_inside_branches() {
    let inner: Vec<u8> = bytes(1, &node("", "Relu", &["a"], &["b"], &[]));
    let branch = [bytes(1, b"then_branch"), bytes(6, &inner)].concat();
    let model = with(vec![
        (1, node("ai.onnx.ml", "Scaler", &["x"], &["a"], &[])),
        (1, node("ai.onnx", "Mul", &["x"], &["b"], &[])),
        (1, node("", "If", &["c"], &["d"], &[branch])),
    ])
    .unwrap();
    let operators: Vec<String> = model.operators.iter().map(|o| format!("{}:{}", o.operator, o.count)).collect();
    assert_eq!(operators, ["If:1", "Mul:1", "Relu:1", "Mul:1", "ai.onnx.ml.Scaler:1"]);
}

#[test]
fn constants_inside_nodes_are_weights_too() {
    let constant = [bytes(1, b"value"), bytes(5, &weights("inner"))].concat();
    let model = with(vec![(1, node("", "Constant", &[], &["c"], &[constant]))]).unwrap();
    assert_eq!((model.parameters, model.weight_bytes), (8, 32));
}

#[test]
fn graphs_may_nest_but_not_without_end() {
    let nested = |depth: usize| {
        let mut graph = bytes(1, &node("", "Relu", &["a"], &["b"], &[]));
        for _ in 0..depth {
            let attribute = [bytes(1, b"body"), bytes(6, &graph)].concat();
            graph = bytes(1, &node("", "Loop", &["a"], &["b"], &[attribute]));
        }
        with(vec![(1, node("", "Loop", &["a"], &["b"], &[[bytes(1, b"body"), bytes(6, &graph)].concat()]))])
    };
    assert!(nested(15).is_ok());
    assert!(nested(16).unwrap_err().found.contains("nest deeper than 16"));
}

#[test]
fn a_quantized_softmax_is_noticed_on_either_side() {
    let softmax = || (1, node("", "Softmax", &["s"], &["t"], &[]));
    for (more, expected) in [
        (vec![softmax()], None),
        (vec![(1, node("", "DequantizeLinear", &["q"], &["s"], &[])), softmax()], Some(Pattern::QuantizedSoftmax)),
        (
            vec![softmax(), (1, node("", "QuantizeLinear", &["t", "scale"], &["q"], &[]))],
            Some(Pattern::QuantizedSoftmax),
        ),
        (vec![softmax(), (1, node("", "QuantizeLinear", &["other", "t"], &["q"], &[]))], None),
    ] {
        assert_eq!(with(more).unwrap().cautions.patterns.into_iter().next(), expected);
    }
}

#[test]
fn a_zip_map_gives_the_tensor_of_its_scores() {
    let outputs = |labels: &[Vec<u8>]| {
        let sequence = [bytes(1, b"probabilities"), bytes(2, &bytes(4, b""))].concat();
        let attribute = labels.concat();
        let model =
            with(vec![(1, node("ai.onnx.ml", "ZipMap", &["x"], &["probabilities"], &[attribute])), (12, sequence)]);
        let model = model.unwrap();
        assert_eq!(model.cautions.untyped, []);
        model.outputs[1].clone()
    };
    let scores =
        |classes| TensorSpec { name: "probabilities".into(), datatype: "FP32".into(), shape: vec![-1, classes] };
    assert_eq!(outputs(&[bytes(1, b"classlabels_int64s"), number(8, 0), number(8, 1)]), scores(2));
    assert_eq!(outputs(&[bytes(1, b"classlabels_int64s"), bytes(8, &[0, 1, 2])]), scores(3), "packed");
    let names = [bytes(9, b"no"), bytes(9, b"yes")].concat();
    assert_eq!(outputs(&[bytes(1, b"classlabels_strings"), names]), scores(2));
}

#[test]
fn what_cannot_be_carried_is_listed_and_the_rest_is_read() {
    let zipmap = [bytes(1, b"probabilities"), bytes(2, &bytes(4, b""))].concat();
    let model = with(vec![(12, zipmap), (11, value("z", 14, &[None]))]).unwrap();
    assert_eq!(model.outputs, [tensor("y")]);
    assert_eq!(model.cautions.untyped.len(), 2);
}

#[test]
fn broken_and_excessive_files_are_refused_with_the_reason() {
    let external = [bytes(8, b"w"), number(14, 1)].concat();
    for (more, word) in [
        (vec![(5, external)], "lies in another file"),
        (vec![(11, value("x", 1, &[None]))], "share a name"),
        (vec![(11, value("", 1, &[None]))], "share a name or have none"),
        (vec![(11, value(&"n".repeat(300), 1, &[None]))], "a name of 300 bytes"),
        (vec![(12, value("a\u{1b}[31m", 1, &[None]))], "no printable text"),
        ((0..300).map(|n| (12, value(&n.to_string(), 1, &[None]))).collect(), "more inputs and outputs"),
        ((0..300).map(|n| (11, value(&n.to_string(), 1, &[None]))).collect(), "with 301 inputs"),
        ((0..1_100).map(|n| (1, node("", &format!("Op{n}"), &[], &[], &[]))).collect(), "different operators"),
        (vec![(1, vec![0x0a, 0x7f])], "field 1 says 127 bytes and 0 are left"),
        (vec![(1, vec![0x0b])], "broken at byte"),
    ] {
        let refused = refused(more);
        assert!(refused.contains(word), "{word}: {refused}");
    }
}

#[test]
fn files_without_their_essentials_are_refused() {
    let set = bytes(8, &number(2, 17));
    let graph = |parts: &[(u32, Vec<u8>)]| {
        let content: Vec<u8> = parts.iter().flat_map(|(field, content)| bytes(*field, content)).collect();
        bytes(7, &content)
    };
    let without_outputs = &scale()[..4];
    for (content, word) in [
        ([number(1, 8), set.clone()].concat(), "without a graph"),
        ([number(1, 8), graph(&scale())].concat(), "names no operator set"),
        ([number(1, 2), graph(&scale()), set.clone()].concat(), "format version 2"),
        ([number(1, 8), graph(&[]), set.clone()].concat(), "no operators"),
        ([number(1, 8), graph(without_outputs), set.clone()].concat(), "no outputs"),
        ([number(1, 8), graph(&scale()), graph(&scale()), set].concat(), "two graphs"),
    ] {
        let refused = read(&content[..]).unwrap_err().to_string();
        assert!(refused.contains(word), "{word}: {refused}");
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = file(&scale());
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err(), "{length} of {}", whole.len());
    }
}
