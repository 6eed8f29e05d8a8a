//! What a model takes and gives, and whether a request fits it. Asked before any element is read, so a wrong request costs
//! little.

use slipway_kernel::{ModelFacts, Refusal, Refusals};
use slipway_proto::oip::{DataType, dimensions, element_count};

/// The most refusals in one answer: enough to repair a request by, too few to make the answer large.
const MAX_REFUSALS: usize = 16;

/// One input or output of a model.
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

/// What a model allows besides its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// NaN and the infinities may come in. Off unless the deployment says so: nearly always they are a fault of the
    /// caller, and what a model makes of them is noise.
    pub allow_non_finite: bool,
    /// The most rows that one request may bring.
    pub max_rows: usize,
}

impl Rules {
    /// Nothing beyond the signature: for who passes a request on to the one that holds it to the rules.
    pub const SIGNATURE_ONLY: Self = Self { allow_non_finite: true, max_rows: usize::MAX };
}

/// The type of a model's tensor is none of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tensor `{tensor}` of the model is of the type `{data_type}`, which the protocol does not have")]
pub struct ForeignType {
    tensor: String,
    data_type: String,
}

/// One input as a request declares it.
#[derive(Clone, Copy, Debug)]
pub struct Declared<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type, as the request says it.
    pub datatype: &'a str,
    /// Its shape, as the request says it.
    pub shape: &'a [i64],
}

/// An input whose type and shape fit the model; its elements are unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitting {
    /// Which input of the signature it is.
    pub position: usize,
    /// The type.
    pub data_type: DataType,
    /// The shape.
    pub shape: Vec<usize>,
    /// How many elements the shape has.
    pub count: usize,
}

/// How a request fits the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Its inputs, in its own order.
    pub inputs: Vec<Fitting>,
    /// Positions of the wanted outputs in the signature: in the order of the request, or all.
    pub outputs: Vec<usize>,
    /// How many rows it brings; 1 for a model without a batch.
    pub rows: usize,
}

