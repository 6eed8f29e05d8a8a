//! What a model takes and gives, and whether a request fits it.
//!
//! A request is checked completely before any of it is queued, so that what reaches the engine is of the right names,
//! types, shapes and lengths. Each way to be wrong has its own error that names the tensor.

use std::fmt;

use slipway_proto::inference::ModelInferRequest;
use slipway_proto::oip::{DataType, MessageError, Tensor, first_non_finite, request_tensors};

/// One input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub data_type: DataType,
    /// Its shape; -1 where the request decides.
    pub shape: Vec<i64>,
}

/// Inputs and outputs of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// What a request must hold, in the engine's order.
    pub inputs: Vec<TensorSpec>,
    /// What an answer holds, in the engine's order.
    pub outputs: Vec<TensorSpec>,
    /// The first dimension of every input is free: the batch.
    pub batched: bool,
}

impl Signature {
    /// A signature; whether it is batched follows from the inputs.
    #[must_use]
    pub fn new(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> Self {
        let batched =
            !inputs.is_empty() && inputs.iter().all(|input| input.shape.first().is_some_and(|&size| size < 0));
        Self { inputs, outputs, batched }
    }
}

/// A request that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The inputs in the order of the signature.
    pub inputs: Vec<Tensor>,
    /// How many rows they have; 1 for a model without a batch.
    pub rows: usize,
    /// Positions of the wanted outputs in the signature, in the order of the request.
    pub outputs: Vec<usize>,
}

/// What a model allows besides its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// NaN and the infinities may come in. Off unless the deployment says so: nearly always they are a fault of the
    /// caller, and what a model makes of them is noise.
    pub allow_non_finite: bool,
    /// The most rows that one request may bring.
    pub max_rows: usize,
}

/// Why a request does not fit the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// A tensor is wrong in itself, whatever the model.
    #[error(transparent)]
    Malformed(#[from] MessageError),
    /// The model has no such input.
    #[error("unknown input `{name}`; the model takes {}", quoted(.known))]
    UnknownInput {
        /// The name in the request.
        name: String,
        /// The model's inputs.
        known: Vec<String>,
    },
    /// An input is not there.
    #[error("input `{0}` is missing")]
    MissingInput(String),
    /// An input is of another type.
    #[error("input `{name}` is {found} where the model takes {expected}")]
    WrongType {
        /// The input.
        name: String,
        /// The model's type.
        expected: DataType,
        /// The request's type.
        found: DataType,
    },
    /// An input is of another shape.
    #[error("input `{name}` has the shape {} where the model takes {}", Shape(.found), Shape(.expected))]
    WrongShape {
        /// The input.
        name: String,
        /// The model's shape; -1 where the request decides.
        expected: Vec<i64>,
        /// The request's shape.
        found: Vec<i64>,
    },
    /// Two inputs bring different numbers of rows.
    #[error("input `{name}` has {found} rows where the inputs before it have {expected}")]
    RowsDiffer {
        /// The input.
        name: String,
        /// Rows of the first input.
        expected: usize,
        /// Its own.
        found: usize,
    },
    /// A free dimension is zero: there is nothing to compute.
    #[error("input `{0}` has a dimension of 0")]
    Empty(String),
    /// More rows than one request may bring.
    #[error("{found} rows in one request where {limit} are allowed; split it")]
    TooManyRows {
        /// What is allowed.
        limit: usize,
        /// What came.
        found: usize,
    },
    /// NaN or an infinity in an input.
    #[error("input `{name}` is not finite at element {index}")]
    NotFinite {
        /// The input.
        name: String,
        /// Which element, in row-major order from 0.
        index: usize,
    },
    /// The model has no such output.
    #[error("unknown output `{name}`; the model gives {}", quoted(.known))]
    UnknownOutput {
        /// The name in the request.
        name: String,
        /// The model's outputs.
        known: Vec<String>,
    },
    /// An output is wanted twice.
    #[error("output `{0}` is wanted twice")]
    DuplicateOutput(String),
}

/// Checks a request against the signature.
///
/// # Errors
/// The first [`Misfit`] found: unknown and missing names first, then type, shape and values, input by input.
pub fn check(signature: &Signature, rules: Rules, request: &ModelInferRequest) -> Result<Accepted, Misfit> {
    let outputs = wanted_outputs(signature, request)?;
    let inputs = in_order(signature, request_tensors(request)?)?;
    for (spec, tensor) in signature.inputs.iter().zip(&inputs) {
        check_tensor(spec, rules, tensor)?;
    }
    let rows = common_rows(signature, &inputs)?;
    if rows > rules.max_rows {
        return Err(Misfit::TooManyRows { limit: rules.max_rows, found: rows });
    }
    Ok(Accepted { inputs, rows, outputs })
}

