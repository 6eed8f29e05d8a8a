//! The engine on real ONNX files.

use slipway_proto::oip::Tensor;

use super::{TractEngine, fixtures, inspect};
use crate::engine::{Batching, Engine as _, EngineError, LoadOptions, Model, Planning};
use tract_onnx::pb::ModelProto;

const EVERY_PLANNING: [Planning; 3] = [Planning::Measured, Planning::Symbolic, Planning::Buckets];

fn load(proto: &ModelProto, planning: Planning) -> Result<Box<dyn Model>, EngineError> {
    let options = LoadOptions { planning, ..LoadOptions::default() };
    TractEngine.load(&fixtures::bytes(proto), &options)
}

fn x(name: &str, shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|i| i as f32 / 7.0).collect();
    Tensor::from_f32(name, shape.to_vec(), &values).unwrap()
}

#[test]
fn every_batch_size_gives_the_same_numbers_in_every_planning() {
    for planning in EVERY_PLANNING {
        let model = load(&fixtures::scale(), planning).unwrap();
        assert_eq!(model.batching(), &Batching::Rows, "{planning:?}");
        for rows in [1, 2, 3, 5, 8, 17] {
            let input = x("x", &[rows, 4]);
            let output = model.run(&[std::slice::from_ref(&input)]).unwrap();
            assert_eq!(output.len(), 1);
            assert_eq!((output[0].name(), output[0].shape()), ("y", &[rows, 4][..]));
            let expected: Vec<f32> =
                input.as_f32().unwrap().iter().enumerate().map(|(i, value)| value * (i % 4 + 1) as f32).collect();
            assert_eq!(output[0].as_f32().unwrap(), expected, "{planning:?} {rows}");
        }
    }
}

#[test]
fn a_classifier_gives_labels_and_probabilities_that_agree() {
    for planning in EVERY_PLANNING {
        let model = load(&fixtures::classifier(), planning).unwrap();
        let rows = [0.1, 2.0, 0.3, 0.0, 3.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.1, 1.0];
        let input = Tensor::from_f32("X", vec![3, 4], &rows).unwrap();
        let outputs = model.run(&[&[input]]).unwrap();
        assert_eq!(outputs[0].as_i64().unwrap(), [1, 0, 2], "{planning:?}");
        let probabilities = outputs[1].as_f32().unwrap();
        for row in probabilities.chunks(3) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn a_model_whose_rows_depend_on_each_other_is_never_batched() {
    for planning in EVERY_PLANNING {
        let model = load(&fixtures::mixing(), planning).unwrap();
        assert!(
            matches!(model.batching(), Batching::Alone { reason } if reason.contains("depends on the rows beside")),
            "{:?}",
            model.batching()
        );
        // And never padded either: padding would be another row to depend on.
        let output = model.run(&[&[x("x", &[3, 4])]]).unwrap();
        let sum: f32 = output[0].as_f32().unwrap().iter().sum();
        assert!((sum - 1.0).abs() < 1e-5, "{planning:?}: {sum}");
    }
}

#[test]
fn what_a_recurrent_model_remembers_ends_with_the_request() {
    for planning in EVERY_PLANNING {
        let model = load(&fixtures::recurrent(), planning).unwrap();
        for steps in [[0.1, 0.2, 0.3], [3.0, -2.0, 1.0], [0.1, 0.2, 0.3]] {
            let input = Tensor::from_f32("x", vec![3, 1, 1], &steps).unwrap();
            let output = model.run(&[&[input]]).unwrap();
            let mut memory = 0.0_f32;
            for (found, step) in output[0].as_f32().unwrap().into_iter().zip(steps) {
                memory = (step + memory).tanh();
                assert!((found - memory).abs() < 1e-5, "{planning:?}: {found} where {memory} is expected");
            }
        }
    }
}

#[test]
fn a_model_without_a_batch_runs_its_one_shape() {
    let model = load(&fixtures::fixed(), Planning::Measured).unwrap();
    assert!(!model.signature().batched);
    assert!(matches!(model.batching(), Batching::Alone { .. }));
    assert!(model.run(&[&[x("x", &[2, 4])]]).is_ok());
}

#[test]
fn a_free_length_beside_the_batch_is_served_at_any_length() {
    for planning in EVERY_PLANNING {
        let model = load(&fixtures::sequences(), planning).unwrap();
        for shape in [[1, 1], [2, 9], [3, 40], [1, 7]] {
            let output = model.run(&[&[x("x", &shape)]]).unwrap();
            assert_eq!(output[0].shape(), shape, "{planning:?}");
        }
    }
}

#[test]
fn more_shapes_than_plans_are_kept_still_work() {
    let model = load(&fixtures::sequences(), Planning::Buckets).unwrap();
    for round in 0..2 {
        for length in 1..40 {
            let output = model.run(&[&[x("x", &[1, length])]]).unwrap();
            assert_eq!(output[0].shape(), [1, length], "{round}");
        }
    }
}

#[test]
fn threads_may_run_the_same_model_at_once() {
    for planning in EVERY_PLANNING {
        let model = load(&fixtures::classifier(), planning).unwrap();
        let expected = model.run(&[&[x("X", &[2, 4])]]).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        assert_eq!(model.run(&[&[x("X", &[2, 4])]]).unwrap(), expected);
                    }
                });
            }
        });
    }
}

#[test]
fn foreign_empty_and_truncated_files_are_refused() {
    let whole = fixtures::bytes(&fixtures::classifier());
    let refuse = |bytes: &[u8]| TractEngine.load(bytes, &LoadOptions::default()).unwrap_err();
    assert!(matches!(refuse(b""), EngineError::Unreadable(_)));
    assert!(matches!(refuse(b"not a model at all"), EngineError::Unreadable(_)));
    assert!(matches!(refuse(b"PK\x03\x04 a zip file"), EngineError::Unreadable(_)));
    // Wherever the file is cut, the answer is an error, never a panic and never a model.
    for length in 0..whole.len() {
        let error = refuse(&whole[..length]);
        assert!(!matches!(error, EngineError::Panicked { .. }), "{length}: {error}");
    }
}

#[test]
fn a_file_with_any_byte_changed_is_a_model_or_an_error_and_no_crash() {
    let whole = fixtures::bytes(&fixtures::scale());
    for position in 0..whole.len() {
        let mut changed = whole.clone();
        changed[position] ^= 0x55;
        let _ = TractEngine.load(&changed, &LoadOptions::default());
        let _ = inspect(&changed);
    }
}

#[test]
fn reading_alone_gives_the_signature() {
    let signature = inspect(&fixtures::bytes(&fixtures::classifier())).unwrap();
    assert_eq!(signature.inputs[0].name, "X");
    assert_eq!(signature.outputs[1].shape, [-1, 3]);
    assert!(signature.batched);
}
