//! Golden vectors: requests with the answers they must get, tried on the engine that will serve.
//!
//! One line is one request and its answer, both as the JSON of the Open Inference Protocol:
//!
//! ```json
//! {"request": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]},
//!  "response": {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 1], "data": [3]}]},
//!  "tolerance": {"relative": 0.001, "absolute": 0.0001}}
//! ```
//!
//! The tolerance may be left out; then it is that of the device that will serve ([`Tolerance`]). An answer may hold fewer outputs than
//! the model gives: only those are compared.

use serde::Deserialize;
use serde_json::value::RawValue;
use slipway_oip::json::data::{self, BytesAs};
use slipway_proto::oip::{DataType, Tensor, element_count};

use super::{EngineError, Model, Tolerance, compare};
use crate::signature::Signature;

/// More lines than this prove nothing more, and a deployment waits for each.
const MAX_VECTORS: usize = 1_000;

/// Requests and their answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Golden {
    vectors: Vec<Vector>,
}

#[derive(Debug, Clone, PartialEq)]
struct Vector {
    line: usize,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    /// Where the line names one.
    tolerance: Option<Tolerance>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    request: Request<'a>,
    #[serde(borrow)]
    response: Response<'a>,
    #[serde(default)]
    tolerance: Option<Tolerance>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    inputs: Vec<Element<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    outputs: Vec<Element<'a>>,
}

#[derive(Deserialize)]
struct Element<'a> {
    name: String,
    datatype: String,
    shape: Vec<usize>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Golden {
    /// Reads a file.
    ///
    /// # Errors
    /// [`EngineError::GoldenUnreadable`] with the line.
    pub fn read(file: &[u8]) -> Result<Self, EngineError> {
        let unreadable = |line: usize, reason: &dyn std::fmt::Display| EngineError::GoldenUnreadable {
            line,
            reason: reason.to_string(),
        };
        let text = std::str::from_utf8(file).map_err(|error| unreadable(0, &error))?;
        let mut vectors = Vec::new();
        for (index, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
            let line = index + 1;
            if vectors.len() == MAX_VECTORS {
                return Err(unreadable(line, &format!("{MAX_VECTORS} requests are the most")));
            }
            let Line { request, response, tolerance } =
                serde_json::from_str(text).map_err(|error| unreadable(line, &error))?;
            let all = |elements: Vec<Element<'_>>| elements.iter().map(tensor).collect::<Result<Vec<_>, _>>();
            let inputs = all(request.inputs).map_err(|reason| unreadable(line, &reason))?;
            let outputs = all(response.outputs).map_err(|reason| unreadable(line, &reason))?;
            if outputs.is_empty() {
                return Err(unreadable(line, &"there is nothing to compare with"));
            }
            vectors.push(Vector { line, inputs, outputs, tolerance });
        }
        if vectors.is_empty() {
            return Err(unreadable(0, &"there is no line"));
        }
        Ok(Self { vectors })
    }

    /// How many requests there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vectors.len()
    }

    /// Whether there are none, which [`Self::read`] refuses.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    /// Runs every request and compares, with this tolerance where a line names none.
    ///
    /// # Errors
    /// [`EngineError::GoldenUnreadable`] where a line is not for this model, [`EngineError::Differs`] at the first wrong
    /// number, and the engine's own.
    pub fn check(&self, model: &dyn Model, tolerance: Tolerance) -> Result<(), EngineError> {
        self.vectors.iter().try_for_each(|vector| vector.check(model, tolerance))
    }
}

impl Vector {
    fn check(&self, model: &dyn Model, tolerance: Tolerance) -> Result<(), EngineError> {
        let foreign = |reason: String| EngineError::GoldenUnreadable { line: self.line, reason };
        let inputs = in_order(&self.inputs, model.signature()).map_err(foreign)?;
        let found = model.run(&[&inputs])?;
        for expected in &self.outputs {
            let found = found
                .iter()
                .find(|output| output.name() == expected.name())
                .ok_or_else(|| foreign(format!("the model has no output `{}`", expected.name())))?;
            compare::tensors(expected, found, self.tolerance.unwrap_or(tolerance)).map_err(|difference| {
                EngineError::Differs {
                    from: format!("line {} of the golden vectors", self.line),
                    difference: Box::new(difference),
                }
            })?;
        }
        Ok(())
    }
}

