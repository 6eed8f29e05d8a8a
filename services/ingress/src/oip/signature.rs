//! What the model takes, and whether a document fits it. Asked before any number is read, so a wrong tensor costs little.

use super::envelope::{Envelope, Input};
use slipway_kernel::{ModelFacts, Refusal, Refusals, TensorSpec};
use slipway_proto::oip::{DataType, dimensions, element_count};

/// The most refusals in one answer: enough to repair a request by, too few to make the answer large.
const MAX_REFUSALS: usize = 16;

/// One input or output of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub data_type: DataType,
    /// Its shape; -1 where the request decides.
    pub shape: Vec<i64>,
}

/// Inputs and outputs of the model of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// What a request must hold.
    pub inputs: Vec<Port>,
    /// What can be asked for.
    pub outputs: Vec<Port>,
    /// The first dimension of every input is free: the batch.
    batched: bool,
}

/// The type of a model's tensor is none of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tensor `{tensor}` of the model is of the type `{data_type}`, which the protocol does not have")]
pub struct ForeignType {
    tensor: String,
    data_type: String,
}

/// A tensor whose type and shape fit the model; its data is still text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitting {
    /// The type.
    pub data_type: DataType,
    /// The shape.
    pub shape: Vec<usize>,
    /// How many elements the shape has.
    pub count: usize,
}

impl Signature {
    /// The signature of a model that was read.
    ///
    /// # Errors
    /// If a tensor is of a type that the protocol does not have.
    pub fn of(model: &ModelFacts) -> Result<Self, ForeignType> {
        let ports = |specs: &[TensorSpec]| specs.iter().map(port).collect::<Result<Vec<_>, _>>();
        let (inputs, outputs) = (ports(&model.inputs)?, ports(&model.outputs)?);
        let batched =
            !inputs.is_empty() && inputs.iter().all(|input| input.shape.first().is_some_and(|size| *size < 0));
        Ok(Self { inputs, outputs, batched })
    }

    /// Holds names, types and shapes of a document against the model.
    ///
    /// # Errors
    /// All that does not fit, up to a bound.
    pub fn check(&self, envelope: &Envelope<'_>) -> Result<Vec<Fitting>, Refusals> {
        let mut refusals = Vec::new();
        self.check_names(envelope, &mut refusals);
        let mut fitting = Vec::with_capacity(envelope.inputs.len());
        for (index, input) in envelope.inputs.iter().enumerate() {
            if let Some(port) = self.inputs.iter().find(|port| port.name == input.name) {
                match check_tensor(port, input, &format!("inputs[{index}]")) {
                    Ok(tensor) => fitting.push(tensor),
                    Err(refusal) => refusals.push(refusal),
                }
            }
        }
        if refusals.is_empty()
            && self.batched
            && let Some(rows) = fitting.first().and_then(|tensor| tensor.shape.first())
        {
            let differs = fitting.iter().position(|tensor| tensor.shape.first() != Some(rows));
            refusals.extend(differs.map(|index| {
                let found = format!("{:?}", fitting[index].shape);
                Refusal::new(format!("inputs[{index}].shape"), found, format!("{rows} rows, as in the first input"))
            }));
        }
        refusals.truncate(MAX_REFUSALS);
        if refusals.is_empty() { Ok(fitting) } else { Err(Refusals(refusals)) }
    }

    fn check_names(&self, envelope: &Envelope<'_>, refusals: &mut Vec<Refusal>) {
        let inputs = envelope.inputs.iter().map(|input| input.name.as_str());
        check_each(inputs, &self.inputs, "inputs", refusals);
        let outputs = envelope.outputs.iter().map(|output| output.name.as_str());
        check_each(outputs, &self.outputs, "outputs", refusals);
        for port in &self.inputs {
            if !envelope.inputs.iter().any(|input| input.name == port.name) {
                let allowed = format!("an input `{}` of {} {:?}", port.name, port.data_type, port.shape);
                refusals.push(Refusal::new("inputs", format!("no input `{}`", port.name), allowed));
            }
        }
    }
}

fn port(spec: &TensorSpec) -> Result<Port, ForeignType> {
    let foreign = || ForeignType { tensor: spec.name.clone(), data_type: spec.datatype.clone() };
    let data_type = spec.datatype.parse().map_err(|_| foreign())?;
    Ok(Port { name: spec.name.clone(), data_type, shape: spec.shape.iter().copied().map(i64::from).collect() })
}

/// Refuses names the model does not have and names given twice.
fn check_each<'a>(names: impl Iterator<Item = &'a str>, ports: &[Port], path: &str, refusals: &mut Vec<Refusal>) {
    let mut seen: Vec<&str> = Vec::with_capacity(ports.len());
    for (index, name) in names.enumerate() {
        if refusals.len() >= MAX_REFUSALS {
            return;
        }
        if !ports.iter().any(|port| port.name == name) {
            let known: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
            refusals.push(Refusal::new(format!("{path}[{index}].name"), name, known.join(", ")));
        } else if seen.contains(&name) {
            refusals.push(Refusal::new(format!("{path}[{index}].name"), name, "each name once"));
        } else {
            seen.push(name);
        }
    }
}

