//! The case file: what a model takes and gives, samples, and the right answers to them.

use serde::Deserialize;
use serde_json::Number;
use std::path::{Path, PathBuf};

/// Name, type and shape of a tensor of one request.
#[derive(Clone, Debug, Deserialize)]
pub struct TensorSpec {
    /// Name.
    pub name: String,
    /// Type, as the Open Inference Protocol calls it.
    pub datatype: String,
    /// Shape; the first dimension is the batch.
    pub shape: Vec<i64>,
}

/// One request and its answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Sample {
    /// A flat list per input, in the order of [`Case::inputs`].
    pub inputs: Vec<Vec<Number>>,
    /// The flat output.
    pub expected: Vec<f64>,
}

/// A model as a workload.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// The name under which it is served.
    pub model: String,
    /// What it takes.
    pub inputs: Vec<TensorSpec>,
    /// What it gives.
    pub output: TensorSpec,
    /// Requests and answers, all different.
    pub samples: Vec<Sample>,
    /// The greatest absolute difference from `expected` that is still the same answer.
    pub atol: f64,
}

/// Why a case is none.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The file could not be read.
    #[error("cannot read {}", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    /// It does not say what a case says.
    #[error("not a case")]
    Json(#[from] serde_json::Error),
    /// Nothing to send.
    #[error("the case has no samples")]
    Empty,
    /// A sample has more or fewer inputs or values than the model takes.
    #[error("sample {sample}: {values} values for `{input}`, not {wanted}")]
    Length {
        /// Which, from 0.
        sample: usize,
        /// The input.
        input: String,
        /// Values of the sample.
        values: usize,
        /// Values of the shape.
        wanted: usize,
    },
    /// Requests of this type cannot be written.
    #[error("`{input}`: {datatype} is not one of FP32, INT64")]
    DataType {
        /// The input.
        input: String,
        /// Its type.
        datatype: String,
    },
    /// A value is no number of its type.
    #[error("`{input}`: {value} is no {datatype}")]
    Value {
        /// The input.
        input: String,
        /// Its type.
        datatype: String,
        /// The value.
        value: Number,
    },
    /// The message is longer than a frame of gRPC can be.
    #[error("a request of {0} bytes is too long for gRPC")]
    TooLong(usize),
}

impl Case {
    /// Reads and checks a case file.
    ///
    /// # Errors
    /// If it cannot be read, or is no case.
    pub fn read(path: &Path) -> Result<Self, CaseError> {
        let text = std::fs::read(path).map_err(|error| CaseError::File(path.to_owned(), error))?;
        let case: Self = serde_json::from_slice(&text)?;
        case.check()?;
        Ok(case)
    }

    fn check(&self) -> Result<(), CaseError> {
        if self.samples.is_empty() || self.inputs.is_empty() {
            return Err(CaseError::Empty);
        }
        for (n, sample) in self.samples.iter().enumerate() {
            for (k, spec) in self.inputs.iter().enumerate() {
                let wanted = spec.shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).product();
                let values = sample.inputs.get(k).map_or(0, Vec::len);
                if values != wanted || wanted == 0 {
                    return Err(CaseError::Length { sample: n, input: spec.name.clone(), values, wanted });
                }
            }
        }
        Ok(())
    }

    /// Whether an answer is the one that is expected.
    #[must_use]
    pub fn is_right(&self, sample: &Sample, answer: &[f64]) -> bool {
        answer.len() == sample.expected.len()
            && answer.iter().zip(&sample.expected).all(|(got, expected)| (got - expected).abs() <= self.atol)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// Two inputs of two values, one output of three.
    pub(crate) fn case() -> Case {
        let text = json!({
            "model": "m",
            "inputs": [
                {"name": "a", "datatype": "FP32", "shape": [1, 2]},
                {"name": "b", "datatype": "INT64", "shape": [1, 2]},
            ],
            "output": {"name": "y", "datatype": "FP32", "shape": [1, 3]},
            "samples": [
                {"inputs": [[0.5, -1.0], [7, 8]], "expected": [0.25, 0.25, 0.5]},
                {"inputs": [[1.5, 2.0], [9, 10]], "expected": [0.1, 0.2, 0.7]},
            ],
            "atol": 1e-5,
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn an_answer_is_right_within_the_tolerance_and_with_every_value() {
        let case = case();
        let sample = &case.samples[0];
        assert!(case.is_right(sample, &[0.25, 0.250_005, 0.5]));
        assert!(!case.is_right(sample, &[0.25, 0.250_05, 0.5]));
        assert!(!case.is_right(sample, &[0.25, 0.25]));
        assert!(!case.is_right(sample, &[0.25, f64::NAN, 0.5]), "NaN is no answer");
        assert!(!case.is_right(&case.samples[1], &[0.25, 0.25, 0.5]), "somebody else's answer");
    }

    #[test]
    fn a_case_whose_samples_do_not_fit_the_model_is_refused() {
        assert!(case().check().is_ok());
        let mut short = case();
        short.samples[1].inputs[0].pop();
        assert!(matches!(short.check(), Err(CaseError::Length { sample: 1, values: 1, wanted: 2, .. })));
        let mut fewer = case();
        fewer.samples[0].inputs.pop();
        assert!(matches!(fewer.check(), Err(CaseError::Length { sample: 0, values: 0, .. })));
        let none = Case { samples: Vec::new(), ..case() };
        assert!(matches!(none.check(), Err(CaseError::Empty)));
    }
}
