use super::{
    super::{
        super::artifact,
        wire::write::{bytes, number},
    },
    *,
};
use slipway_kernel::TensorSpec;
use slipway_testkit::archive;

/// A shape; -1 is any size.
fn sizes(shape: &[i64]) -> Vec<u8> {
    shape.iter().flat_map(|size| bytes(2, &number(1, size.cast_unsigned()))).collect()
}

fn info_of(element: u64, shape: &[i64]) -> Vec<u8> {
    [bytes(1, b"x:0"), number(2, element), bytes(3, &sizes(shape))].concat()
}

fn pair(key: &str, value: &[u8]) -> Vec<u8> {
    [bytes(1, key.as_bytes()), bytes(2, value)].concat()
}

fn node(operator: &str, attributes: &[u8]) -> Vec<u8> {
    [bytes(1, b"n"), bytes(2, operator.as_bytes()), attributes.to_vec()].concat()
}

fn constant(element: u64, shape: &[i64], content: &[u8]) -> Vec<u8> {
    let tensor = [number(1, element), bytes(2, &sizes(shape)), bytes(4, content)].concat();
    node("Const", &[bytes(5, &pair("dtype", &number(6, 1))), bytes(5, &pair("value", &bytes(8, &tensor)))].concat())
}

fn signature(inputs: &[(&str, Vec<u8>)], outputs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let ports = |field, ports: &[(&str, Vec<u8>)]| -> Vec<u8> {
        ports.iter().flat_map(|(name, info)| bytes(field, &pair(name, info))).collect()
    };
    [ports(1, inputs), ports(2, outputs), bytes(3, b"tensorflow/serving/predict")].concat()
}

fn usual() -> Vec<u8> {
    signature(&[("b", info_of(1, &[-1, 4])), ("a", info_of(9, &[-1]))], &[("y", info_of(1, &[-1, 2]))])
}

fn with(tag: &str, graph: &[u8], signatures: &[(&str, Vec<u8>)], more: &[u8]) -> Vec<u8> {
    let info = bytes(1, &[bytes(4, b"other"), bytes(4, tag.as_bytes()), bytes(5, b"2.20.0")].concat());
    let signatures: Vec<u8> = signatures.iter().flat_map(|(name, content)| bytes(5, &pair(name, content))).collect();
    let meta = [info, bytes(2, graph), signatures, more.to_vec()].concat();
    [number(1, 1), bytes(2, &meta)].concat()
}

fn graph() -> Vec<u8> {
    let function =
        [bytes(1, b"signature"), bytes(3, &node("MatMul", b"")), bytes(3, &constant(1, &[4, 2], &[0; 32]))].concat();
    [bytes(1, &node("Placeholder", b"")), bytes(1, &constant(7, &[2], b"words")), bytes(2, &bytes(1, &function))]
        .concat()
}

fn refused(file: &[u8]) -> String {
    read(file).unwrap_err().to_string()
}

#[test]
fn the_signature_that_is_served_operators_and_constants_are_read() {
    let own = ("__saved_model_init_op", signature(&[], &[("op", info_of(0, &[]))]));
    let model =
        read(&with("serve", &graph(), &[own, ("serving_default", usual()), ("train", usual())], b"")[..]).unwrap();
    let port = |name: &str, datatype: &str, shape: &[i32]| TensorSpec {
        name: name.into(),
        datatype: datatype.into(),
        shape: shape.to_vec(),
    };
    assert_eq!(model.inputs, [port("a", "INT64", &[-1]), port("b", "FP32", &[-1, 4])]);
    assert_eq!(model.outputs, [port("y", "FP32", &[-1, 2])]);
    assert_eq!(model.producer, "tensorflow 2.20.0");
    let operators: Vec<_> = model.operators.iter().map(|one| (one.operator.as_str(), one.count)).collect();
    assert_eq!(operators, [("Const", 2), ("MatMul", 1), ("Placeholder", 1)]);
    assert_eq!((model.parameters, model.weight_bytes), (10, 32 + 5));
    assert_eq!(model.memory_estimate_bytes, 2 * 37 + 16 * 16);
}

#[test]
fn a_signature_that_is_alone_is_served_whatever_its_name() {
    assert!(read(&with("serve", &graph(), &[("predict", usual())], b"")[..]).is_ok());
    for (signatures, word) in [
        (vec![], "without a signature"),
        (vec![("__saved_model_init_op", usual())], "without a signature"),
        (vec![("a", usual()), ("b", usual())], "with 2 signatures, none of which"),
        (vec![("serving_default", signature(&[("x", info_of(1, &[]))], &[]))], "gives nothing"),
    ] {
        let refused = refused(&with("serve", &graph(), &signatures, b""));
        assert!(refused.contains(word), "{word}: {refused}");
    }
    assert!(refused(&with("train", &graph(), &[("serving_default", usual())], b"")).contains("tagged `serve`"));
}