fn wanted_outputs(signature: &Signature, request: &ModelInferRequest) -> Result<Vec<usize>, Misfit> {
    if request.outputs.is_empty() {
        return Ok((0..signature.outputs.len()).collect());
    }
    let mut wanted = Vec::with_capacity(request.outputs.len());
    for output in &request.outputs {
        let position = signature
            .outputs
            .iter()
            .position(|spec| spec.name == output.name)
            .ok_or_else(|| Misfit::UnknownOutput { name: output.name.clone(), known: names(&signature.outputs) })?;
        if wanted.contains(&position) {
            return Err(Misfit::DuplicateOutput(output.name.clone()));
        }
        wanted.push(position);
    }
    Ok(wanted)
}

fn in_order(signature: &Signature, tensors: Vec<Tensor>) -> Result<Vec<Tensor>, Misfit> {
    let mut places: Vec<Option<Tensor>> = vec![None; signature.inputs.len()];
    for tensor in tensors {
        let position = signature.inputs.iter().position(|spec| spec.name == tensor.name());
        // No name comes twice: `request_tensors` has refused that.
        match position.and_then(|position| places.get_mut(position)) {
            Some(place) => *place = Some(tensor),
            None => {
                return Err(Misfit::UnknownInput { name: tensor.name().to_owned(), known: names(&signature.inputs) });
            }
        }
    }
    places
        .into_iter()
        .zip(&signature.inputs)
        .map(|(place, spec)| place.ok_or_else(|| Misfit::MissingInput(spec.name.clone())))
        .collect()
}

fn check_tensor(spec: &TensorSpec, rules: Rules, tensor: &Tensor) -> Result<(), Misfit> {
    if tensor.data_type() != spec.data_type {
        return Err(Misfit::WrongType { name: spec.name.clone(), expected: spec.data_type, found: tensor.data_type() });
    }
    let found = tensor.wire_shape();
    let fits = found.len() == spec.shape.len()
        && found.iter().zip(&spec.shape).all(|(&found, &expected)| expected < 0 || found == expected);
    if !fits {
        return Err(Misfit::WrongShape { name: spec.name.clone(), expected: spec.shape.clone(), found });
    }
    let empty = found.iter().zip(&spec.shape).any(|(&found, &expected)| expected < 0 && found == 0);
    if empty {
        return Err(Misfit::Empty(spec.name.clone()));
    }
    if !rules.allow_non_finite
        && let Some(index) = first_non_finite(tensor.data_type(), tensor.bytes())
    {
        return Err(Misfit::NotFinite { name: spec.name.clone(), index });
    }
    Ok(())
}

fn common_rows(signature: &Signature, inputs: &[Tensor]) -> Result<usize, Misfit> {
    if !signature.batched {
        return Ok(1);
    }
    let mut rows = None;
    for tensor in inputs {
        let found = tensor.shape().first().copied().unwrap_or(1);
        let expected = *rows.get_or_insert(found);
        if found != expected {
            return Err(Misfit::RowsDiffer { name: tensor.name().to_owned(), expected, found });
        }
    }
    Ok(rows.unwrap_or(1))
}