fn check_tensor(port: &Port, input: &Input<'_>, path: &str) -> Result<Fitting, Refusal> {
    if input.datatype != port.data_type.as_str() {
        return Err(Refusal::new(format!("{path}.datatype"), &input.datatype, port.data_type.as_str()));
    }
    let refuse = |allowed: String| Refusal::new(format!("{path}.shape"), format!("{:?}", input.shape), allowed);
    let fits = input.shape.len() == port.shape.len()
        && input
            .shape
            .iter()
            .zip(&port.shape)
            .all(|(found, wanted)| if *wanted < 0 { *found > 0 } else { found == wanted });
    if !fits {
        return Err(refuse(format!("{:?}, any size above 0 where it says -1", port.shape)));
    }
    let shape = dimensions(&input.shape).map_err(|problem| refuse(problem.to_string()))?;
    let count = element_count(&shape).map_err(|problem| refuse(problem.to_string()))?;
    Ok(Fitting { data_type: port.data_type, shape, count })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn signature(inputs: &[(&str, &str, &[i32])], outputs: &[(&str, &str, &[i32])]) -> Signature {
        Signature::of(&facts(inputs, outputs)).unwrap()
    }

    pub(crate) fn facts(inputs: &[(&str, &str, &[i32])], outputs: &[(&str, &str, &[i32])]) -> ModelFacts {
        let specs = |list: &[(&str, &str, &[i32])]| {
            let spec = |(name, datatype, shape): &(&str, &str, &[i32])| TensorSpec {
                name: (*name).to_owned(),
                datatype: (*datatype).to_owned(),
                shape: shape.to_vec(),
            };
            list.iter().map(spec).collect()
        };
        ModelFacts {
            digest: slipway_kernel::Digest::of(b"model"),
            size_bytes: 5,
            format: slipway_kernel::ModelFormat::Onnx,
            inputs: specs(inputs),
            outputs: specs(outputs),
            operators: Vec::new(),
            parameters: 0,
            memory_estimate_bytes: 0,
            opset: 0,
            producer: String::new(),
        }
    }

    fn check(inputs: &str, outputs: &str) -> Vec<(String, String)> {
        let signature = signature(&[("x", "FP32", &[-1, 4]), ("k", "INT64", &[-1])], &[("y", "FP32", &[-1, 10])]);
        let body = format!(r#"{{"inputs":[{inputs}],"outputs":[{outputs}]}}"#);
        match signature.check(&Envelope::read(body.as_bytes()).unwrap()) {
            Ok(_) => Vec::new(),
            Err(refusals) => refusals.0.into_iter().map(|r| (r.path, r.value)).collect(),
        }
    }

    const X: &str = r#"{"name":"x","datatype":"FP32","shape":[2,4]}"#;
    const K: &str = r#"{"name":"k","datatype":"INT64","shape":[2]}"#;

    #[test]
    fn a_request_of_the_model_fits_in_any_order() {
        assert_eq!(check(&format!("{X},{K}"), ""), []);
        assert_eq!(check(&format!("{K},{X}"), r#"{"name":"y"}"#), []);
    }

    #[test]
    fn each_misfit_is_named_where_it_stands() {
        let x = |datatype: &str, shape: &str| format!(r#"{{"name":"x","datatype":"{datatype}","shape":{shape}}},{K}"#);
        let max = i64::MAX;
        for (inputs, outputs, path, value) in [
            (X.to_owned(), "", "inputs", "no input `k`"),
            (String::new(), "", "inputs", "no input `x`"),
            (format!("{X},{K},{X}"), "", "inputs[2].name", "x"),
            (format!(r#"{X},{K},{{"name":"z","datatype":"FP32","shape":[1]}}"#), "", "inputs[2].name", "z"),
            (x("FP64", "[2,4]"), "", "inputs[0].datatype", "FP64"),
            (x("fp32", "[2,4]"), "", "inputs[0].datatype", "fp32"),
            (x("BF16", "[2,4]"), "", "inputs[0].datatype", "BF16"),
            (x("FP32", "[2,5]"), "", "inputs[0].shape", "[2, 5]"),
            (x("FP32", "[8]"), "", "inputs[0].shape", "[8]"),
            (x("FP32", "[2,4,1]"), "", "inputs[0].shape", "[2, 4, 1]"),
            (x("FP32", "[]"), "", "inputs[0].shape", "[]"),
            (x("FP32", "[0,4]"), "", "inputs[0].shape", "[0, 4]"),
            (x("FP32", "[-1,4]"), "", "inputs[0].shape", "[-1, 4]"),
            (x("FP32", &format!("[{max},4]")), "", "inputs[0].shape", "[9223372036854775807, 4]"),
            (x("FP32", "[3,4]"), "", "inputs[1].shape", "[2]"),
            (format!("{X},{K}"), r#"{"name":"q"}"#, "outputs[0].name", "q"),
            (format!("{X},{K}"), r#"{"name":"y"},{"name":"y"}"#, "outputs[1].name", "y"),
        ] {
            let refusals = check(&inputs, outputs);
            assert_eq!(refusals.first(), Some(&(path.to_owned(), value.to_owned())), "{inputs}");
        }
    }

    #[test]
    fn all_misfits_are_told_at_once_and_no_more_than_sixteen() {
        let inputs = r#"{"name":"x","datatype":"FP64","shape":[2,4]},{"name":"k","datatype":"INT64","shape":[1,1]}"#;
        assert_eq!(check(inputs, "").len(), 2);
        let foreign = vec![r#"{"name":"z","datatype":"FP32","shape":[1]}"#; 100].join(",");
        assert_eq!(check(&foreign, "").len(), MAX_REFUSALS);
    }

    #[test]
    fn a_model_of_a_foreign_type_has_no_signature() {
        assert!(Signature::of(&facts(&[("x", "COMPLEX64", &[1])], &[])).is_err());
    }
}