impl Signature {
    /// A signature; whether it is batched follows from the inputs.
    #[must_use]
    pub fn new(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> Self {
        let batched =
            !inputs.is_empty() && inputs.iter().all(|input| input.shape.first().is_some_and(|&size| size < 0));
        Self { inputs, outputs, batched }
    }

    /// The signature of a model that was read.
    ///
    /// # Errors
    /// If a tensor is of a type that the protocol does not have.
    pub fn of(model: &ModelFacts) -> Result<Self, ForeignType> {
        let specs = |specs: &[slipway_kernel::TensorSpec]| specs.iter().map(spec).collect::<Result<Vec<_>, _>>();
        Ok(Self::new(specs(&model.inputs)?, specs(&model.outputs)?))
    }

    /// Holds names, types, shapes and rows of a request against the model.
    ///
    /// # Errors
    /// All that does not fit, up to a bound.
    pub fn fit(&self, inputs: &[Declared<'_>], outputs: &[&str], rules: Rules) -> Result<Fit, Refusals> {
        let mut refusals = Vec::new();
        let fitting = self.fit_inputs(inputs, &mut refusals);
        let outputs = self.fit_outputs(outputs, &mut refusals);
        if refusals.is_empty() {
            match self.rows(&fitting, rules) {
                Ok(rows) => return Ok(Fit { inputs: fitting, outputs, rows }),
                Err(refusal) => refusals.push(refusal),
            }
        }
        refusals.truncate(MAX_REFUSALS);
        Err(Refusals(refusals))
    }

    fn fit_inputs(&self, inputs: &[Declared<'_>], refusals: &mut Vec<Refusal>) -> Vec<Fitting> {
        let mut fitting: Vec<Fitting> = Vec::with_capacity(inputs.len().min(self.inputs.len()));
        let mut given = vec![false; self.inputs.len()];
        for (index, input) in inputs.iter().enumerate() {
            if refusals.len() >= MAX_REFUSALS {
                return fitting;
            }
            let Some(position) =
                place(input.name, &self.inputs, &mut given, &format_args!("inputs[{index}].name"), refusals)
            else {
                continue;
            };
            match fit_tensor(position, &self.inputs[position], input, index) {
                Ok(tensor) => fitting.push(tensor),
                Err(refusal) => refusals.push(refusal),
            }
        }
        for (spec, _) in self.inputs.iter().zip(given).filter(|(_, given)| !given) {
            let allowed = format!("an input `{}` of {} {:?}", spec.name, spec.data_type, spec.shape);
            refusals.push(Refusal::new("inputs", format!("no input `{}`", spec.name), allowed));
        }
        fitting
    }

    fn fit_outputs(&self, outputs: &[&str], refusals: &mut Vec<Refusal>) -> Vec<usize> {
        if outputs.is_empty() {
            return (0..self.outputs.len()).collect();
        }
        let mut given = vec![false; self.outputs.len()];
        let mut positions = Vec::with_capacity(outputs.len().min(self.outputs.len()));
        for (index, name) in outputs.iter().enumerate() {
            if refusals.len() >= MAX_REFUSALS {
                break;
            }
            positions.extend(place(name, &self.outputs, &mut given, &format_args!("outputs[{index}].name"), refusals));
        }
        positions
    }

    fn rows(&self, fitting: &[Fitting], rules: Rules) -> Result<usize, Refusal> {
        let of = |tensor: &Fitting| tensor.shape.first().copied().unwrap_or(1);
        let Some(rows) = fitting.first().map(of).filter(|_| self.batched) else { return Ok(1) };
        if let Some(index) = fitting.iter().position(|tensor| of(tensor) != rows) {
            let found = format!("{:?}", fitting[index].shape);
            let allowed = format!("{rows} rows, as in the first input");
            return Err(Refusal::new(format!("inputs[{index}].shape"), found, allowed));
        }
        if rows > rules.max_rows {
            let allowed = format!("up to {} rows in one request; split it", rules.max_rows);
            return Err(Refusal::new("inputs[0].shape", format!("{rows} rows"), allowed));
        }
        Ok(rows)
    }
}

fn spec(spec: &slipway_kernel::TensorSpec) -> Result<TensorSpec, ForeignType> {
    let foreign = || ForeignType { tensor: spec.name.clone(), data_type: spec.datatype.clone() };
    let data_type = spec.datatype.parse().map_err(|_| foreign())?;
    Ok(TensorSpec { name: spec.name.clone(), data_type, shape: spec.shape.iter().copied().map(i64::from).collect() })
}

/// The position of a name that the model has and that was not given before.
fn place(
    name: &str,
    specs: &[TensorSpec],
    given: &mut [bool],
    path: &std::fmt::Arguments<'_>,
    refusals: &mut Vec<Refusal>,
) -> Option<usize> {
    let Some(position) = specs.iter().position(|spec| spec.name == name) else {
        let known: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        refusals.push(Refusal::new(path.to_string(), name, known.join(", ")));
        return None;
    };
    if std::mem::replace(&mut given[position], true) {
        refusals.push(Refusal::new(path.to_string(), name, "each name once"));
        return None;
    }
    Some(position)
}

fn fit_tensor(position: usize, spec: &TensorSpec, input: &Declared<'_>, index: usize) -> Result<Fitting, Refusal> {
    if input.datatype != spec.data_type.as_str() {
        return Err(Refusal::new(format!("inputs[{index}].datatype"), input.datatype, spec.data_type.as_str()));
    }
    let refuse =
        |allowed: String| Refusal::new(format!("inputs[{index}].shape"), format!("{:?}", input.shape), allowed);
    let fits = input.shape.len() == spec.shape.len()
        && input
            .shape
            .iter()
            .zip(&spec.shape)
            .all(|(found, wanted)| if *wanted < 0 { *found > 0 } else { found == wanted });
    if !fits {
        return Err(refuse(format!("{:?}, any size above 0 where it says -1", spec.shape)));
    }
    let shape = dimensions(input.shape).map_err(|problem| refuse(problem.to_string()))?;
    let count = element_count(&shape).map_err(|problem| refuse(problem.to_string()))?;
    Ok(Fitting { position, data_type: spec.data_type, shape, count })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    type Specs<'a> = &'a [(&'a str, DataType, &'a [i64])];

    pub(crate) fn signature(inputs: Specs<'_>, outputs: Specs<'_>) -> Signature {
        let specs = |list: Specs<'_>| {
            let spec = |(name, data_type, shape): &(&str, DataType, &[i64])| TensorSpec {
                name: (*name).to_owned(),
                data_type: *data_type,
                shape: shape.to_vec(),
            };
            list.iter().map(spec).collect()
        };
        Signature::new(specs(inputs), specs(outputs))
    }

    const X: Declared<'_> = Declared { name: "x", datatype: "FP32", shape: &[2, 4] };
    const K: Declared<'_> = Declared { name: "k", datatype: "INT64", shape: &[2] };

    fn model() -> Signature {
        signature(
            &[("x", DataType::Fp32, &[-1, 4]), ("k", DataType::Int64, &[-1])],
            &[("y", DataType::Fp32, &[-1, 10]), ("z", DataType::Int64, &[-1])],
        )
    }

    fn fit(inputs: &[Declared<'_>], outputs: &[&str]) -> Result<Fit, Vec<(String, String)>> {
        let rules = Rules { allow_non_finite: false, max_rows: 8 };
        let unfit = |refusals: Refusals| refusals.0.into_iter().map(|r| (r.path, r.value)).collect();
        model().fit(inputs, outputs, rules).map_err(unfit)
    }

    #[test]
    fn a_request_of_the_model_fits_in_any_order() {
        let found = fit(&[K, X], &["z", "y"]).unwrap();
        assert_eq!(found.inputs.iter().map(|input| input.position).collect::<Vec<_>>(), [1, 0]);
        assert_eq!((found.outputs, found.rows), (vec![1, 0], 2));
        assert_eq!(fit(&[X, K], &[]).unwrap().outputs, [0, 1]);
    }

    #[test]
    fn each_misfit_is_named_where_it_stands() {
        let x = |datatype: &'static str, shape: &'static [i64]| vec![Declared { name: "x", datatype, shape }, K];
        for (inputs, outputs, path, value) in [
            (vec![X], &[][..], "inputs", "no input `k`"),
            (vec![], &[], "inputs", "no input `x`"),
            (vec![X, K, X], &[], "inputs[2].name", "x"),
            (vec![X, K, Declared { name: "z", ..X }], &[], "inputs[2].name", "z"),
            (x("FP64", &[2, 4]), &[], "inputs[0].datatype", "FP64"),
            (x("fp32", &[2, 4]), &[], "inputs[0].datatype", "fp32"),
            (x("BF16", &[2, 4]), &[], "inputs[0].datatype", "BF16"),
            (x("FP32", &[2, 5]), &[], "inputs[0].shape", "[2, 5]"),
            (x("FP32", &[8]), &[], "inputs[0].shape", "[8]"),
            (x("FP32", &[2, 4, 1]), &[], "inputs[0].shape", "[2, 4, 1]"),
            (x("FP32", &[]), &[], "inputs[0].shape", "[]"),
            (x("FP32", &[0, 4]), &[], "inputs[0].shape", "[0, 4]"),
            (x("FP32", &[-1, 4]), &[], "inputs[0].shape", "[-1, 4]"),
            (x("FP32", &[i64::MAX, 4]), &[], "inputs[0].shape", "[9223372036854775807, 4]"),
            (x("FP32", &[3, 4]), &[], "inputs[1].shape", "[2]"),
            (vec![Declared { shape: &[9, 4], ..X }, Declared { shape: &[9], ..K }], &[], "inputs[0].shape", "9 rows"),
            (vec![X, K], &["q"], "outputs[0].name", "q"),
            (vec![X, K], &["y", "y"], "outputs[1].name", "y"),
        ] {
            let found = fit(&inputs, outputs).unwrap_err();
            assert_eq!(found[0], (path.to_owned(), value.to_owned()), "{inputs:?} {outputs:?}");
        }
    }

    #[test]
    fn what_is_refused_is_bounded() {
        let strange = vec![Declared { name: "strange", ..X }; 1_000];
        assert!(fit(&strange, &["strange"; 1_000]).unwrap_err().len() <= MAX_REFUSALS);
    }

    #[test]
    fn a_model_with_fixed_shapes_has_one_row() {
        let signature = signature(&[("x", DataType::Fp32, &[4, 2])], &[]);
        assert!(!signature.batched);
        let input = Declared { name: "x", datatype: "FP32", shape: &[4, 2] };
        assert_eq!(signature.fit(&[input], &[], Rules::SIGNATURE_ONLY).unwrap().rows, 1);
    }
}