fn names(specs: &[TensorSpec]) -> Vec<String> {
    specs.iter().map(|spec| spec.name.clone()).collect()
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

struct Shape<'a>(&'a [i64]);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use slipway_proto::inference::model_infer_request::InferRequestedOutputTensor;
    use slipway_proto::oip::raw_request;

    const RULES: Rules = Rules { allow_non_finite: false, max_rows: 8 };

    fn spec(name: &str, data_type: DataType, shape: &[i64]) -> TensorSpec {
        TensorSpec { name: name.into(), data_type, shape: shape.to_vec() }
    }

    fn two_inputs() -> Signature {
        Signature::new(
            vec![spec("x", DataType::Fp32, &[-1, 2]), spec("ids", DataType::Int64, &[-1, -1])],
            vec![spec("label", DataType::Int64, &[-1]), spec("probabilities", DataType::Fp32, &[-1, 3])],
        )
    }

    fn x(rows: usize) -> Tensor {
        Tensor::from_f32("x", vec![rows, 2], &vec![0.5; rows * 2]).unwrap()
    }

    fn ids(rows: usize, length: usize) -> Tensor {
        Tensor::from_i64("ids", vec![rows, length], &vec![7; rows * length]).unwrap()
    }

    fn refused(tensors: Vec<Tensor>) -> String {
        check(&two_inputs(), RULES, &raw_request("m", "1", tensors)).unwrap_err().to_string()
    }

    #[test]
    fn a_fitting_request_comes_out_in_the_order_of_the_signature() {
        let accepted = check(&two_inputs(), RULES, &raw_request("m", "1", [ids(3, 5), x(3)])).unwrap();
        assert_eq!(accepted.inputs, [x(3), ids(3, 5)]);
        assert_eq!((accepted.rows, accepted.outputs), (3, vec![0, 1]));
    }

    #[test]
    fn each_misfit_names_the_tensor_and_what_was_expected() {
        let strange = Tensor::from_f32("y", vec![1], &[0.0]).unwrap();
        let integer = Tensor::from_i64("x", vec![1, 2], &[0, 0]).unwrap();
        let wide = Tensor::from_f32("x", vec![1, 3], &[0.0; 3]).unwrap();
        let flat = Tensor::from_f32("x", vec![2], &[0.0; 2]).unwrap();
        let nan = Tensor::from_f32("x", vec![1, 2], &[0.0, f32::NAN]).unwrap();
        let cases = [
            (vec![x(1), ids(1, 1), strange], "unknown input `y`; the model takes `x`, `ids`"),
            (vec![x(1)], "input `ids` is missing"),
            (vec![], "input `x` is missing"),
            (vec![integer, ids(1, 1)], "input `x` is INT64 where the model takes FP32"),
            (vec![wide, ids(1, 1)], "input `x` has the shape [1, 3] where the model takes [-1, 2]"),
            (vec![flat, ids(1, 1)], "input `x` has the shape [2] where the model takes [-1, 2]"),
            (vec![x(2), ids(1, 1)], "input `ids` has 1 rows where the inputs before it have 2"),
            (vec![x(0), ids(0, 1)], "input `x` has a dimension of 0"),
            (vec![x(1), ids(1, 0)], "input `ids` has a dimension of 0"),
            (vec![x(9), ids(9, 1)], "9 rows in one request where 8 are allowed; split it"),
            (vec![nan, ids(1, 1)], "input `x` is not finite at element 1"),
            (vec![x(1), x(1), ids(1, 1)], "tensor `x` is given twice"),
        ];
        for (tensors, message) in cases {
            assert_eq!(refused(tensors), message);
        }
    }

    #[test]
    fn a_model_may_allow_what_is_not_finite() {
        let nan = Tensor::from_f32("x", vec![1, 2], &[f32::INFINITY, f32::NAN]).unwrap();
        let rules = Rules { allow_non_finite: true, ..RULES };
        assert!(check(&two_inputs(), rules, &raw_request("m", "1", [nan, ids(1, 1)])).is_ok());
    }

    #[test]
    fn outputs_may_be_chosen_once_each_and_only_known_ones() {
        let mut request = raw_request("m", "1", [x(1), ids(1, 1)]);
        let mut want = |names: &[&str]| {
            request.outputs = names
                .iter()
                .map(|name| InferRequestedOutputTensor {
                    name: (*name).into(),
                    ..InferRequestedOutputTensor::default()
                })
                .collect();
            check(&two_inputs(), RULES, &request).map(|accepted| accepted.outputs)
        };
        assert_eq!(want(&["probabilities"]), Ok(vec![1]));
        assert_eq!(want(&["probabilities", "label"]), Ok(vec![1, 0]));
        assert_eq!(want(&["label", "label"]), Err(Misfit::DuplicateOutput("label".into())));
        assert_eq!(
            want(&["score"]).unwrap_err().to_string(),
            "unknown output `score`; the model gives `label`, `probabilities`"
        );
    }

    #[test]
    fn a_model_with_fixed_shapes_has_one_row() {
        let signature = Signature::new(vec![spec("x", DataType::Fp32, &[4, 2])], vec![]);
        assert!(!signature.batched);
        let accepted = check(&signature, RULES, &raw_request("m", "1", [x(4)])).unwrap();
        assert_eq!(accepted.rows, 1);
        assert!(check(&signature, RULES, &raw_request("m", "1", [x(1)])).is_err());
    }

    proptest! {
        #[test]
        fn what_is_accepted_fits(rows in 0_usize..12, width in 0_usize..4, length in 0_usize..4, other_rows in 0_usize..12) {
            let tensors = [
                Tensor::from_f32("x", vec![rows, width], &vec![0.0; rows * width]).unwrap(),
                ids(other_rows, length),
            ];
            let fits = width == 2 && rows == other_rows && (1..=8).contains(&rows) && length > 0;
            prop_assert_eq!(check(&two_inputs(), RULES, &raw_request("m", "1", tensors)).is_ok(), fits);
        }
    }
}
