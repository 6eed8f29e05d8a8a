//! The engine on real ONNX files. `make tools` brings the library; without it these tests fail.

use std::path::Path;

use slipway_proto::oip::{DataType, Tensor, join_bytes_elements};
use tract_onnx::pb::ModelProto;
use tract_onnx::pb::tensor_proto::DataType as OnnxType;

use super::OnnxRuntime;
use crate::engine::tract::{TractEngine, fixtures, inspect};
use crate::engine::{Batching, Engine as _, EngineError, LoadOptions, Model, Threads, Tolerance, compare, split_rows};

fn engine() -> OnnxRuntime {
    OnnxRuntime::open(None).unwrap()
}

fn load(proto: &ModelProto) -> Result<Box<dyn Model>, EngineError> {
    engine().load(&fixtures::bytes(proto), &LoadOptions::default())
}

fn refused(proto: &ModelProto) -> String {
    load(proto).unwrap_err().to_string()
}

fn x(name: &str, shape: &[usize]) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| i as f32 / 7.0).collect();
    Tensor::from_f32(name, shape.to_vec(), &values).unwrap()
}

fn every_fixture() -> [ModelProto; 5] {
    [fixtures::scale(), fixtures::classifier(), fixtures::mixing(), fixtures::fixed(), fixtures::sequences()]
}

fn examples() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/examples");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let models = files.filter(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    models.map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn the_session_declares_what_the_file_declares() {
    let files: Vec<Vec<u8>> = every_fixture().iter().map(fixtures::bytes).chain(examples()).collect();
    assert!(files.len() >= 10);
    for file in files {
        let model = engine().load(&file, &LoadOptions::default()).unwrap();
        assert_eq!(model.signature(), &inspect(&file).unwrap());
    }
}

#[test]
fn both_engines_give_the_same_numbers_at_every_batch_size() {
    for (proto, input, width) in [(fixtures::scale(), "x", 4), (fixtures::classifier(), "X", 4)] {
        let here = load(&proto).unwrap();
        let there = TractEngine.load(&fixtures::bytes(&proto), &LoadOptions::default()).unwrap();
        assert_eq!(here.batching(), &Batching::Rows);
        for rows in [1, 2, 3, 5, 8, 17] {
            let request = [x(input, &[rows, width])];
            let (found, expected) = (here.run(&[&request]).unwrap(), there.run(&[&request]).unwrap());
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(compare::tensors(expected, found, Tolerance::default()), Ok(()));
            }
        }
    }
}

#[test]
fn several_requests_in_one_run_get_what_each_would_get_alone() {
    let model = load(&fixtures::classifier()).unwrap();
    let requests: Vec<[Tensor; 1]> = [1, 3, 2].iter().map(|&rows| [x("X", &[rows, 4])]).collect();
    let together = model.run(&requests.iter().map(<[Tensor; 1]>::as_slice).collect::<Vec<_>>()).unwrap();
    for (position, output) in together.iter().enumerate() {
        for (part, request) in split_rows(output, &[1, 3, 2]).unwrap().iter().zip(&requests) {
            let alone = model.run(&[request]).unwrap();
            assert_eq!(compare::tensors(&alone[position], part, Tolerance::default()), Ok(()));
        }
    }
}

#[test]
fn rows_that_depend_on_each_other_fixed_shapes_and_free_lengths_are_noticed() {
    let mixing = load(&fixtures::mixing()).unwrap();
    assert!(matches!(mixing.batching(), Batching::Alone { reason } if reason.contains("depends on the rows beside")));
    let fixed = load(&fixtures::fixed()).unwrap();
    assert!(matches!(fixed.batching(), Batching::Alone { .. }));
    assert!(fixed.run(&[&[x("x", &[2, 4])]]).is_ok());
    let sequences = load(&fixtures::sequences()).unwrap();
    for shape in [[1, 1], [2, 9], [3, 40], [1, 7]] {
        assert_eq!(sequences.run(&[&[x("x", &shape)]]).unwrap()[0].shape(), shape);
    }
}