/// The inputs in the model's order. An engine must never see others than those that it declares.
fn in_order(inputs: &[Tensor], signature: &Signature) -> Result<Vec<Tensor>, String> {
    let fits = |spec: &crate::signature::TensorSpec, tensor: &Tensor| {
        spec.data_type == tensor.data_type()
            && spec.shape.len() == tensor.shape().len()
            && spec.shape.iter().zip(tensor.wire_shape()).all(|(&wanted, found)| wanted < 0 || wanted == found)
    };
    if inputs.len() != signature.inputs.len() {
        return Err(format!("{} inputs where the model takes {}", inputs.len(), signature.inputs.len()));
    }
    signature
        .inputs
        .iter()
        .map(|spec| {
            let found = inputs
                .iter()
                .find(|tensor| tensor.name() == spec.name)
                .ok_or_else(|| format!("input `{}` is missing", spec.name))?;
            if fits(spec, found) {
                return Ok(found.clone());
            }
            Err(format!(
                "input `{}` is {} {:?} where the model takes {} {:?}",
                spec.name,
                found.data_type(),
                found.shape(),
                spec.data_type,
                spec.shape
            ))
        })
        .collect()
}

fn tensor(element: &Element<'_>) -> Result<Tensor, String> {
    let name = &element.name;
    let data_type: DataType = element.datatype.parse().map_err(|error| format!("`{name}`: {error}"))?;
    let count = element_count(&element.shape).map_err(|problem| format!("`{name}`: {problem}"))?;
    let (text, shape) = (element.data.get(), &element.shape);
    let raw = data::read("data", text, data_type, shape, count, BytesAs::Text);
    let raw = raw.map_err(|refusal| format!("`{name}`: {refusal}"))?;
    Tensor::new(name, data_type, shape.clone(), raw.into()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tract::{TractEngine, fixtures};
    use crate::engine::{Engine as _, LoadOptions};

    fn scale() -> Box<dyn Model> {
        TractEngine.load(&fixtures::bytes(&fixtures::scale()), &LoadOptions::default()).unwrap()
    }

    fn line(input: &str, output: &str) -> String {
        format!(r#"{{"request":{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,4],"data":{input}}}]}},"#)
            + &format!(r#""response":{{"outputs":[{{"name":"y","datatype":"FP32","shape":[1,4],"data":{output}}}]}}}}"#)
    }

    #[test]
    fn right_answers_pass_whether_nested_or_flat() {
        let text = line("[1,1,1,1]", "[1,2,3,4]") + "\n\n" + &line("[[2,0,0,1]]", "[[2,0,0,4.00001]]") + "\n";
        let golden = Golden::read(text.as_bytes()).unwrap();
        assert_eq!(golden.len(), 2);
        assert_eq!(golden.check(scale().as_ref(), Tolerance::default()), Ok(()));
    }

    #[test]
    fn a_wrong_answer_names_line_tensor_element_both_values_and_tolerance() {
        let text = line("[1,1,1,1]", "[1,2,3,4]") + "\n" + &line("[1,1,1,1]", "[1,2,30,4]");
        let error = Golden::read(text.as_bytes()).unwrap().check(scale().as_ref(), Tolerance::default()).unwrap_err();
        assert!(matches!(error, EngineError::Differs { .. }));
        assert_eq!(
            error.to_string(),
            "the outputs are wrong, by line 2 of the golden vectors: `y` element 2: 3 where 30 is expected (tolerance \
             0.001 relative, 0.0001 absolute)"
        );
    }

    #[test]
    fn a_line_may_bring_its_own_tolerance() {
        let text = line("[1,1,1,1]", "[1,2,3.5,4]");
        let wide = text.replacen('{', r#"{"tolerance":{"absolute":0.6},"#, 1);
        assert_eq!(Golden::read(wide.as_bytes()).unwrap().check(scale().as_ref(), Tolerance::default()), Ok(()));
        assert!(Golden::read(text.as_bytes()).unwrap().check(scale().as_ref(), Tolerance::default()).is_err());
    }

    #[test]
    fn what_is_not_for_this_model_is_told_from_a_wrong_answer() {
        for (wrong, reason) in [
            (line("[1,1,1,1]", "[1,2,3,4]").replace("\"x\"", "\"z\""), "input `x` is missing"),
            (line("[1,1,1,1]", "[1,2,3,4]").replace("\"y\"", "\"z\""), "no output `z`"),
            (
                line("[1,1,1]", "[1,2,3,4]").replace("[1,4],\"data\":[1,1,1]", "[1,3],\"data\":[1,1,1]"),
                "where the model takes FP32 [-1, 4]",
            ),
        ] {
            let error =
                Golden::read(wrong.as_bytes()).unwrap().check(scale().as_ref(), Tolerance::default()).unwrap_err();
            assert!(matches!(error, EngineError::GoldenUnreadable { line: 1, .. }), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn a_malformed_line_is_named() {
        for (text, line_number) in [
            ("", 0),
            ("\n{}", 2),
            (line("[1,1,1]", "[1,2,3,4]").as_str(), 1),
            (line("[1,1,1,\"a\"]", "[1,2,3,4]").as_str(), 1),
            (line("[1,1,1,1]", "[1,2,3,4]").replacen("FP32", "FP31", 1).as_str(), 1),
        ] {
            let error = Golden::read(text.as_bytes()).unwrap_err();
            assert!(matches!(error, EngineError::GoldenUnreadable { line, .. } if line == line_number), "{error}");
        }
    }
}
