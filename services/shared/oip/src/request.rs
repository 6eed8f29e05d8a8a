//! A request that fits its model, whichever wire it came by.

use crate::signature::{Fit, Rules, Signature};
use bytes::Bytes;
use slipway_kernel::{Refusal, Refusals};
use slipway_proto::{
    inference::{InferParameter, infer_parameter::ParameterChoice},
    oip::{Problem, Tensor, first_non_finite},
};
use std::collections::HashMap;

/// Parameters of a request.
pub type Parameters = HashMap<String, InferParameter>;

/// A request that fits its model.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The caller's name for it; may be empty.
    pub id: String,
    /// Its parameters, without those that say how tensors stand on the wire.
    pub parameters: Parameters,
    /// The inputs, in the order of the signature.
    pub inputs: Vec<Tensor>,
    /// How many rows they have; 1 for a model without a batch.
    pub rows: usize,
    /// The outputs that are wanted, in the order of the request.
    pub outputs: Vec<Wanted>,
    /// How urgent it is, if it says so.
    pub priority: Option<Priority>,
}

/// How urgent a request is, most urgent first. On the wire it is the parameter `priority` as Triton and its clients have it: 1 is the most
/// urgent, 0 says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// 1: somebody waits for it.
    High,
    /// 2: what is asked directly and says nothing.
    Normal,
    /// 3: what comes from a queue and says nothing.
    Low,
}

impl Priority {
    /// How many priorities are more urgent.
    #[must_use]
    pub const fn behind(self) -> u64 {
        self as u64
    }

    fn read(parameters: &Parameters) -> Result<Option<Self>, Refusals> {
        let Some(parameter) = parameters.get(PRIORITY) else { return Ok(None) };
        let choice = &parameter.parameter_choice;
        let number = match choice {
            Some(ParameterChoice::Int64Param(number)) => u64::try_from(*number).ok(),
            Some(ParameterChoice::Uint64Param(number)) => Some(*number),
            _ => None,
        };
        match number {
            Some(0) => Ok(None),
            Some(1) => Ok(Some(Self::High)),
            Some(2) => Ok(Some(Self::Normal)),
            Some(3) => Ok(Some(Self::Low)),
            _ => {
                let allowed = "1 (the most urgent) to 3, or 0 for none";
                Err(Refusals(vec![Refusal::new(format!("parameters.{PRIORITY}"), found(choice.as_ref()), allowed)]))
            }
        }
    }
}

/// The parameter of a request that says how urgent it is.
const PRIORITY: &str = "priority";

/// An output that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which of the signature.
    pub position: usize,
    /// As raw bytes behind the document rather than as numbers in it. Says something to HTTP only.
    pub binary: bool,
}

/// Where the elements of an input came from, for the path of a refusal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// The data of a document, or bytes behind it.
    Data,
    /// Raw contents of a message.
    Raw,
    /// Typed contents of a message.
    Contents,
}

impl Source {
    /// Where the elements of input `index` stand.
    pub(crate) fn path(self, index: usize) -> String {
        match self {
            Self::Data => format!("inputs[{index}].data"),
            Self::Raw => format!("raw_input_contents[{index}]"),
            Self::Contents => format!("inputs[{index}].contents"),
        }
    }
}

/// Puts elements that were read in their places.
pub(crate) struct Assembly<'a> {
    signature: &'a Signature,
    rules: Rules,
    places: Vec<Option<Tensor>>,
}

impl<'a> Assembly<'a> {
    pub(crate) fn new(signature: &'a Signature, rules: Rules) -> Self {
        Self { signature, rules, places: vec![None; signature.inputs.len()] }
    }

    /// Takes the elements of input `index` of the request.
    pub(crate) fn put(&mut self, fit: &Fit, index: usize, elements: Bytes, source: Source) -> Result<(), Refusals> {
        let refuse = |refusal| Refusals(vec![refusal]);
        // Every input of a fitting request is in the fit.
        let (Some(fitting), path) = (fit.inputs.get(index), || source.path(index)) else { return Ok(()) };
        let spec = &self.signature.inputs[fitting.position];
        if !self.rules.allow_non_finite
            && let Some(element) = first_non_finite(fitting.data_type, &elements)
        {
            return Err(refuse(Refusal::new(format!("{}[{element}]", path()), "not finite", "a finite number")));
        }
        let tensor = Tensor::new(spec.name.clone(), fitting.data_type, fitting.shape.clone(), elements)
            .map_err(|error| refuse(unfit(path(), &error.problem)))?;
        self.places[fitting.position] = Some(tensor);
        Ok(())
    }

    /// The request; every input of the signature was put, because the request fits it.
    ///
    /// # Errors
    /// A parameter that says something that it cannot.
    pub(crate) fn finish(
        self,
        id: String,
        parameters: Parameters,
        fit: Fit,
        binary: impl Fn(usize) -> bool,
    ) -> Result<Request, Refusals> {
        let outputs = fit.outputs.into_iter().enumerate();
        Ok(Request {
            priority: Priority::read(&parameters)?,
            id,
            parameters,
            inputs: self.places.into_iter().flatten().collect(),
            rows: fit.rows,
            outputs: outputs.map(|(index, position)| Wanted { position, binary: binary(index) }).collect(),
        })
    }
}

/// A tensor's problem as a refusal.
pub(crate) fn unfit(path: String, problem: &Problem) -> Refusal {
    match problem {
        Problem::WrongLength { expected, found } => {
            Refusal::new(path, format!("{found} bytes"), format!("{expected} bytes, as type and shape say"))
        }
        Problem::WrongCount { expected, found } => {
            Refusal::new(path, format!("{found} elements"), format!("{expected} elements, as the shape says"))
        }
        other => Refusal::new(path, other.to_string(), "elements of the declared type"),
    }
}

/// The value of a parameter that is true or false.
pub(crate) fn flag(parameters: &Parameters, name: &str, path: &str) -> Result<Option<bool>, Refusals> {
    match parameters.get(name).map(|value| &value.parameter_choice) {
        None => Ok(None),
        Some(Some(ParameterChoice::BoolParam(value))) => Ok(Some(*value)),
        Some(other) => {
            Err(Refusals(vec![Refusal::new(format!("{path}.{name}"), found(other.as_ref()), "true or false")]))
        }
    }
}

/// What stands where something else is wanted.
fn found(choice: Option<&ParameterChoice>) -> String {
    match choice {
        None => "nothing".to_owned(),
        Some(ParameterChoice::BoolParam(value)) => value.to_string(),
        Some(ParameterChoice::Int64Param(value)) => value.to_string(),
        Some(ParameterChoice::Uint64Param(value)) => value.to_string(),
        Some(ParameterChoice::DoubleParam(value)) => value.to_string(),
        Some(ParameterChoice::StringParam(value)) => format!("{value:?}"),
    }
}