#[test]
fn what_lies_in_other_files_is_refused() {
    let served = [("serving_default", usual())];
    for operator in VARIABLES {
        let graph = bytes(2, &bytes(1, &bytes(3, &node(operator, b""))));
        assert!(refused(&with("serve", &graph, &served, b"")).contains("variables/"), "{operator}");
    }
    assert!(refused(&with("serve", &graph(), &served, &bytes(6, b"asset"))).contains("assets/"));
}

/// A model with a variable of 4 by 2 and a vocabulary.
fn with_files_beside() -> Vec<u8> {
    let shaped = bytes(5, &pair("shape", &bytes(7, &sizes(&[4, 2]))));
    let graph = [graph(), bytes(1, &node("VarHandleOp", &shaped))].concat();
    with("serve", &graph, &[("serving_default", usual())], &bytes(6, &bytes(2, b"words.txt")))
}

#[test]
fn what_comes_with_its_files_is_read_with_them() {
    let model = with_files_beside();
    let files = [
        ("./saved_model.pb", &model[..]),
        ("./variables/variables.index", b"index"),
        ("./variables/variables.data-00000-of-00002", &[0; 24]),
        ("./variables/variables.data-00001-of-00002", &[0; 8]),
        ("./assets/words.txt", b"words"),
        ("./fingerprint.pb", b""),
    ];
    let read_of = |files: &[(&str, &[u8])]| artifact::read(&archive(files)[..]);
    let found = read_of(&files).unwrap();
    assert_eq!(
        (found.format, found.inputs.len(), found.producer.as_str()),
        (ModelFormat::SavedModel, 2, "tensorflow 2.20.0")
    );
    assert_eq!((found.parameters, found.weight_bytes), (10 + 8, 32 + 5 + 24 + 8));
    for (left_out, word) in [(1, "variables.index"), (2, "not all of"), (3, "not all of"), (4, "not in assets/")] {
        let mut rest = files.to_vec();
        rest.remove(left_out);
        let refused = read_of(&rest).unwrap_err().to_string();
        assert!(refused.contains("of which something is missing") && refused.contains(word), "{word}: {refused}");
        assert!(refused.contains("tar --format=ustar"), "{refused}");
    }
    let refused = read_of(&files[1..]).unwrap_err().to_string();
    assert!(refused.starts_with("it is a tar archive of 5 files, none of which is saved_model.pb"), "{refused}");
    let refused = read_of(&[("saved_model.pb", &model[..40])]).unwrap_err().to_string();
    assert!(refused.contains("a SavedModel in which field"), "{refused}");
}

#[test]
fn tensors_that_cannot_be_carried_are_named() {
    let ports = [
        ("any", [number(2, 1), bytes(3, &number(3, 1))].concat()),
        ("bare", number(2, 1)),
        ("complex", info_of(8, &[])),
        ("handle", info_of(20, &[])),
        ("ragged", [number(2, 1), bytes(5, b"")].concat()),
        ("sparse", [number(2, 1), bytes(4, b"")].concat()),
    ];
    let model =
        read(&with("serve", &graph(), &[("serving_default", signature(&ports, &ports[..1]))], b"")[..]).unwrap();
    assert!(model.inputs.is_empty(), "{:?}", model.inputs);
    for (said, word) in model.cautions.untyped.iter().zip([
        "`any` declares no shape",
        "`bare` declares no shape",
        "COMPLEX64",
        "type 20",
        "several tensors",
        "sparse tensor",
    ]) {
        assert!(said.to_string().contains(word), "{word}: {said}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let served = |content| vec![("serving_default", content)];
    let huge = constant(1, &[i64::from(i32::MAX); 3], b"");
    assert!(refused(&with("serve", &bytes(1, &huge), &served(usual()), b"")).contains("impossible shape"));
    let far = signature(&[("x", info_of(1, &[1 << 40]))], &[]);
    assert!(refused(&with("serve", b"", &served(far), b"")).contains("a dimension of 1099511627776"));
    let flat = signature(&[("x", info_of(1, &[1; 255]))], &[]);
    assert!(refused(&with("serve", b"", &served(flat), b"")).contains("dimensions of a tensor"));
    let twice = signature(&[("x", info_of(1, &[])), ("x", info_of(1, &[]))], &[]);
    assert!(refused(&with("serve", b"", &served(twice), b"")).contains("share a name"));
    let mut cut = with("serve", &graph(), &served(usual()), b"");
    cut.truncate(cut.len() - 3);
    assert!(read(&cut[..]).is_err());
}
