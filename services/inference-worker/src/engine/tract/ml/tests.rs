//! The operators against ONNX Runtime: every model of `tests/data/ml`, asked what ONNX Runtime was asked.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use slipway_proto::oip::{BytesElements, DataType, Tensor, join_bytes_elements};
use std::collections::BTreeMap;

use crate::engine::tract::TractEngine;
use crate::engine::{Batching, Engine as _, EngineError, LoadOptions, Model, split_rows};

/// Relative to the number, or absolute where it is smaller than 1.
const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Golden {
    inputs: BTreeMap<String, Described>,
    outputs: BTreeMap<String, Described>,
}

#[derive(Deserialize)]
struct Described {
    r#type: String,
    shape: Vec<usize>,
    data: Vec<Value>,
}

impl Described {
    fn tensor(&self, name: &str) -> Tensor {
        let data_type = DataType::ALL.into_iter().find(|data_type| data_type.to_string() == self.r#type).unwrap();
        let number = |value: &Value| value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap());
        let bytes: Vec<u8> = match data_type {
            DataType::Bytes => {
                join_bytes_elements(self.data.iter().map(|value| value.as_str().unwrap().as_bytes())).unwrap()
            }
            DataType::Fp32 => self.data.iter().flat_map(|value| (number(value) as f32).to_le_bytes()).collect(),
            DataType::Fp64 => self.data.iter().flat_map(|value| number(value).to_le_bytes()).collect(),
            DataType::Int64 => self.data.iter().flat_map(|value| value.as_i64().unwrap().to_le_bytes()).collect(),
            DataType::Int32 => {
                self.data.iter().flat_map(|value| (value.as_i64().unwrap() as i32).to_le_bytes()).collect()
            }
            other => panic!("{other} is in no golden file"),
        };
        Tensor::new(name, data_type, self.shape.clone(), bytes.into()).unwrap()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ml")
}

fn load(path: &Path) -> Result<Box<dyn Model>, EngineError> {
    TractEngine.load(&std::fs::read(path).unwrap(), &LoadOptions::default())
}

fn golden(path: &Path) -> Golden {
    serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap()
}

fn models() -> Vec<PathBuf> {
    let mut models: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .collect();
    models.sort();
    assert!(models.len() > 50, "{}", models.len());
    models
}

/// Why they differ.
fn difference(found: &Tensor, wanted: &Tensor) -> Option<String> {
    if (found.name(), found.data_type(), found.shape()) != (wanted.name(), wanted.data_type(), wanted.shape()) {
        return Some(format!(
            "{} {:?} instead of {} {:?}",
            found.data_type(),
            found.shape(),
            wanted.data_type(),
            wanted.shape()
        ));
    }
    let numbers = |tensor: &Tensor| match tensor.data_type() {
        DataType::Fp32 => Some(tensor.as_f32().unwrap().into_iter().map(f64::from).collect::<Vec<_>>()),
        DataType::Fp64 => Some(tensor.contents().unwrap().fp64_contents),
        _ => None,
    };
    let (Some(found_numbers), Some(wanted_numbers)) = (numbers(found), numbers(wanted)) else {
        let texts = |tensor: &Tensor| {
            BytesElements::new(tensor.bytes())
                .map(|one| String::from_utf8_lossy(one.unwrap()).into_owned())
                .collect::<Vec<_>>()
        };
        return (found.bytes() != wanted.bytes()).then(|| match found.data_type() {
            DataType::Bytes => format!("{:?} instead of {:?}", texts(found), texts(wanted)),
            _ => format!("{:?} instead of {:?}", found.as_i64(), wanted.as_i64()),
        });
    };
    let differs = |(found, wanted): (&f64, &f64)| {
        found != wanted
            && !(found.is_nan() && wanted.is_nan())
            && (found - wanted).abs().partial_cmp(&(TOLERANCE * wanted.abs().max(1.0)))
                != Some(std::cmp::Ordering::Less)
    };
    let at = found_numbers.iter().zip(&wanted_numbers).position(differs)?;
    Some(format!("{} instead of {} at {at}", found_numbers[at], wanted_numbers[at]))
}

#[test]
fn every_model_answers_as_onnx_runtime_does_all_rows_at_once_and_one_by_one() {
    let mut differences = Vec::new();
    for path in models() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let golden = golden(&path);
        let model = match load(&path) {
            Ok(model) => model,
            Err(error) => {
                differences.push(format!("{name}: {error}"));
                continue;
            }
        };
        let signature = model.signature();
        assert_eq!(model.batching(), &Batching::Rows, "{name}");
        let inputs: Vec<Tensor> =
            signature.inputs.iter().map(|spec| golden.inputs[&spec.name].tensor(&spec.name)).collect();
        let wanted: Vec<Tensor> =
            signature.outputs.iter().map(|spec| golden.outputs[&spec.name].tensor(&spec.name)).collect();
        let mut compare = |how: &str, inputs: &[Tensor], wanted: &[Tensor]| match model.run(&[inputs]) {
            Ok(found) => {
                assert_eq!(found.len(), wanted.len(), "{name}");
                for (found, wanted) in found.iter().zip(wanted) {
                    if let Some(difference) = difference(found, wanted) {
                        differences.push(format!("{name}, `{}`, {how}: {difference}", wanted.name()));
                    }
                }
            }
            Err(error) => differences.push(format!("{name}, {how}: {error}")),
        };
        compare("at once", &inputs, &wanted);
        let rows = vec![1; inputs[0].shape()[0]];
        let alone: Vec<Vec<Tensor>> = inputs.iter().map(|input| split_rows(input, &rows).unwrap()).collect();
        let wanted_alone: Vec<Vec<Tensor>> = wanted.iter().map(|output| split_rows(output, &rows).unwrap()).collect();
        for row in 0..rows.len() {
            let of_row = |all: &[Vec<Tensor>]| all.iter().map(|one| one[row].clone()).collect::<Vec<_>>();
            compare(&format!("row {row}"), &of_row(&alone), &of_row(&wanted_alone));
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences[..differences.len().min(40)].join("\n")
    );
}

#[test]
fn trees_of_which_any_byte_is_changed_are_a_model_or_an_error_and_no_panic() {
    let whole = std::fs::read(folder().join("cancer-tree.onnx")).unwrap();
    // The attributes only: around them tract's own reader panics, which is caught.
    let place = |name: &[u8]| whole.windows(name.len()).position(|window| window == name).unwrap();
    for position in place(b"class_ids")..place(b"post_transform") {
        for change in [0x01, 0x80] {
            let mut changed = whole.clone();
            changed[position] ^= change;
            if let Err(error) = TractEngine.load(&changed, &LoadOptions::default()) {
                assert!(!matches!(error, EngineError::Panicked { .. }), "{position}: {error}");
            }
        }
    }
}

#[test]
fn a_zip_map_is_served_as_its_scores() {
    let model = load(&folder().join("iris-forest-texts.onnx")).unwrap();
    let [label, scores] = &model.signature().outputs[..] else { panic!("{:?}", model.signature().outputs) };
    assert_eq!((label.name.as_str(), label.data_type, &label.shape[..]), ("output_label", DataType::Bytes, &[-1][..]));
    assert_eq!(
        (scores.name.as_str(), scores.data_type, &scores.shape[..]),
        ("output_probability", DataType::Fp32, &[-1, 3][..])
    );
}