#[test]
fn every_type_survives_the_way_through_a_model() {
    for (onnx, data_type) in [
        (OnnxType::Bool, DataType::Bool),
        (OnnxType::Int8, DataType::Int8),
        (OnnxType::Int16, DataType::Int16),
        (OnnxType::Int32, DataType::Int32),
        (OnnxType::Int64, DataType::Int64),
        (OnnxType::Uint8, DataType::Uint8),
        (OnnxType::Uint16, DataType::Uint16),
        (OnnxType::Uint32, DataType::Uint32),
        (OnnxType::Uint64, DataType::Uint64),
        (OnnxType::Bfloat16, DataType::Bf16),
        (OnnxType::Float16, DataType::Fp16),
        (OnnxType::Float, DataType::Fp32),
        (OnnxType::Double, DataType::Fp64),
        (OnnxType::String, DataType::Bytes),
    ] {
        let model = load(&fixtures::identity(onnx)).unwrap();
        let raw = match data_type.element_size() {
            Some(_) if data_type == DataType::Bool => vec![0, 1, 1, 0, 1, 0],
            Some(size) => (0..6 * size).map(|i| u8::try_from(i % 100).unwrap()).collect(),
            None => join_bytes_elements(["a", "", "ü", "b", "cc", "d"].map(str::as_bytes)).unwrap(),
        };
        let tensor = Tensor::new("x", data_type, vec![2, 3], raw.into()).unwrap();
        let outputs = model.run(&[std::slice::from_ref(&tensor)]).unwrap();
        assert_eq!((outputs[0].data_type(), outputs[0].shape()), (data_type, &[2, 3][..]));
        assert_eq!(outputs[0].bytes(), tensor.bytes(), "{data_type}");
    }
}

#[test]
fn strings_that_onnx_runtime_cannot_hold_are_an_error_of_the_run() {
    let model = load(&fixtures::identity(OnnxType::String)).unwrap();
    for odd in [&[0xff_u8][..], b"a\0b"] {
        let raw = join_bytes_elements([odd, b"", b""]).unwrap();
        let request = [Tensor::new("x", DataType::Bytes, vec![1, 3], raw.into()).unwrap()];
        assert!(matches!(model.run(&[&request]), Err(EngineError::Run(_))));
    }
}

#[test]
fn threads_run_at_once_each_on_an_instance_and_more_callers_than_instances_wait() {
    let options = LoadOptions { threads: Threads { pool: 2, intra_op: 1 }, ..LoadOptions::default() };
    let model = engine().load(&fixtures::bytes(&fixtures::classifier()), &options).unwrap();
    assert_eq!(model.plan(), "2 sessions with 1 thread");
    let expected = model.run(&[&[x("X", &[2, 4])]]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(model.run(&[&[x("X", &[2, 4])]]).unwrap(), expected);
                }
            });
        }
    });
}

#[test]
fn a_run_that_fails_does_not_cost_an_instance() {
    let model = load(&fixtures::scale()).unwrap();
    for _ in 0..5 {
        assert!(matches!(model.run(&[&[x("x", &[1, 5])]]), Err(EngineError::Run(_))));
    }
    assert!(model.run(&[&[x("x", &[1, 4])]]).is_ok());
}

#[test]
fn an_operator_that_is_missing_is_named() {
    let mut proto = fixtures::scale();
    proto.graph.as_mut().unwrap().node[0].op_type = "Frobnicate".into();
    let error = load(&proto).unwrap_err();
    assert!(matches!(error, EngineError::MissingOperators(_)), "{error:?}");
    assert!(error.to_string().contains("Frobnicate"), "{error}");
}

#[test]
fn an_output_that_is_no_tensor_is_refused_by_name_with_what_to_do() {
    let message = refused(&fixtures::zip_map());
    assert!(message.contains("`dictionaries`") && message.contains("zipmap=False"), "{message}");
}

#[test]
fn types_that_slipway_does_not_carry_are_refused_by_name() {
    let message = refused(&fixtures::identity(OnnxType::Float8e5m2));
    assert!(message.contains("tensor(float8e5m2)") && message.contains("(x)"), "{message}");
}

#[test]
fn foreign_empty_and_truncated_files_are_refused() {
    let whole = fixtures::bytes(&fixtures::classifier());
    let refuse = |bytes: &[u8]| engine().load(bytes, &LoadOptions::default()).unwrap_err();
    assert!(matches!(refuse(b""), EngineError::Unreadable(_)));
    assert!(matches!(refuse(b"not a model at all"), EngineError::Unreadable(_)));
    assert!(matches!(refuse(b"PK\x03\x04 a zip file"), EngineError::Unreadable(_)));
    for length in 0..whole.len() {
        let error = refuse(&whole[..length]);
        assert!(!matches!(error, EngineError::Panicked { .. }), "{length}: {error}");
    }
}

#[test]
fn a_file_with_any_byte_changed_is_a_model_or_an_error_and_no_crash() {
    let (engine, whole) = (engine(), fixtures::bytes(&fixtures::scale()));
    for position in 0..whole.len() {
        let mut changed = whole.clone();
        changed[position] ^= 0x55;
        let _ = engine.load(&changed, &LoadOptions::default());
    }
}

#[test]
fn another_library_cannot_be_loaded_besides() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join(super::LIBRARY);
    std::fs::write(&other, b"").unwrap();
    engine();
    let error = OnnxRuntime::open(Some(&other)).unwrap_err();
    assert!(error.to_string().contains("is loaded already"), "{error}");
}
